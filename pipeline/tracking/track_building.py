"""The last step of every tracker: bodies of one person, placed in the full image's camera, become a `Track`."""

from __future__ import annotations

import numpy as np

from pipeline.config import Settings
from pipeline.geometry.camera import Camera, weak_perspective_from_translation
from pipeline.records import Track
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.fit import FittedTrack
from pipeline.tracking.left_right import find_swaps
from pipeline.tracking.people import Observations
from pipeline.tracking.quality import gate_reasons, quality_of
from pipeline.tracking.silhouette import Silhouettes, person_cells
from schemas.conventions import BETA_COUNT, IMAGE_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE, VECTOR_SIZE

EXCHANGED = "sides-exchanged"


def build_track(
    body: ArticulatedBody,
    settings: Settings,
    seen: Observations,
    silhouettes: Silhouettes,
    fitted: FittedTrack,
    camera: Camera,
    *,
    unit_id: str,
    person_index: int,
    box_px: np.ndarray,
    crop_px: np.ndarray,
    overlap: np.ndarray,
) -> Track:
    """Quality, gates, cropped cameras and the 85 numbers of every frame. `camera` is the full image's."""
    quality = quality_of(body, seen, silhouettes, fitted, camera, box_px, overlap)
    reasons = gate_reasons(quality, settings.gates)
    crops = [camera.cropped(crop, IMAGE_PX) for crop in crop_px]
    return Track(
        track_id=f"{unit_id}/p{person_index:02d}",
        person_index=person_index,
        frame_index=seen.frame_index,
        pts_s=seen.pts_s,
        box_px=box_px,
        crop_px=crop_px,
        vector=np.stack([_vector(fitted, at, crop) for at, crop in enumerate(crops)]),
        K=np.stack([crop.K for crop in crops]),
        quality=quality,
        reason=with_exchanged_frames(reasons, seen, settings.tracking.swap_cost),
        person=person_cells(silhouettes, crop_px),
    )


def with_exchanged_frames(reasons: tuple[str, ...], seen: Observations, swap_cost: float) -> tuple[str, ...]:
    """(T,) gate reasons, with EXCHANGED where a kept frame shows left and right the other way than the kept around it.

    Where the repair loses sight of a person's sides (both legs drawn in one place for longer than it looks), the fit
    is torn round, and its error gates the frames in between. What is left on both sides is then compared directly.
    """
    kept = np.array([not reason for reason in reasons], bool)
    if not kept.any():
        return reasons
    exchanged = np.zeros(len(kept), bool)
    exchanged[kept] = find_swaps(seen.at(kept), swap_cost)
    return tuple(EXCHANGED if is_exchanged else reason for is_exchanged, reason in zip(exchanged, reasons))


def _vector(fitted: FittedTrack, at: int, crop: Camera) -> np.ndarray:
    """The 85 numbers of one frame, the camera part relative to its crop."""
    vector = np.empty(VECTOR_SIZE)
    vector[VECTOR_CAMERA] = weak_perspective_from_translation(fitted.translation[at], crop)
    vector[VECTOR_POSE] = fitted.pose[at].reshape(-1)
    vector[VECTOR_BETAS] = fitted.betas_at(at)[:BETA_COUNT]
    return vector
