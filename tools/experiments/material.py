"""Studio films as training material in memory: crops, base depths, motions and truths by the pipeline's own functions.

The same rows as `python -m pipeline run` or `studio-run` would write, without files in between: one process per core,
each clip of each variant of its bodies once. Reading films needs OpenCV alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.config import Settings
from pipeline.method.refined_tracks import refined_by_crops
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.resources import shared_resources
from pipeline.method.samples import target_rows
from pipeline.records import ClipRef, Footage, Frame, Quality, Segment, Track, VideoFacts
from pipeline.studio.clip import StudioClip
from pipeline.studio.true_tracker import BodyJitter, TrueTracker
from pipeline.studio.truth import truth_at
from pipeline.video.crops import crop_image, encode_jpeg
from schemas.conventions import IMAGE_PX
from schemas.dataset import Dataset
from schemas.settings import with_overrides


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to get at the bodies and to choose the pairs."""

    jitter: BodyJitter | None = field(default_factory=BodyJitter)
    """None: the bodies that the tracker found."""
    is_refined: bool = False
    """Whether bodies were made to agree with each other by the pictures."""
    min_mean_baseline_m: float = 0.5
    max_rotation_deg: float = 40.0
    max_references: int = 6
    max_misalignment_px: float | None = None
    """None: pairs are kept whatever the pictures say, as when most figures of docs/experiments.md were measured."""
    overrides: tuple[str, ...] = ()
    """Further settings of the pipeline, of refinement and rendering."""

    @property
    def crops(self) -> str:
        """Which crops it cuts out of the films: those of true bodies, or of tracked ones."""
        return "tracked" if self.jitter is None else "true"

    @property
    def key(self) -> str:
        """A name for files."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


@dataclass(frozen=True, kw_only=True)
class ClipWork:
    """One clip to prepare."""

    film: Path
    tracked: Path | None
    """A dataset made from the films, for its table `frames`."""
    variant: Variant
    target_stride: int
    with_truth: bool
    out: Path
    """Folder for arrays that another process reads."""

    @property
    def _name(self) -> str:
        """A film's folder belongs to it: the same person may be filmed twice."""
        return f"{self.film.parent.name}-{self.film.stem}"

    @property
    def images_path(self) -> Path:
        """(T, 512, 512, 3) uint8 crops."""
        return self.out / f"{self._name}-{self.variant.crops}.npy"

    @property
    def samples_path(self) -> Path:
        """The samples' maps, packed."""
        return self.out / f"{self._name}-{self.variant.key}.npz"


def prepare(work: ClipWork) -> int:
    """Writes the crops of a clip and the samples of a variant, if not there yet; returns how many samples there are."""
    if work.samples_path.exists():
        with np.load(work.samples_path, allow_pickle=False) as data:
            return len(data["sample_id"]) if "sample_id" in data else 0
    cv2.setNumThreads(1)
    settings = with_overrides(Settings(), work.variant.overrides)
    pairs = replace(
        settings.pairs,
        min_mean_baseline_m=work.variant.min_mean_baseline_m,
        max_rotation_deg=work.variant.max_rotation_deg,
        max_references=work.variant.max_references,
        max_misalignment_px=work.variant.max_misalignment_px,
        target_stride=work.target_stride,
    )
    settings = replace(settings, pairs=pairs, rendering=replace(settings.rendering, rasterizer="compiled"))
    clip = StudioClip.load(work.film.with_suffix(".json"))
    resources, segment = shared_resources(settings), _segment(work.film, clip)
    frames = list(read_film(work.film, clip.settings.fps))
    rows: list[dict[str, Any]] = []
    images: list[np.ndarray] = []
    for track in _tracks(work, clip, frames, settings):
        crops = [
            crop_image(frames[at].image, crop, IMAGE_PX) for at, crop in zip(track.frame_index, track.crop_px)
        ]
        jpegs = {int(at): encode_jpeg(crop, pairs.jpeg_quality) for at, crop in zip(track.frame_index, crops)}
        if work.variant.is_refined:
            track = refined_by_crops(track, jpegs, resources)
        rendered = RenderedFrames(track, jpegs, resources)
        first, place = len(images), {int(at): number for number, at in enumerate(track.frame_index)}
        images += [_decoded(jpegs[int(at)]) for at in track.frame_index]
        for target in map(int, np.flatnonzero(track.kept)[:: work.target_stride]):
            row = target_rows(segment, rendered, target, resources.rings, pairs).sample
            if row is not None:
                row["image_at"] = first + place[row["frame_index"]]
                row["references_at"] = [first + place[each["frame_index"]] for each in row["references"]]
                rows.append(row)
            rendered.forget_before(float(track.pts_s[target]) - 1.5)
    if not work.images_path.exists():  # variants share crops; a rename never shows half a file
        spool = work.images_path.with_name(f"{work.variant.key}-{work.images_path.name}")
        np.save(spool, np.array(images, np.uint8).reshape(-1, IMAGE_PX, IMAGE_PX, 3))
        spool.replace(work.images_path)
    packed = _packed(rows) if rows else {}
    if work.with_truth and rows:
        truths = [truth_at(clip, row["pts_s"], row["K"], resources.rasterizer) for row in rows]
        packed |= {
            "true_depth": np.stack([truth.depth_m for truth in truths]),
            "true_body": np.stack([truth.body_depth_m for truth in truths]),
            "part": np.stack([truth.part for truth in truths]),
            "pose": np.array([truth.pose for truth in truths]),
        }
    spool = work.samples_path.with_suffix(".part.npz")
    np.savez(spool, **packed)
    spool.replace(work.samples_path)
    return len(rows)


def _packed(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """The samples of a clip without the background, which is most of them: values, their pixels, and whose they are."""
    parts: dict[str, list[np.ndarray]] = {}

    def add(name: str, values: np.ndarray) -> None:
        parts.setdefault(name, []).append(values)

    for number, row in enumerate(rows):
        base, finer = row["base_depth"], row["input_depth"]
        on_body, pixel = base > 0, np.flatnonzero(base > 0).astype(np.int32)
        add("pixel", pixel)
        add("owner", np.full(len(pixel), number, np.int32))
        add("base_depth", base[on_body].astype(np.float32))
        add("input_pixel", np.flatnonzero(finer > 0).astype(np.int32))
        add("input_owner", np.full((finer > 0).sum(), number, np.int32))
        add("input_depth", finer[finer > 0].astype(np.float32))
        for place, each in enumerate(row["references"]):
            add("pair_pixel", pixel)
            add("pair_owner", np.full(len(pixel), number, np.int32))
            add("pair_place", np.full(len(pixel), place, np.int32))
            add("motion", each["motion"].dense()[on_body])
            add("validity", each["validity"].dense()[on_body])
    packed = {name: np.concatenate(values) for name, values in parts.items()}
    packed |= {name: np.array([row[name] for row in rows]) for name in ("sample_id", "image_at", "K")}
    most = max(len(row["references"]) for row in rows)
    packed["references_at"] = np.array([_filled(row["references_at"], most) for row in rows])
    packed["reference_K"] = np.array(
        [_filled([each["K"] for each in row["references"]], most) for row in rows]
    )
    return packed


def _filled(values: list[Any], count: int) -> list[Any]:
    """So many values: the first again where there are fewer. No pixel counts in what is filled in."""
    return values + values[:1] * (count - len(values))


def read_film(path: Path, fps: float) -> Iterator[Frame]:
    """Every frame of a film of the studio, whose frames are evenly spaced."""
    film = cv2.VideoCapture(str(path))
    try:
        for index in range(1_000_000):
            is_read, image = film.read()
            if not is_read:
                break
            yield Frame(index=index, pts_s=index / fps, image=cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    finally:
        film.release()


def _segment(film: Path, clip: StudioClip) -> Segment:
    height, width = clip.camera.hw
    length_s = clip.settings.duration_s
    facts = VideoFacts(
        width_px=width, height_px=height, mean_fps=clip.settings.fps, duration_s=length_s, sha256=""
    )
    reference = ClipRef(clip_id=clip.clip_id, uri=str(film), source_id=clip.clip_id)
    return Segment(
        clip=reference,
        unit_id=f"{clip.clip_id}-s000-w000",
        shot_index=0,
        start_s=0.0,
        end_s=length_s,
        video=facts,
    )


def _tracks(work: ClipWork, clip: StudioClip, frames: list[Frame], settings: Settings) -> list[Track]:
    if work.variant.jitter is None:
        assert work.tracked is not None
        return tracks_of_frames(work.tracked, clip.clip_id)
    tracker = TrueTracker(work.film.parent, settings, work.variant.jitter)
    return tracker.track(frames, Footage(unit_id=f"{clip.clip_id}-s000-w000"))


def tracks_of_frames(root: Path, clip_id: str) -> list[Track]:
    """The tracks of a clip as tracked, from the rows of a dataset's table `frames`."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in Dataset.open(root).rows("frames"):
        if row["clip_id"] == clip_id:
            found.setdefault(row["track_id"], []).append(row)
    return [_track(rows) for rows in found.values()]


def _track(rows: list[dict[str, Any]]) -> Track:
    def column(name: str) -> np.ndarray:
        return np.array([row[name] for row in rows])

    names = (
        "detector_score",
        "reprojection_error",
        "silhouette_iou",
        "acceleration_mm",
        "border_distance_px",
        "overlap",
    )
    return Track(
        track_id=rows[0]["track_id"],
        person_index=rows[0]["person_index"],
        frame_index=column("frame_index"),
        pts_s=column("pts_s"),
        box_px=column("box_px"),
        crop_px=column("crop_px"),
        vector=column("tracked_vector").astype(np.float64),
        K=column("K"),
        quality=Quality(**{name: column(name) for name in names}),
        reason=tuple(row["reason"] for row in rows),
    )


def _decoded(jpeg: bytes) -> np.ndarray:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
