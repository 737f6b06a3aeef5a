"""Where the fit of a track starts: orientation from the torso, limbs along the landmarks, depth from the size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.geometry.array_types import Floats
from pipeline.geometry.camera import Camera
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.limb_start import limbs_along
from pipeline.tracking.people import Observations
from schemas.conventions import BETA_COUNT, JOINT_COUNT

TORSO = [11, 12, 23, 24]
HIPS = [23, 24]
DEPTH_WINDOW_S = 0.25
"""Standard deviation of the smoothing of the first depth estimate."""
MIN_VISIBILITY = 0.1
"""Weight of what is hidden: landmarks of visibility below .1 err by 60 thousandths of the person's size (root mean
square), of above .9 by 26."""

REST_KNEE_RAD = 0.15
REST_SHOULDER_RAD = 1.1
"""Arms hang 63 degrees below the T-pose."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Start:
    """First values of the fit, camera coordinates."""

    rotation: np.ndarray
    """(T, 3, 3) of the root."""
    body_pose: np.ndarray
    """(T, 23, 3) axis-angles."""
    translation: np.ndarray
    """(T, 3) metres."""


def landmark_confidence(seen: Observations) -> Floats:
    """(T, 33): (visibility presence)^2, never below MIN_VISIBILITY."""
    return np.asarray(np.clip(seen.visibility * seen.presence, 0, 1) ** 2 + MIN_VISIBILITY)


def camera_from_ray(seen: Observations, camera: Camera) -> np.ndarray:
    """(T, 3, 3) the smallest rotations with R e_z = ray: from axes along each frame's viewing ray to the camera's.

    The network sees an upright crop as if from straight ahead, so its world landmarks belong to the ray through the
    hips. At a medium focal length a person at the border of a wide image is turned by up to 27 degrees.
    """
    hips = seen.xy_px[:, HIPS].mean(axis=1)
    return rotation_to_ray(camera.cam_from_px(hips, np.ones(len(hips))))


def rotation_to_ray(ray: np.ndarray) -> np.ndarray:
    """(..., 3, 3) the smallest rotations with R e_z along rays (..., 3) that point forward."""
    x, y, z = np.moveaxis(ray / np.linalg.norm(ray, axis=-1, keepdims=True), -1, 0)
    k = 1.0 / (1.0 + z)
    rows = [[1 - k * x * x, -k * x * y, x], [-k * x * y, 1 - k * y * y, y], [-x, -y, z]]
    return np.moveaxis(np.array(rows), [0, 1], [-2, -1])


def start_of(
    body: ArticulatedBody,
    seen: Observations,
    world_m: np.ndarray,
    camera: Camera,
    limbs: Literal["landmarks", "rest"] = "landmarks",
) -> Start:
    """A start from landmarks: world_m (T, 33, 3) in camera axes. With limbs `rest` arms hang and legs are straight."""
    count = len(seen)
    body_pose = np.zeros((count, JOINT_COUNT - 1, 3))
    body_pose[:, 3:5, 0] = REST_KNEE_RAD
    body_pose[:, 15, 2], body_pose[:, 16, 2] = -REST_SHOULDER_RAD, REST_SHOULDER_RAD
    rest = body.landmarks(np.zeros((JOINT_COUNT, 3)), np.zeros(BETA_COUNT), np.zeros(3))
    rotation = _rotations(rest[TORSO] - rest[TORSO].mean(axis=0), world_m[:, TORSO])
    if limbs == "landmarks":
        body_pose = limbs_along(body, rotation, body_pose, world_m)
    weight = landmark_confidence(seen)
    depth = camera.K[0, 0] * _spread(world_m[..., :2], weight) / np.maximum(_spread(seen.xy_px, weight), 1e-6)
    depth = _smoothed(depth, seen.pts_s)
    hips = camera.cam_from_px(seen.xy_px[:, HIPS].mean(axis=1), depth)
    offset = np.einsum("tij,j->ti", rotation, rest[HIPS].mean(axis=0))
    return Start(rotation=rotation, body_pose=body_pose, translation=hips - offset)


def _rotations(rest: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(T, 3, 3) in SO(3): argmin sum |R rest_k - seen_k|^2 of centred points (K, 3), (T, K, 3) (Kabsch)."""
    covariance = np.einsum("ki,tkj->tij", rest, seen - seen.mean(axis=1, keepdims=True))
    left, _, right = np.linalg.svd(covariance)
    sign = np.linalg.det(left @ right)
    right[:, 2] *= sign[:, None]
    return np.swapaxes(left @ right, 1, 2)


def _spread(points: Floats, weight: Floats) -> Floats:
    """(T,) weighted root mean square distance of points (T, K, 2) to their weighted mean."""
    total = weight.sum(axis=1)
    mean = (points * weight[..., None]).sum(axis=1) / total[:, None]
    squares = ((points - mean[:, None]) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt((squares * weight).sum(axis=1) / total))


def _smoothed(values: Floats, pts_s: Floats) -> Floats:
    """Gaussian mean over presentation time."""
    kernel = np.exp(-0.5 * ((pts_s[:, None] - pts_s[None]) / DEPTH_WINDOW_S) ** 2)
    return np.asarray(kernel @ values / kernel.sum(axis=1))
