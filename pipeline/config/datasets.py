"""Settings of reading films and of what is made from bodies: maps, pairs, and how a run is carried out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.config.checks import require


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """Reading clips."""

    sample_fps: float | None = None
    """Frames per second to keep, by presentation time; null keeps every frame, or what `cadence` finds."""
    cadence: Literal["auto", "off"] = "auto"
    """`auto`: a shot whose frames repeat or blend those of a slower film (24 fps shown at 60, 30 blended to 120) is
    sampled at its true rate, unless `sample_fps` is given. Bodies in repeated frames stand and jump; blended frames
    show ghosts: of 156 frames of a film blended from 30 to 120 fps, 150 failed the gates. `off`: every frame counts."""
    cut_threshold: float = 27.0
    """Change between frames that counts as a shot cut (score of PySceneDetect's content detector, 0 to 255)."""
    min_shot_s: float = 0.5
    """Shots shorter than this are skipped."""
    max_unit_s: float = 20.0
    """Longer shots are split into units of work of at most this length, which bounds memory."""
    max_unit_frames: int = 640
    """Longer shots are split into units of about this many frames too. Frames take the memory: .6 MB each, where all
    are kept. 640 frames are 20 s at 30 frames per second, 10 s at 60."""

    def longest_unit_s(self, mean_fps: float) -> float:
        """Seconds that the two bounds leave to a unit of a film of that many frames a second."""
        fps = min(mean_fps, self.sample_fps or mean_fps)
        return min(self.max_unit_s, self.max_unit_frames / fps)

    def __post_init__(self) -> None:
        require(
            self.sample_fps is None or self.sample_fps > 0,
            "video.sample_fps",
            self.sample_fps,
            "Give frames per second above 0, or null.",
        )
        require(self.max_unit_s > 0, "video.max_unit_s", self.max_unit_s, "Give seconds above 0.")
        require(
            self.max_unit_frames > 0, "video.max_unit_frames", self.max_unit_frames, "Give a number above 0."
        )


@dataclass(frozen=True, kw_only=True)
class RenderingSettings:
    """Base depth."""

    rasterizer: Literal["auto", "pyrender_gl", "compiled"] = "auto"
    """`auto` is resolved once at launch: pyrender_gl where a GPU draws OpenGL, else compiled, which takes a ninth of
    the time of OpenGL that the CPU draws."""
    base_surface: Literal["body", "dressed"] = "body"
    """What base depth is rendered and motion taken from: the body's skin, or the skin moved along its normals by the
    track's dressed shape (table `surfaces`). A photo and a track that was not refined have none: then the skin."""
    clothes: str = ""
    """An .npz of what people wear on the mean, as `python -m pipeline dataset clothes` writes it: base depth is
    rendered and motion taken from the posed skin moved outwards by it, of photos too. Empty: from the skin. For bodies
    of a known shape; a tracked one fills the outline, clothes and all."""
    smoothing_passes: int = 0
    """Laplacian passes over the base mesh before depth is rendered (count); preset `released`: 4."""
    surface_offset_m: float = 0.0
    """Distance the base mesh is moved outwards along its normals; preset `released`: 0.026."""
    near_m: float = 0.05
    """Surface nearer to the camera than this is not drawn."""

    def __post_init__(self) -> None:
        require(
            not self.clothes or self.base_surface == "body",
            "rendering.clothes",
            self.clothes,
            "A dressed shape has its own clothes: leave it empty, or use rendering.base_surface=body.",
        )


@dataclass(frozen=True, kw_only=True)
class PairSettings:
    """Which pairs and pixels count."""

    candidate_gaps_s: tuple[float, ...] = (1 / 15, 0.1, 2 / 15, 1 / 6, 0.2, 4 / 15, 1 / 3, 0.5)
    """Time gaps tried on both sides of every target; the nearest kept frame within half a frame counts."""
    max_references: int = 6
    """References of a target at most (count): those whose viewpoints spread widest."""
    target_stride: int = 1
    """Every n-th kept frame becomes a target (count)."""
    min_mean_baseline_m: float = 0.5
    """Pairs whose mean baseline over body pixels is smaller are dropped (the paper's filter)."""
    max_rotation_deg: float = 40.0
    """Pairs between which the body turns more are dropped: they share little surface."""
    max_baseline_over_depth: float = 1.0
    """Pairs whose mean |t| / Z is larger are dropped; Z is the target's depth."""
    min_valid_fraction: float = 0.2
    """Pairs are dropped of whose body pixels fewer are valid: too little to learn from."""
    min_pixel_baseline_m: float = 0.05
    """A pixel whose own baseline |t| is smaller is not valid (the paper's filter)."""
    depth_tolerance_m: float = 0.03
    """A point hidden by less than this still counts as visible in the other frame."""
    max_misalignment_px: float | None = 1.0
    """Pairs whose bodies and pictures disagree by more map pixels than this are dropped as `misaligned`; null keeps
    all. One pixel at 256 reads as 2.6 cm of false depth."""
    jpeg_quality: int = 92
    """Quality of the stored pictures, 1 to 100 (score of the JPEG encoder)."""

    def __post_init__(self) -> None:
        require(
            bool(self.candidate_gaps_s) and min(self.candidate_gaps_s) > 0,
            "pairs.candidate_gaps_s",
            self.candidate_gaps_s,
            "Give gaps in seconds above 0.",
        )
        require(self.max_references >= 1, "pairs.max_references", self.max_references, "Give 1 or more.")
        limit = self.max_misalignment_px
        require(
            limit is None or limit > 0, "pairs.max_misalignment_px", limit, "Give pixels above 0, or null."
        )
        require(self.target_stride >= 1, "pairs.target_stride", self.target_stride, "Give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is carried out. No row depends on these, so they may differ from one run to the next."""

    unit_time_limit_s: float = 1800.0
    """A unit that takes longer, for example because a decoder hangs, is ended and becomes a failure that can be
    retried."""
    max_failed_share: float = 1.0
    """A run of whose units more failed ends with exit code 5."""
    pack_every_units: int = 500
    """Each time so many more units are finished, their files below 8 MB are put together (count; 0: never)."""
    accelerator: str | None = None
    """Beam resource hint of the tracking step, for example `type:nvidia-tesla-t4;count:1;install-nvidia-driver`."""
    tracking_ram: str = "4GB"
    """Beam resource hint of the tracking step: memory of a worker."""

    def __post_init__(self) -> None:
        require(
            self.unit_time_limit_s > 0,
            "run.unit_time_limit_s",
            self.unit_time_limit_s,
            "Give seconds above 0.",
        )
        require(
            self.pack_every_units == 0 or self.pack_every_units > 1,
            "run.pack_every_units",
            self.pack_every_units,
            "Give 2 or more, or 0 for never.",
        )
        require(
            0 <= self.max_failed_share <= 1, "run.max_failed_share", self.max_failed_share, "Give 0 to 1."
        )
