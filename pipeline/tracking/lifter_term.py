"""The lifter's landmarks as a term of the fit's energy, with its derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.array_types import Singles
from pipeline.geometry.camera import Camera
from pipeline.geometry.kinematics import fill_rotation_slopes, fill_rotations
from pipeline.tracking.fit_start import HIPS
from pipeline.tracking.lifter import Lifter, lifted
from pipeline.tracking.people import Observations

LIFTED_SIGMA = 3.0
"""Scale of rho, in the lifter's own standard deviations."""
LEAST_SIGMA_M = 0.02


@dataclass(frozen=True, slots=True, eq=False)
class LiftedTrack:
    """`Lifted` of T frames as the fit reads it; float32."""

    points: Singles
    """(T, 33, 3) metres, in axes of the viewing ray."""
    precision: Singles
    """(T, 33, 3) one over standard deviations."""
    camera_from_ray: Singles
    """(T, 3, 3)."""

    @classmethod
    def of(cls, seen: Observations, axes: np.ndarray, camera: Camera, network: Lifter) -> LiftedTrack:
        """What a network says of a track; axes (T, 3, 3) are the camera's from the ray's."""
        found = lifted(seen, camera, network)
        sigma_m = np.maximum(found.sigma_m, LEAST_SIGMA_M)[..., [0, 0, 1]]
        return cls(*(np.asarray(each, np.float32) for each in (found.points_m, 1 / sigma_m, axes)))

    def in_camera_axes(self) -> Singles:
        """(T, 33, 3) metres about the hips."""
        return np.asarray(self.points @ self.camera_from_ray.swapaxes(1, 2))


@dataclass(frozen=True, slots=True, eq=False)
class LiftedSlopes:
    """Derivatives of the term; float32."""

    by_points: Singles
    """(T, 33, 3)."""
    by_turns: Singles
    """(K, 3)."""
    by_scale: Singles
    """(1,)."""


def lifted_slopes(
    points: Singles,
    lifted: LiftedTrack,
    turns: Singles,
    turn_weights: Singles,
    log_scale: Singles,
    weight: Singles,
) -> tuple[float, LiftedSlopes]:
    """sum_k w_k rho(|S_k^-1 (R' x_k - e^s Q y_k)|), mean over T frames, and its derivatives.

    x are `points` (T, 33, 3) about their hips, y_k the lifter's landmarks along the ray, S_k their standard deviations,
    R the camera's axes from the ray's, w (33,) and rho Geman-McClure's. Q turns them all together: a network that knows
    pictures alone knows limbs from each other better than how the camera is held. Its axis-angles are `turns` (K, 3) at
    knots in time, turn_weights (T, K) between them.
    """
    angles = turn_weights @ turns
    rotations = np.empty((*angles.shape, 3), np.float32)
    fill_rotations(angles, rotations)
    centred = points - points[:, HIPS].mean(axis=1, keepdims=True)
    turned = np.exp(log_scale) * (lifted.points @ rotations.swapaxes(1, 2))
    apart = (centred @ lifted.camera_from_ray - turned) * lifted.precision
    squares = np.square(apart).sum(axis=-1)
    softened = 1 + squares / np.float32(LIFTED_SIGMA**2)
    value = float((weight * squares / softened).sum(axis=1).mean())

    by_apart = (2 / len(points) * weight / softened**2)[..., None] * apart * lifted.precision
    by_points = by_apart @ lifted.camera_from_ray.swapaxes(1, 2)
    by_points[:, HIPS] -= by_points.sum(axis=1, keepdims=True) / len(HIPS)
    by_rotations = -np.exp(log_scale) * (by_apart.swapaxes(1, 2) @ lifted.points)
    by_angles = np.empty_like(angles)
    fill_rotation_slopes(angles, np.ascontiguousarray(by_rotations), by_angles)
    by_scale = np.array([-(by_apart * turned).sum()], np.float32)
    return value, LiftedSlopes(by_points, turn_weights.T @ by_angles, by_scale)
