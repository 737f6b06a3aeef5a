"""What the fit of a track minimises, one function per term.

rho(r; s) = r^2 / (1 + r^2 / s^2) is Geman-McClure's robust square, h the person's size in pixels. Every term is a mean
over frames, and accelerations are per squared 1/30 s of presentation time, so that the weights mean the same at every
frame rate and track length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.geometry.outline_kernel import fill_silhouette_slopes
from schemas.conventions import JOINT_COUNT, LANDMARK_COUNT

UNIT_TIME_S = 1 / 30
"""The time in which accelerations are counted."""
MAX_GAP_S = 0.2
"""Frames further apart than this are not tied by smoothness."""
NEAREST_Z_M = 0.1


@dataclass(frozen=True, kw_only=True)
class EnergyWeights:
    """Weights of the terms (measured: shared recipe of the landmark tracker)."""

    landmarks: float = 2000.0
    """2-D distance of landmarks, in person sizes."""
    world_coarse: float = 40.0
    """3-D distance to the network's world landmarks in metres, while the fit finds the pose ..."""
    world_fine: float = 5.0
    """... and while it refines: those landmarks err by 100 mm themselves. With 20 a person's ankles are 10 to 20 mm
    further off in depth."""
    lifter_coarse: float = 1.0
    """Distance to the lifter's landmarks, in their standard deviations, while the fit finds the pose ..."""
    lifter_fine: float = 0.15
    """... and while it refines; both times the setting `tracking.lifter_weight`."""
    lifter_turn: float = 5.0
    """Turns of all of the lifter's landmarks of a second together, radians."""
    pose_prior: float = 0.1
    """Of `PosePrior.surprise`. With .1 a few mm worse on motion capture and on real film, with .5 as good but the
    picture is fitted worse."""
    extremities: float = 1.0
    """Turns of toes and hands, which the prior does not know, away from the T-pose."""
    hinge: float = 10.0
    """Knees and elbows bent the wrong way or too far, radians."""
    shape: float = 0.02
    world_scale: float = 100.0
    """Log scale of the world landmarks: nothing else says how large somebody is. With 5 bodies
    fitted at 60 and at 24 frames a second were a fifth further apart, and joints no more exact."""
    landmark_acceleration: float = 100.0
    pose_acceleration: float = 3.0
    depth_acceleration: float = 2000.0
    silhouette: float = 20000.0
    """Times the setting `tracking.silhouette_weight`."""


LANDMARK_SIGMA = (0.2, 0.05)
"""Scale of rho for 2-D landmarks in person sizes: coarse, fine."""
WORLD_SIGMA_M = 0.3
LIFTED_SIGMA = 3.0
"""Scale of rho for the lifter's landmarks, in their own standard deviations."""
LEAST_LIFTED_SIGMA_M = 0.02
OUTSIDE_SIGMA = 0.03
INSIDE_SIGMA = 0.04

KNEES, LEFT_ELBOW, RIGHT_ELBOW = slice(3, 5), 17, 18
"""Rows of the body pose (joint - 1)."""
MAX_KNEE_RAD, MAX_ELBOW_RAD = 2.5, 2.6
TOES, HANDS = (10, 11), (22, 23)


def landmark_weights() -> np.ndarray:
    """(33,) how much each landmark counts: limbs full, face little, fingers some (its regressors are less exact)."""
    weight = np.ones(LANDMARK_COUNT)
    weight[1:7], weight[9:11], weight[[0, 7, 8]] = 0.15, 0.2, 0.5
    weight[17:23], weight[29:33], weight[[11, 12, 23, 24]] = 0.35, 0.7, 1.2
    return weight


def extremity_stiffness() -> np.ndarray:
    """(23, 3) stiffness of each axis of each joint below the root: toes and hands only."""
    weight = np.zeros((JOINT_COUNT - 1, 3))
    weight[[joint - 1 for joint in TOES]] = (1.0, 4.0, 4.0)
    weight[[joint - 1 for joint in HANDS]] = 4.0
    return weight


def rho(squares: Tensor, sigma: float) -> Tensor:
    """Geman-McClure of squared residuals."""
    return squares / (1 + squares / sigma**2)


def project(points: Tensor, lens: Tensor) -> Tensor:
    """Pixels (..., 2) of camera points (..., 3) by lens [f_x, f_y, c_x, c_y]."""
    return points[..., :2] / points[..., 2:].clamp(min=NEAREST_Z_M) * lens[:2] + lens[2:]


def landmark_term(uv: Tensor, seen_px: Tensor, size_px: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """sum_k w_k rho(|u_k - seen_k| / h), mean over frames."""
    squares = ((uv - seen_px) / size_px[:, None, None]).square().sum(-1)
    return (weight * rho(squares, sigma)).sum(1).mean()


def world_term(points: Tensor, seen_m: Tensor, weight: Tensor) -> Tensor:
    """sum_k w_k rho(|x_k - seen_k|) of hip-centred metres, mean over frames."""
    return (weight * rho((points - seen_m).square().sum(-1), WORLD_SIGMA_M)).sum(1).mean()


def lifted_term(
    points: Tensor, lifted: LiftedTensors, turns: Tensor, log_scale: Tensor, weight: Tensor
) -> Tensor:
    """sum_k w_k rho(|S_k^-1 (R' x_k - e^s Q y_k)|) of hip-centred metres x, mean over frames.

    y_k are the lifter's landmarks along the ray, S_k their standard deviations, R the camera's axes from the ray's, and
    Q (turns (T, 3, 3)) turns them all together: a network that knows pictures alone knows limbs from each other better
    than how the camera is held.
    """
    apart = points @ lifted.camera_from_ray - torch.exp(log_scale) * (lifted.points @ turns.transpose(1, 2))
    squares = (apart * lifted.precision).square().sum(-1)
    return (weight * rho(squares, LIFTED_SIGMA)).sum(1).mean()


def extremity_term(body_pose: Tensor, stiffness: Tensor) -> Tensor:
    """sum_j stiffness_j theta_j^2, mean over frames."""
    return (stiffness * body_pose.square()).sum((1, 2)).mean()


def hinge_term(body_pose: Tensor) -> Tensor:
    """Squared angles beyond the range of knees (0..2.5 about +x) and elbows (0..2.6 about -y left, +y right)."""
    knees = body_pose[:, KNEES, 0]
    elbows = torch.stack([-body_pose[:, LEFT_ELBOW, 1], body_pose[:, RIGHT_ELBOW, 1]], 1)
    beyond = [-knees, -elbows, knees - MAX_KNEE_RAD, elbows - MAX_ELBOW_RAD]
    return torch.stack([torch.relu(part).square().sum(1).mean() for part in beyond]).sum()


class Acceleration:
    """Second differences in presentation time, per squared 1/30 s.

        a_i = 2 ((x_{i+1} - x_i) / d_i - (x_i - x_{i-1}) / d_{i-1}) / (d_{i-1} + d_i),   d in units of 1/30 s

    Triples that span a gap count nothing.
    """

    def __init__(self, pts_s: np.ndarray) -> None:
        steps = np.diff(pts_s) / UNIT_TIME_S
        before, after = steps[:-1], steps[1:]
        self.tied = np.maximum(before, after) * UNIT_TIME_S <= MAX_GAP_S
        share = np.where(self.tied, (before + after) / 2, 0.0)
        self._before, self._at, self._after = (
            _column(2 / (before * (before + after))),
            _column(-2 / (before * after)),
            _column(2 / (after * (before + after))),
        )
        self._share = _column(share / max(share.sum(), 1e-12))[:, 0]

    def of(self, values: Tensor) -> Tensor:
        """(T-2, N) accelerations of values (T, ...)."""
        flat = values.reshape(len(values), -1)
        return self._before * flat[:-2] + self._at * flat[1:-1] + self._after * flat[2:]

    def mean_square(self, values: Tensor) -> Tensor:
        """Squared length of the acceleration of values (T, ...), mean over the time that tied frames span."""
        if not self.tied.any():
            return values.new_zeros(())
        return (self._share * self.of(values).square().sum(-1)).sum()


@dataclass(frozen=True, slots=True, eq=False)
class LiftedTensors:
    """`Lifted` of T frames for `lifted_term`."""

    points: Tensor
    """(T, 33, 3)."""
    precision: Tensor
    """(T, 33, 3) one over standard deviations."""
    camera_from_ray: Tensor
    """(T, 3, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class SilhouetteTensors:
    """`Silhouettes` of T frames for `silhouette_term`."""

    outside_px: Tensor
    """(T, M, M) distances to the mask."""
    cell_from_px: Tensor
    """(T, 2, 3)."""
    contour_px: Tensor
    """(T, C, 2)."""
    contour_weight: Tensor
    """(T, C)."""


def silhouette_term(
    surface: Tensor, frames: Tensor, silhouettes: SilhouetteTensors, size_px: Tensor, lens: Tensor
) -> Tensor:
    """Surface points (N, S, 3) outside of the mask, and points of the outline far from every surface point.

        mean_s rho(d_s / h; .03) + mean_c rho(min_s |c - u_s| / h; .04)

    of N frames (N,) with sizes size_px (N,); d_s is the distance to the mask. lens: [f_x, f_y, c_x, c_y].
    """
    return _SilhouetteTerm.apply(surface, frames, silhouettes, size_px, lens)


class _SilhouetteTerm(torch.autograd.Function):
    """The compiled sum with its derivative: half of a step would go into copies of maps and tables of distances."""

    @staticmethod
    def forward(
        ctx: Any, surface: Tensor, frames: Tensor, given: SilhouetteTensors, size_px: Tensor, lens: Tensor
    ) -> Tensor:
        slope = torch.empty_like(surface, memory_format=torch.contiguous_format)
        maps = (given.outside_px, given.cell_from_px, given.contour_px, given.contour_weight)
        outside, cell_from_px, contour, weight = (each.numpy() for each in maps)
        value = fill_silhouette_slopes(
            surface.detach().numpy(),
            lens.numpy(),
            NEAREST_Z_M,
            frames.numpy(),
            size_px.numpy(),
            outside,
            cell_from_px,
            contour,
            weight,
            (OUTSIDE_SIGMA, INSIDE_SIGMA),
            slope.numpy(),
        )
        ctx.save_for_backward(slope)
        return surface.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, *by_value: Tensor) -> tuple[Tensor, None, None, None, None]:
        return by_value[0] * ctx.saved_tensors[0], None, None, None, None


def _column(values: np.ndarray) -> Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]
