"""Every constant of the pipeline, as frozen settings with units in their names. Presets: see `preset`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from schemas.errors import SettingsError


def _require(condition: bool, setting: str, value: object, remedy: str) -> None:
    if not condition:
        raise SettingsError(f"setting {setting!r} cannot be {value!r}.", remedy=remedy)


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
        _require(
            self.sample_fps is None or self.sample_fps > 0,
            "video.sample_fps",
            self.sample_fps,
            "Give frames per second above 0, or null.",
        )
        _require(self.max_unit_s > 0, "video.max_unit_s", self.max_unit_s, "Give seconds above 0.")
        _require(
            self.max_unit_frames > 0, "video.max_unit_frames", self.max_unit_frames, "Give a number above 0."
        )


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """The assumed camera."""

    medium_focal: float = 500.0 / 224.0
    """Assumed focal length over the side of the crop (ratio), where the clip's focal length is not known. The method
    takes 500 px for crops of 224 px, a field of view of 25 degrees."""
    crop_margin: float = 1.2
    """Side of the square crop over the longer side of the person's box (ratio)."""


@dataclass(frozen=True, kw_only=True)
class BodySettings:
    """The body model."""

    file: str = ""
    """An .npz in SMPL's layout, as `python -m pipeline body import` writes it; empty: the open body."""


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """People and bodies per frame."""

    tracker: Literal["landmarks", "imported", "network"] = "landmarks"
    """`landmarks`: a fit of the body to detected landmarks and the silhouette; `imported`: bodies that another program
    found (`tracking.bodies`); `network`: TrackNet (`tracking.network`)."""
    bodies: str = ""
    """For `imported`: folder with CLIP_ID.npz or CLIP_ID.parquet of every clip (`python -m pipeline body convert`)."""
    network: str = ""
    """For `network`: the .onnx file that `python -m trainer tracknet export` wrote."""
    landmark_model: Literal["full", "heavy"] = "full"
    """The landmark model. `heavy` takes three times as long; get it with `python -m pipeline fetch
    pose_landmark_heavy.tflite`."""
    detect_every: int = 10
    """Frames from one detection of people to the next (count); between them landmarks carry the track on."""
    detector_threshold: float = 0.6
    """Least score of a detection that begins a track (score, 0 to 1)."""
    match_distance: float = 0.3
    """A detection nearer to a live track than this, in sizes of the person's region (ratio), belongs to the track."""
    merge_distance: float = 0.12
    """Live tracks nearer to each other than this, in sizes of the person's region (ratio), are one person."""
    min_presence: float = 0.5
    """A track ends when the landmark model's presence falls below this (score, 0 to 1)."""
    min_inside: float = 0.6
    """A track ends when fewer of its landmarks lie inside the image (share, 0 to 1)."""
    min_track_frames: int = 15
    """Shorter tracks are dropped: half a second at 30 frames per second."""
    swap_cost: float = 0.015
    """Cost of taking left and right limbs for swapped when they are put right, in heights of the person (ratio)."""
    iterations: tuple[int, int] = (100, 200)
    """Steps of the fit, coarse and fine (count)."""
    silhouette_weight: float = 0.35
    """Weight of the silhouette in the fit against that of the landmarks (ratio)."""
    seed: int = 6666
    """Seed of every random draw of the tracker (seed)."""


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """Frames that never make samples (they stay in `frames` with their reason)."""

    min_detector_score: float = 0.9
    """Frames are dropped in which the landmark model is less certain of the person (score, 0 to 1)."""
    max_reprojection_error: float = 0.03
    """Frames are dropped whose body's landmarks lie farther from the detected ones: mean distance over the size of the
    person (ratio)."""
    min_silhouette_iou: float = 0.7
    """Frames are dropped whose body's silhouette agrees less with the segmented person: intersection over union."""
    min_border_distance_px: float = 1.0
    """Frames are dropped whose person's box comes nearer to the image's border."""
    max_overlap: float = 0.1
    """Frames are dropped whose person's box shares more with another person's: intersection over union (share)."""


@dataclass(frozen=True, kw_only=True)
class RefineSettings:
    """Making the bodies of a track agree with each other by its pictures, between tracking and rendering."""

    mode: Literal["off", "pairs", "track"] = "track"
    """`track`: every frame is aligned to the mean appearance of the frames around it; `pairs`: to the frames a
    candidate gap away, each left out where it differs much; `off`: bodies stay as the tracker found them."""
    window_s: float = 0.5
    """Half the width of the window of frames in mode `track` (a raised cosine)."""
    levels_px: tuple[int, ...] = (64, 128, 256, 512)
    """Sides of the pictures, coarse to fine: from 64 on, starts that are 4 px off at 256 converge."""
    iterations: int = 6
    """Steps at each level (count)."""
    points: int = 6000
    """Points spread over the body's surface (count); a quarter and half of them at the levels of 64 and 128."""
    node_spacing_m: float = 0.12
    """Distance of the nodes of the free offset and of the bias of light: 16 px at 256, 4.4 m away."""
    static_lighting: bool = True
    """Whether shading by lamps that stand still while the body turns, a function of the surface normal, is estimated
    and taken out, one for a track."""
    person: bool = True
    """Whether points that the segmentation does not call the person are left out: there the picture shows what is
    behind, and that stands still."""
    colour_sigma: float = 0.06
    """Differences of the logarithm of a colour (ratio) that need no explanation."""
    picture_weight: float = 0.03
    """Independent measurements that a point and channel is worth (ratio): neighbouring points repeat each other. On
    real clips more helps (misalignment 2.6 px with 0.015, 2.1 with 0.05), on exact bodies it costs (.17 and .19 px)."""
    rotation_sigma_rad: float = 0.2
    """How far the tracker's joint rotations are trusted. Exact bodies, those with errors of 1 cm and degree and those
    of the landmark tracker are left misaligned by .15, .24 and .50 px with 0.1, by .17, .25 and .44 with this, and by
    .19, .26 and .40 with 0.3 (three studio films, `picture_weight` 0.015)."""
    translation_sigma_m: float = 0.02
    """How far its translation is trusted. Depth is seen by size alone: more lets light pull bodies to and fro."""
    rotation_acceleration_sigma_rad_s2: float = 45.0
    """How much the corrections of joint rotations may accelerate: .05 rad from frame to frame at 30 a second."""
    translation_acceleration_sigma_m_s2: float = 18.0
    """The same of the translation's: 2 cm from frame to frame at 30 a second."""
    offset_sigma_m: float = 0.02
    """How far the dressed surface may lie off the body."""

    def __post_init__(self) -> None:
        _require(
            bool(self.levels_px)
            and min(self.levels_px) >= 32
            and list(self.levels_px) == sorted(self.levels_px),
            "refine.levels_px",
            self.levels_px,
            "Give sides of 32 or more, coarse to fine.",
        )
        for name in (
            "window_s", "iterations", "points", "node_spacing_m", "colour_sigma", "picture_weight",
            "rotation_sigma_rad", "translation_sigma_m", "rotation_acceleration_sigma_rad_s2",
            "translation_acceleration_sigma_m_s2", "offset_sigma_m",
        ):  # fmt: skip
            _require(getattr(self, name) > 0, f"refine.{name}", getattr(self, name), "Give a number above 0.")


@dataclass(frozen=True, kw_only=True)
class RenderingSettings:
    """Base depth."""

    rasterizer: Literal["auto", "pyrender_gl", "compiled"] = "auto"
    """`auto` is resolved once at launch: pyrender_gl where a GL context can be made, else compiled."""
    smoothing_passes: int = 0
    """Laplacian passes over the base mesh before depth is rendered (count); preset `released`: 4."""
    surface_offset_m: float = 0.0
    """Distance the base mesh is moved outwards along its normals; preset `released`: 0.026."""
    near_m: float = 0.05
    """Surface nearer to the camera than this is not drawn."""


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
    max_misalignment_px: float | None = None
    """Pairs whose bodies and pictures disagree by more map pixels than this are dropped as `misaligned`; null keeps
    all. One pixel at 256 reads as 2.6 cm of false depth."""
    jpeg_quality: int = 92
    """Quality of the stored pictures, 1 to 100 (score of the JPEG encoder)."""

    def __post_init__(self) -> None:
        _require(
            bool(self.candidate_gaps_s) and min(self.candidate_gaps_s) > 0,
            "pairs.candidate_gaps_s",
            self.candidate_gaps_s,
            "Give gaps in seconds above 0.",
        )
        _require(self.max_references >= 1, "pairs.max_references", self.max_references, "Give 1 or more.")
        _require(self.target_stride >= 1, "pairs.target_stride", self.target_stride, "Give 1 or more.")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How a run is carried out. No row depends on these, so they may differ from one run to the next."""

    unit_time_limit_s: float = 1800.0
    """A unit that takes longer, for example because a decoder hangs, is ended and becomes a failure that can be
    retried."""
    max_failed_share: float = 1.0
    """A run of whose units more failed ends with exit code 5."""
    accelerator: str | None = None
    """Beam resource hint of the tracking step, for example `type:nvidia-tesla-t4;count:1;install-nvidia-driver`."""
    tracking_ram: str = "4GB"
    """Beam resource hint of the tracking step: memory of a worker."""

    def __post_init__(self) -> None:
        _require(
            self.unit_time_limit_s > 0,
            "run.unit_time_limit_s",
            self.unit_time_limit_s,
            "Give seconds above 0.",
        )
        _require(
            0 <= self.max_failed_share <= 1, "run.max_failed_share", self.max_failed_share, "Give 0 to 1."
        )


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of the pipeline."""

    video: VideoSettings = field(default_factory=VideoSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    body: BodySettings = field(default_factory=BodySettings)
    tracking: TrackingSettings = field(default_factory=TrackingSettings)
    gates: GateSettings = field(default_factory=GateSettings)
    refine: RefineSettings = field(default_factory=RefineSettings)
    rendering: RenderingSettings = field(default_factory=RenderingSettings)
    pairs: PairSettings = field(default_factory=PairSettings)
    run: RunSettings = field(default_factory=RunSettings)


def preset(name: str) -> Settings:
    """`paper` (the default), `paper-exact` or `released` (what the authors' published demo does).

    The publication drops a pair whose mean baseline is below 0.5 m and a pixel that is not seen in both frames or whose
    own baseline is below 0.05 m. `paper` adds four limits on pairs: `max_rotation_deg`, `max_baseline_over_depth`,
    `min_valid_fraction`, and `max_references` 6; and it refines bodies, because without that their errors are what a
    network learns (method, section 10). `paper-exact` leaves the four and refinement off: every candidate that passes
    the two published rules is a reference. Frames are gated alike in all presets (`gates`): the publication's bodies
    were checked by its authors, nobody checks those of a film from the web.
    """
    if name == "paper":
        return Settings()
    if name == "paper-exact":
        return replace(
            Settings(),
            refine=RefineSettings(mode="off"),
            pairs=PairSettings(
                max_references=2 * len(PairSettings().candidate_gaps_s),
                max_rotation_deg=180.0,
                max_baseline_over_depth=1000.0,
                min_valid_fraction=0.0,
            ),
        )
    if name == "released":
        return replace(
            Settings(),
            refine=RefineSettings(mode="off"),
            rendering=RenderingSettings(smoothing_passes=4, surface_offset_m=0.026),
        )
    raise SettingsError(f"unknown preset {name!r}.", remedy="Use 'paper', 'paper-exact' or 'released'.")
