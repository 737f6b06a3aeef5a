"""From frames to `Track`s: the seam that every estimator of bodies fits behind, and the default behind it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Protocol

import numpy as np

from pipeline.assets import asset_path, tracking_assets
from pipeline.config import CameraSettings, Settings
from pipeline.geometry.camera import Camera
from pipeline.records import Footage, Frame, ProgressCallback, Track
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.blazepose import PoseModels
from pipeline.tracking.fit import FittedTrack, fit_track
from pipeline.tracking.fit_energy import EnergyWeights
from pipeline.tracking.left_right import repair_left_right
from pipeline.tracking.lens import Lens, estimated_lens, known_lens
from pipeline.tracking.people import Keep, LandmarkModels, Observations, follow_people
from pipeline.tracking.quality import shared_boxes
from pipeline.tracking.silhouette import SILHOUETTE_THRESHOLD, Silhouettes, silhouettes_of
from pipeline.tracking.track_building import build_track
from pipeline.tracking.two_models import joined_landmarks
from pipeline.video.crops import smooth_crops

BOX_VISIBILITY = 0.5
"""Landmarks at least this visible belong to the person's box."""


class Tracker(Protocol):
    """Finds the people in a segment and estimates their bodies."""

    def track(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[Track]:
        """The people in a stream of frames, in order of appearance; empty where there is nobody."""
        ...


class ObservingTracker(Tracker, Protocol):
    """A tracker that also tells what the landmark network saw of each person."""

    def track_with_landmarks(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[tuple[Track, Observations]]:
        """Tracks, each with the landmarks of its frames."""
        ...


class LandmarkTracker:
    """The default: BlazePose landmarks of several people, left/right repair, one fit of the body per track."""

    def __init__(
        self,
        body: ArticulatedBody,
        settings: Settings,
        models: LandmarkModels | None = None,
        weights: EnergyWeights | None = None,
    ) -> None:
        self._body, self._settings, self._given_models, self._weights = body, settings, models, weights

    def track(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[Track]:
        """See `Tracker.track`. The same frames and settings give the same numbers."""
        found = self.track_with_landmarks(frames, footage, on_progress=on_progress)
        return [track for track, _ in found]

    def track_with_landmarks(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[tuple[Track, Observations]]:
        """Tracks, each with the landmarks (left and right repaired) it was fitted to."""
        settings = self._settings.tracking
        models = self._given_models or landmark_models(self._settings)
        people = follow_people(frames, models, settings, self._keep)
        del models  # 65 MB that nothing needs any more; loaded again for the next segment in .2 s
        return self.fitted(people, footage, on_progress=on_progress)

    def fitted(
        self,
        people: list[Observations],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[tuple[Track, Observations]]:
        """`track_with_landmarks` of people who have been followed already."""
        settings = self._settings.tracking
        seen = [joined_landmarks(repair_left_right(person, settings.swap_cost)[0]) for person in people]
        lens = known_lens(footage, self._settings.camera)
        if lens.focal_px is None and self._settings.camera.lens == "estimated":
            lens = estimated_lens(seen, self._settings.camera)
        # Outlines and distances take 80 kB a frame: outlines are made twice, so that only one person's are held.
        boxes = [
            person_boxes(person, silhouettes_of(person, SILHOUETTE_THRESHOLD, distances=False))
            for person in seen
        ]
        overlaps = shared_boxes([person.frame_index for person in seen], boxes)
        tracks = []
        for index, person in enumerate(seen):
            if on_progress is not None:
                on_progress("fit", index, len(seen))
            silhouettes = silhouettes_of(person, SILHOUETTE_THRESHOLD)
            fitted = self._fit(
                person, silhouettes, boxes[index], overlaps[index], footage.unit_id, index, lens
            )
            tracks.append((fitted, person))
        if on_progress is not None and seen:
            on_progress("fit", len(seen), len(seen))
        return tracks

    def _fit(
        self,
        seen: Observations,
        silhouettes: Silhouettes,
        box_px: np.ndarray,
        overlap: np.ndarray,
        unit_id: str,
        person_index: int,
        lens: Lens,
    ) -> Track:
        crop_px = smooth_crops(box_px, seen.pts_s, self._settings.camera.crop_margin)
        camera = full_camera(seen.image_hw, crop_px, lens.focal_px, self._settings.camera)
        fitted = self._bodies(seen, silhouettes, camera)
        track = build_track(
            self._body,
            self._settings,
            seen,
            silhouettes,
            fitted,
            camera,
            unit_id=unit_id,
            person_index=person_index,
            box_px=box_px,
            crop_px=crop_px,
            overlap=overlap,
        )
        return replace(track, focal_source=lens.source, focal_uncertainty=lens.uncertainty)

    @property
    def _keep(self) -> Keep | None:
        """What is kept of every frame besides landmarks."""
        return None

    def _bodies(self, seen: Observations, silhouettes: Silhouettes, camera: Camera) -> FittedTrack:
        """The bodies of a track in the full image's camera."""
        rng = np.random.default_rng(self._settings.tracking.seed)
        return fit_track(self._body, seen, silhouettes, camera, self._settings.tracking, rng, self._weights)


def landmark_models(settings: Settings) -> PoseModels:
    """The networks that `tracking.landmark_model` names, from the cache. Raises AssetError where they are not there."""
    tracking = settings.tracking
    detector, usual, *heavier = (asset_path(name) for name in tracking_assets(tracking))
    return PoseModels(
        detector,
        usual,
        heavier_path=heavier[0] if heavier else None,
        mirrored_look=tracking.mirrored_look,
    )


def full_camera(
    image_hw: tuple[int, int], crop_px: np.ndarray, focal_px: float | None, settings: CameraSettings
) -> Camera:
    """The full image's camera: principal point at its centre, one focal length for the whole track.

    Where there is none it is `medium_focal` times the median side of the track's crops, which is the published 500 px
    for a crop of 224 px.
    """
    height, width = image_hw
    focal = focal_px if focal_px is not None else settings.medium_focal * float(np.median(crop_px[:, 2]))
    return Camera(np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]), (height, width))


def person_boxes(seen: Observations, silhouettes: Silhouettes) -> np.ndarray:
    """(T, 4) left, top, right, bottom in pixels: what the visible landmarks and the silhouette's outline span.

    Landmarks end at the eyes, knuckles and toes; the outline adds crown, fingers and clothes. Boxes are cut to the
    image, and a frame where nothing is visible takes all landmarks.
    """
    height, width = seen.image_hw
    visible: np.ndarray = np.greater_equal(seen.visibility, BOX_VISIBILITY)
    visible = visible | ~visible.any(axis=1, keepdims=True)
    outlined = np.broadcast_to(silhouettes.is_seen[:, None], silhouettes.contour_weight.shape)
    points = np.concatenate([seen.xy_px, silhouettes.contour_px], axis=1)
    counted = np.concatenate([visible, outlined], axis=1)[..., None]
    low = np.where(counted, points, np.inf).min(axis=1)
    high = np.where(counted, points, -np.inf).max(axis=1)
    low, high = np.clip(low, 0, [width - 1, height - 1]), np.clip(high, 1, [width, height])
    return np.concatenate([low, np.maximum(high, low + 1)], axis=1)
