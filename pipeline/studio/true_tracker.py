"""Bodies that are known instead of found: a `Tracker` for studio films, exact or made wrong by a known amount."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.config import Settings
from pipeline.geometry.camera import Camera, weak_perspective_from_translation
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation
from pipeline.records import Footage, Frame, ProgressCallback, Quality, Track
from pipeline.studio.clip import BodyPose, StudioClip
from pipeline.tracking.people import LandmarkModels, PersonSeen, observations_of
from pipeline.tracking.regions import Region
from pipeline.tracking.silhouette import (
    SILHOUETTE_THRESHOLD,
    Silhouettes,
    person_cells,
    silhouettes_of,
    unknown_person,
)
from pipeline.video.crops import smooth_crops
from schemas.conventions import IMAGE_PX, JOINT_COUNT, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE, VECTOR_SIZE
from schemas.errors import SettingsError

_UNIT_ID = re.compile(r"(.+)-s\d{3}-w\d{3}")


@dataclass(frozen=True, kw_only=True)
class BodyJitter:
    """How wrong the bodies are made: every joint is turned and the whole body is moved, at random."""

    shift_cm: float = 0.0
    """Root mean square length of the body's shift."""
    turn_deg: float = 0.0
    """Root mean square angle of each joint's turn."""
    is_common: bool = False
    """One draw for all frames of a clip instead of one for each."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("shift_cm", "turn_deg", "seed"):
            if not getattr(self, name) >= 0:
                raise SettingsError(
                    f"jitter of bodies: {name} cannot be {getattr(self, name)!r}.", remedy="Give 0 or more."
                )

    def applied(self, bodies: list[BodyPose], clip_seed: int) -> list[BodyPose]:
        """R' = R exp(d), d of each component N(0, turn / sqrt 3), and t' = t + N(0, shift / sqrt 3), by frame."""
        rng = np.random.default_rng([self.seed, clip_seed])
        draws = 1 if self.is_common else len(bodies)
        turns = np.radians(self.turn_deg / np.sqrt(3)) * rng.standard_normal((draws, JOINT_COUNT, 3))
        shifts = 0.01 * self.shift_cm / np.sqrt(3) * rng.standard_normal((draws, 3))
        return [
            BodyPose(
                pose=rotvec_from_rotation(
                    rotation_from_rotvec(body.pose) @ rotation_from_rotvec(turns[at % draws])
                ),
                betas=body.betas,
                translation=body.translation + shifts[at % draws],
            )
            for at, body in enumerate(bodies)
        ]


class TrueTracker:
    """`Tracker` of films that lie in a studio folder. Quality says that nothing is in doubt, jittered or not."""

    def __init__(
        self,
        studio: Path,
        settings: Settings,
        jitter: BodyJitter | None = None,
        models: LandmarkModels | None = None,
    ) -> None:
        """`models` look for the person's outline in every frame, as they do for bodies of another program; without
        them tracks have none."""
        self._studio, self._settings, self._jitter = studio, settings, jitter or BodyJitter()
        self._models = models

    def track(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: ProgressCallback | None = None,
    ) -> list[Track]:
        """The one person of a studio clip, at the frames' presentation times.

        Raises DatasetError when the unit's clip does not lie in the studio's folder.
        """
        match = _UNIT_ID.fullmatch(footage.unit_id)
        clip = _clip(self._studio / f"{match.group(1) if match else footage.unit_id}.json")
        times, outlines = [], []
        for frame in frames:
            times.append((frame.index, frame.pts_s))
            outlines.append(self._outline(clip, frame))
        if not times:
            return []
        index, pts_s = (np.array(values) for values in zip(*times, strict=True))
        track = self.track_of(clip, index, pts_s, f"{footage.unit_id}/p00")
        if self._models is None:
            return [track]
        cells = [
            unknown_person() if outline is None else person_cells(outline, crop[None])[0]
            for outline, crop in zip(outlines, track.crop_px, strict=True)
        ]
        return [replace(track, person=tuple(cells))]

    def _outline(self, clip: StudioClip, frame: Frame) -> Silhouettes | None:
        """Of the person in one frame; None where nobody looks, or the body is not in the picture."""
        if self._models is None:
            return None
        body = clip.body_at(frame.pts_s)
        joints = clip.actor.body.joints(body.pose, body.betas, body.translation)
        region = Region.from_joints(clip.camera.px_from_cam(joints), frame.hw)
        if region is None:
            return None
        seen = PersonSeen(region=region)
        seen.record(frame, self._models.landmarks(frame.showing(*region.window(frame.hw)), region))
        return silhouettes_of(observations_of(seen, frame.hw), SILHOUETTE_THRESHOLD, distances=False)

    def track_of(self, clip: StudioClip, frame_index: np.ndarray, pts_s: np.ndarray, track_id: str) -> Track:
        """The person of a clip at times (T,). Boxes and crops are those of the true body, whatever the jitter."""
        bodies = [clip.body_at(float(time_s)) for time_s in pts_s]
        px = [
            clip.camera.px_from_cam(clip.actor.body.vertices(body.pose, body.betas, body.translation))
            for body in bodies
        ]
        height, width = clip.camera.hw
        box_px = np.array([[*each.min(axis=0), *each.max(axis=0)] for each in px])
        box_px = np.clip(box_px, 0, [width, height, width, height])
        crop_px = smooth_crops(box_px, pts_s, self._settings.camera.crop_margin)
        crops = [clip.camera.cropped(crop, IMAGE_PX) for crop in crop_px]
        bodies = self._jitter.applied(bodies, clip.seed)
        border_px = np.minimum(box_px[:, :2].min(axis=1), ([width, height] - box_px[:, 2:]).min(axis=1))
        none = np.zeros(len(pts_s))
        return Track(
            focal_source="given",
            track_id=track_id,
            person_index=0,
            frame_index=np.asarray(frame_index, np.int64),
            pts_s=np.asarray(pts_s, np.float64),
            box_px=box_px,
            crop_px=crop_px,
            vector=np.stack([_vector(body, crop) for body, crop in zip(bodies, crops, strict=True)]),
            K=np.stack([crop.K for crop in crops]),
            quality=Quality(
                detector_score=none + 1,
                reprojection_error=none,
                silhouette_iou=none + 1,
                acceleration_mm=none,
                border_distance_px=border_px,
                overlap=none,
            ),
            reason=tuple(
                "at-image-border" if px < self._settings.gates.min_border_distance_px else ""
                for px in border_px
            ),
        )


@lru_cache(maxsize=2)
def _clip(facts_path: Path) -> StudioClip:
    return StudioClip.load(facts_path)


def _vector(body: BodyPose, crop: Camera) -> np.ndarray:
    vector = np.empty(VECTOR_SIZE)
    vector[VECTOR_CAMERA] = weak_perspective_from_translation(body.translation, crop)
    vector[VECTOR_POSE], vector[VECTOR_BETAS] = body.pose.reshape(-1), body.betas
    return vector
