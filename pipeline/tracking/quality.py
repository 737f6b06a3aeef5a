"""How well a fitted body sits on the person, frame by frame, and which frames that rules out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.config import GateSettings
from pipeline.geometry.array_types import Floats
from pipeline.geometry.camera import Camera
from pipeline.records import Quality
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.fit import FittedTrack
from pipeline.tracking.fit_energy import Acceleration
from pipeline.tracking.left_right import BODY_LANDMARKS
from pipeline.tracking.people import Observations
from pipeline.tracking.silhouette import Silhouettes, silhouette_iou

COUNTED_VISIBILITY = 0.5
"""Landmarks less visible than this are the network's guess; the error does not count them."""
LEAST_USUAL_ERROR = 0.003
"""Of the height: what a track's usual error counts as at least. Landmarks are not more exact."""
MESHES_AT_ONCE = 16
"""Posed meshes that are held: 2.7 MB. One by one they take twice as long."""
WORST_ERROR = 1.0
"""Error of a frame of which no landmark is visible: a whole height."""


def quality_of(
    body: ArticulatedBody,
    seen: Observations,
    silhouettes: Silhouettes,
    fitted: FittedTrack,
    camera: Camera,
    box_px: np.ndarray,
    overlap: np.ndarray,
) -> Quality:
    """The scalars of `Quality` for every frame of a track. `camera` is the full image's, in which `fitted` lies."""
    landmarks = body.landmarks(fitted.pose, fitted.betas, fitted.translation)
    iou = np.empty(len(seen))
    for first in range(0, len(seen), MESHES_AT_ONCE):
        some = slice(first, first + MESHES_AT_ONCE)
        betas = fitted.betas if fitted.betas.ndim == 1 else fitted.betas[some]
        meshes = body.vertices(fitted.pose[some], betas, fitted.translation[some])
        for at, vertices in enumerate(meshes, start=first):
            iou[at] = silhouette_iou(silhouettes, at, camera.px_from_cam(vertices), body.faces)
    return Quality(
        detector_score=seen.score,
        reprojection_error=reprojection_error(camera.px_from_cam(landmarks), seen),
        silhouette_iou=iou,
        acceleration_mm=acceleration_mm(landmarks, seen.pts_s),
        border_distance_px=border_distance_px(box_px, seen.image_hw),
        overlap=overlap,
    )


def reprojection_error(landmarks_px: np.ndarray, seen: Observations) -> np.ndarray:
    """(T,) mean |u_k - seen_k| / h over the visible ones of twelve body landmarks; h is the person's size."""
    body = list(BODY_LANDMARKS)
    visible = (seen.visibility * seen.presence)[:, body] > COUNTED_VISIBILITY
    distance = np.linalg.norm(landmarks_px[:, body] - seen.xy_px[:, body], axis=-1)
    count = visible.sum(axis=1)
    mean = np.where(visible, distance, 0.0).sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, mean / np.maximum(seen.size_px, 1.0), WORST_ERROR)


def acceleration_mm(landmarks: np.ndarray, pts_s: np.ndarray) -> np.ndarray:
    """(T,) mean length of the landmarks' acceleration in mm per squared 1/30 s; the ends repeat their neighbours.

    0 for tracks of fewer than three frames.
    """
    if len(pts_s) < 3:
        return np.zeros(len(pts_s))
    points = landmarks - landmarks.mean(axis=(0, 1))  # float32 weights below: keep numbers small
    inner = Acceleration(pts_s).of(points).reshape(len(pts_s) - 2, -1, 3)
    return 1000 * np.pad(np.linalg.norm(inner, axis=-1).mean(axis=-1), 1, mode="edge")


def border_distance_px(box_px: Floats, image_hw: tuple[int, int]) -> Floats:
    """(T,) pixels between a box and the nearest border of the image."""
    height, width = image_hw
    return np.asarray(np.minimum(box_px[:, :2].min(axis=1), ([width, height] - box_px[:, 2:]).min(axis=1)))


def shared_boxes(frame_index: Sequence[np.ndarray], box_px: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Per person (T,): the largest intersection over union of the box with another person's in the same frame."""
    largest = [np.zeros(len(index)) for index in frame_index]
    for one in range(len(frame_index)):
        for other in range(one + 1, len(frame_index)):
            _, mine, theirs = np.intersect1d(frame_index[one], frame_index[other], return_indices=True)
            iou = _box_iou(box_px[one][mine], box_px[other][theirs])
            largest[one][mine] = np.maximum(largest[one][mine], iou)
            largest[other][theirs] = np.maximum(largest[other][theirs], iou)
    return largest


def gate_reasons(quality: Quality, gates: GateSettings) -> tuple[str, ...]:
    """(T,) the first gate that rules a frame out, as a stable slug; empty where it may make samples."""
    error = quality.reprojection_error
    failing = {
        "low-score": quality.detector_score < gates.min_detector_score,
        "at-image-border": quality.border_distance_px < gates.min_border_distance_px,
        "people-overlap": quality.overlap > gates.max_overlap,
        "high-reprojection-error": ~(error <= gates.max_reprojection_error),
        "error-above-usual": ~(error <= gates.max_error_over_usual * usual_error(error)),
        "low-silhouette-iou": ~(quality.silhouette_iou >= gates.min_silhouette_iou),
    }
    reason = np.full(len(quality.detector_score), "", dtype=object)
    for name, fails in failing.items():
        reason[fails & (reason == "")] = name
    return tuple(str(name) for name in reason)


def usual_error(error: np.ndarray) -> float:
    """The median of a track's reprojection errors (T,), at least LEAST_USUAL_ERROR; NaN counts as the worst."""
    return max(LEAST_USUAL_ERROR, float(np.median(np.nan_to_num(error, nan=WORST_ERROR))))


def _box_iou(a: Floats, b: Floats) -> Floats:
    inner = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    common = np.clip(inner, 0, None).prod(axis=1)
    area = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1)
    return np.asarray(common / np.maximum(area - common, 1e-9))
