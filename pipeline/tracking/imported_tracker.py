"""Tracks out of bodies that another program found, with the same quality scalars and gates as every other track.

The landmark network looks at each body's place in the picture: what it sees says how well the body sits there, and its
silhouette gives the person's box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.config import Settings
from pipeline.geometry.array_types import Floats
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.records import Footage, Frame, ProgressCallback, Track
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.fit import FittedTrack
from pipeline.tracking.imported_bodies import (
    ImportedBodies,
    bodies_path,
    in_camera,
    read_bodies,
    require_shape_space,
    source_camera,
    translation_with_same_image,
)
from pipeline.tracking.lens import Lens, known_lens
from pipeline.tracking.people import LandmarkModels, Observations, PersonSeen, observations_of
from pipeline.tracking.quality import shared_boxes
from pipeline.tracking.regions import Region
from pipeline.tracking.silhouette import SILHOUETTE_THRESHOLD, silhouettes_of
from pipeline.tracking.track_building import build_track
from pipeline.tracking.tracker import full_camera, landmark_models, person_boxes
from pipeline.video.crops import smooth_crops
from schemas.errors import SourceError

TIME_TOLERANCE_S = 0.005
"""A body belongs to the frame whose presentation time is this near to its own, or nearer than to any other frame."""
CROP_PX = 224
"""Side weak cameras are worked out at; it cancels."""
_UNIT_SUFFIX = re.compile(r"-s\d{3}-w\d{3}$")


@dataclass(slots=True, eq=False)
class _Found:
    """One person's rows and what was seen at them."""

    rows: list[int]
    seen: PersonSeen


class ImportedTracker:
    """Bodies from `tracking.bodies`, one file a clip, by frame number or presentation time."""

    def __init__(
        self, body: ArticulatedBody, settings: Settings, models: LandmarkModels | None = None
    ) -> None:
        self._body, self._settings, self._given_models = body, settings, models

    @cached_property
    def _models(self) -> LandmarkModels:
        if self._given_models is not None:
            return self._given_models
        return landmark_models(self._settings)

    def track(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[Track]:
        """See `Tracker.track`. Raises SourceError where the clip's file is missing or of another body."""
        found = self.track_with_landmarks(frames, footage, on_progress=on_progress)
        return [track for track, _ in found]

    def track_with_landmarks(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[tuple[Track, Observations]]:
        """Tracks, each with the landmarks that were seen where its bodies are."""
        bodies = self._read(_UNIT_SUFFIX.sub("", footage.unit_id))
        people: dict[int, _Found] = {}
        hw, count = (1, 1), 0
        for frame, tolerance_s in frames_with_tolerance(frames, bodies):
            count += 1
            hw = frame.hw
            for row in rows_at(bodies, frame, tolerance_s):
                region = self._region(bodies, row, hw)
                if region is None:
                    continue
                found = people.setdefault(int(bodies.person[row]), _Found([], PersonSeen(region=region)))
                picture = frame.showing(*region.window(hw))
                found.seen.record(frame, self._models.landmarks(picture, region))
                found.rows.append(row)
        shortest = min(self._settings.tracking.min_track_frames, count)
        kept = [found for found in people.values() if len(found.rows) >= max(1, shortest)]
        lens = known_lens(footage, self._settings.camera)
        return self._tracks(bodies, kept, hw, footage.unit_id, lens)

    def _read(self, clip_id: str) -> ImportedBodies:
        folder = Path(self._settings.tracking.bodies)
        path = bodies_path(folder, clip_id)
        if path is None:
            raise SourceError(
                f"{folder} holds no bodies of the clip {clip_id!r}.",
                remedy=f"Make {folder / clip_id}.npz with `python -m pipeline body convert`, and name its folder in "
                "tracking.bodies.",
            )
        bodies = read_bodies(path)
        require_shape_space(bodies, self._body.shape_space, path)
        return in_camera(bodies, self._body)

    def _region(self, bodies: ImportedBodies, row: int, hw: tuple[int, int]) -> Region | None:
        """Where the body is in the picture; None where it is behind the camera or outside the picture."""
        return Region.from_joints(self._joints_px(bodies, row, hw), hw)

    def _joints_px(self, bodies: ImportedBodies, row: int, hw: tuple[int, int]) -> Floats:
        """(24, 2) pixels of one body's joints through its own camera."""
        pose, betas = bodies.pose[row], bodies.betas[row]
        if bodies.weak is not None and bodies.crop_px is not None:
            joints = self._body.joints(pose, betas, np.zeros(3))
            scale, centre, side = bodies.weak[row, 0], bodies.crop_px[row, :2], bodies.crop_px[row, 2]
            return np.asarray(centre + 0.5 * side * scale * (joints[:, :2] + bodies.weak[row, 1:]))
        assert bodies.translation_m is not None
        camera = source_camera(bodies.rows(np.array([row])), hw)
        return camera.px_from_cam(self._body.joints(pose, betas, bodies.translation_m[row]))

    def _tracks(
        self,
        bodies: ImportedBodies,
        people: list[_Found],
        hw: tuple[int, int],
        unit_id: str,
        known: Lens,
    ) -> list[tuple[Track, Observations]]:
        seen = [observations_of(found.seen, hw) for found in people]
        silhouettes = [silhouettes_of(person, SILHOUETTE_THRESHOLD) for person in seen]
        boxes = [person_boxes(*pair) for pair in zip(seen, silhouettes, strict=True)]
        overlaps = shared_boxes([person.frame_index for person in seen], boxes)
        tracks = []
        for index, found in enumerate(people):
            rows = bodies.rows(np.array(found.rows))
            crop_px = smooth_crops(boxes[index], seen[index].pts_s, self._settings.camera.crop_margin)
            lens = known
            if _knows_lens(
                rows
            ):  # what their program knows counts as given, a file's word does not replace it
                lens = known if known.source == "given" else Lens(focal_px=None, source="given")
            camera = self._camera(rows, crop_px, hw, lens.focal_px)
            fitted = FittedTrack(pose=rows.pose, betas=rows.betas, translation=placed(rows, camera))
            track = build_track(
                self._body, self._settings, seen[index], silhouettes[index], fitted, camera, unit_id=unit_id,
                person_index=index, box_px=boxes[index], crop_px=crop_px, overlap=overlaps[index],
            )  # fmt: skip
            tracks.append((replace(track, focal_source=lens.source), seen[index]))
        return tracks

    def _camera(
        self, rows: ImportedBodies, crop_px: np.ndarray, hw: tuple[int, int], focal_px: float | None
    ) -> Camera:
        """The lens of the film where it is known, else that of the bodies, else the assumed one."""
        if not _knows_lens(rows):
            return full_camera(hw, crop_px, focal_px, self._settings.camera)
        camera = source_camera(rows, hw)
        if focal_px is None:
            return camera
        K = camera.K.copy()
        K[0, 0] = K[1, 1] = focal_px
        return Camera(K, hw)


def _knows_lens(rows: ImportedBodies) -> bool:
    """Whether the bodies stand in a camera whose focal length is that of the film, not a constant of their program."""
    assumed = rows.focal_is_assumed is not None and bool(rows.focal_is_assumed.any())
    return not rows.is_weak and not assumed


def frames_with_tolerance(frames: Iterable[Frame], bodies: ImportedBodies) -> Iterator[tuple[Frame, float]]:
    """Each frame, and how far in seconds a body's time may be from its own.

    Half of the smaller spacing, of the bodies or of the frame and its neighbours: at two frame rates each frame takes
    the nearest body, no body stands for two frames, and none is stretched over frames without one.
    """
    spacing_s = np.inf if bodies.pts_s is None else bodies.spacing_s
    frames = iter(frames)
    frame, before_s = next(frames, None), np.inf
    while frame is not None:
        following = next(frames, None)
        after_s = following.pts_s - frame.pts_s if following is not None else np.inf
        smallest = min(spacing_s, before_s, after_s)
        yield frame, max(TIME_TOLERANCE_S, 0.499 * smallest) if np.isfinite(smallest) else TIME_TOLERANCE_S
        frame, before_s = following, after_s


def rows_at(bodies: ImportedBodies, frame: Frame, tolerance_s: float = TIME_TOLERANCE_S) -> list[int]:
    """The rows of a frame: by its number, or where there are only times by the nearest one of each person."""
    if bodies.frame_index is not None:
        return [int(row) for row in np.flatnonzero(bodies.frame_index == frame.index)]
    assert bodies.pts_s is not None
    away = np.abs(bodies.pts_s - frame.pts_s)
    near = np.flatnonzero(away <= tolerance_s)
    best: dict[int, int] = {}
    for row in near[np.argsort(away[near], kind="stable")]:
        best.setdefault(int(bodies.person[row]), int(row))
    return sorted(best.values())


def placed(rows: ImportedBodies, camera: Camera) -> np.ndarray:
    """(T, 3) translations in the full image's camera, with the image that the bodies' own camera gives them."""
    if rows.weak is not None and rows.crop_px is not None:
        return np.stack(
            [
                translation_from_weak_perspective(weak, camera.cropped(crop, CROP_PX))
                for weak, crop in zip(rows.weak, rows.crop_px, strict=True)
            ]
        )
    assert rows.translation_m is not None
    assert rows.focal_px is not None
    own = source_camera(rows, camera.hw)
    centre = np.broadcast_to(own.K[:2, 2], (len(rows), 2)) if rows.centre_px is None else rows.centre_px
    return translation_with_same_image(rows.translation_m, rows.focal_px, centre, camera)
