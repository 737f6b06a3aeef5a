"""The energy of a track's fit in torch, term by term: the readable twin of `pipeline.tracking.track_energy`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.config import TrackingSettings
from pipeline.geometry.camera import Camera
from pipeline.geometry.outline_kernel import fill_silhouette_slopes
from pipeline.tracking.depth_bias import DEPTH_BIAS_M
from pipeline.tracking.fit_energy import (
    INSIDE_SIGMA,
    LANDMARK_SIGMA,
    LARGEST_HINGE_RAD,
    NEAREST_Z_M,
    OUTSIDE_SIGMA,
    WORLD_SIGMA_M,
    Acceleration,
    EnergyWeights,
    extremity_stiffness,
    landmark_weights,
    part_shares,
)
from pipeline.tracking.fit_start import HIPS, camera_from_ray, landmark_confidence
from pipeline.tracking.knots import time_knots
from pipeline.tracking.lifter import lifter_of
from pipeline.tracking.lifter_term import LIFTED_SIGMA, LiftedTrack
from pipeline.tracking.people import Observations
from pipeline.tracking.pose_prior import FREEDOM, PRIOR_JOINTS, PosePrior, learned_prior
from pipeline.tracking.silhouette import MASK_PX, Silhouettes
from pipeline.tracking.track_energy import MIN_SIZE_SHARE, TURN_SPACING_S, Shared
from tests.support.torch_body import (
    BodyTensors,
    JointTransforms,
    rotation_from_axis_angle,
    rotation_from_two_columns,
    turned_offsets,
)

KNEES, LEFT_ELBOW, RIGHT_ELBOW = slice(3, 5), 17, 18
"""Rows of the body pose (joint - 1)."""
MAX_KNEE_RAD, MAX_ELBOW_RAD = float(LARGEST_HINGE_RAD[0]), float(LARGEST_HINGE_RAD[-1])


def rho(squares: Tensor, sigma: float) -> Tensor:
    """Geman-McClure of squared residuals."""
    return squares / (1 + squares / sigma**2)


def lifted_term(
    points: Tensor, lifted: LiftedTrack, turns: Tensor, log_scale: Tensor, weight: Tensor
) -> Tensor:
    """sum_k w_k rho(|S_k^-1 (R' x_k - e^s Q y_k)|) of hip-centred metres x, mean over frames.

    y_k are the lifter's landmarks along the ray, S_k their standard deviations, R the camera's axes from the ray's, and
    Q (turns (T, 3, 3)) turns them all together: a network that knows pictures alone knows limbs from each other better
    than how the camera is held.
    """
    own, precision, axes = (
        torch.from_numpy(each).to(points)
        for each in (lifted.points, lifted.precision, lifted.camera_from_ray)
    )
    apart = points @ axes - log_scale.exp() * (own @ turns.transpose(1, 2))
    squares = (apart * precision).square().sum(-1)
    return (weight * rho(squares, LIFTED_SIGMA)).sum(1).mean()


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


def extremity_term(body_pose: Tensor, stiffness: Tensor) -> Tensor:
    """sum_j stiffness_j theta_j^2, mean over frames."""
    return (stiffness * body_pose.square()).sum((1, 2)).mean()


def hinge_term(body_pose: Tensor) -> Tensor:
    """Squared angles beyond the range of knees (0..2.5 about +x) and elbows (0..2.6 about -y left, +y right)."""
    knees = body_pose[:, KNEES, 0]
    elbows = torch.stack([-body_pose[:, LEFT_ELBOW, 1], body_pose[:, RIGHT_ELBOW, 1]], 1)
    beyond = [-knees, -elbows, knees - MAX_KNEE_RAD, elbows - MAX_ELBOW_RAD]
    return torch.stack([torch.relu(part).square().sum(1).mean() for part in beyond]).sum()


def mean_square(acceleration: Acceleration, values: Tensor) -> Tensor:
    """Squared length of the acceleration of values (T, ...), mean over the time that tied frames span."""
    if not acceleration.tied.any():
        return values.new_zeros(())
    share = torch.as_tensor(acceleration.times[:, 3], dtype=values.dtype)
    before, at, after = torch.as_tensor(acceleration.times[:, :3], dtype=torch.float32).T[..., None]
    flat = values.reshape(len(values), -1)
    found = before * flat[:-2] + at * flat[1:-1] + after * flat[2:]
    return (share * found.square().sum(-1)).sum()


def surprise(prior: PosePrior, body_pose: Tensor) -> Tensor:
    """(T,) -2 log p of poses below the root (T, 23, 3): see `PosePrior.add_slopes`."""
    theta = body_pose[:, torch.tensor(PRIOR_JOINTS) - 1].flatten(1)
    mean, factor = _tensor(prior.means)[:, None], _tensor(prior.factors)
    squares = torch.bmm(theta - mean, factor).square().sum(-1)
    tails = 0.5 * (FREEDOM + theta.shape[1]) * torch.log1p(squares / FREEDOM)
    return -2 * torch.logsumexp(_tensor(prior.log_scales)[:, None] - tails, 0)


def scale_free(depth_m: Tensor) -> Tensor:
    """The number 1: the mean of depths (T,) by itself, with a gradient in the divisor only.

    A picture cannot tell a small person from a large one further away. Accelerations of what is multiplied by this
    are as large as before, but no smaller for smaller people: without it smoothness buys itself smaller people, and
    the more so the more frames a second there are.
    """
    mean = depth_m.mean()
    return mean.detach() / mean


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


def silhouette_tensors(silhouettes: Silhouettes) -> SilhouetteTensors:
    """What the fit reads of silhouettes."""
    return SilhouetteTensors(
        outside_px=torch.from_numpy(silhouettes.outside_px),
        cell_from_px=_tensor(silhouettes.mask_from_image * (silhouettes.outside_px.shape[-1] / MASK_PX)),
        contour_px=_tensor(silhouettes.contour_px),
        contour_weight=_tensor(silhouettes.contour_weight),
    )


class TorchEnergy:
    """`TrackEnergy` with autograd, for surface vertices and a draw of frames that are given."""

    def __init__(
        self,
        body: Any,
        seen: Observations,
        silhouettes: Silhouettes | None,
        camera: Camera,
        settings: TrackingSettings,
        weights: EnergyWeights,
        surface_vertices: np.ndarray,
    ) -> None:
        self._settings, self._weights = settings, weights
        self._body, self._offsets = BodyTensors(body, surface_vertices), body.landmark_offsets
        self._lens = _tensor(camera.lens)
        self._size_px = _tensor(np.maximum(seen.size_px, MIN_SIZE_SHARE * np.median(seen.size_px)))
        self._seen_px = _tensor(seen.xy_px)
        self._landmark_weights = _tensor(landmark_weights())
        self._confidence = _tensor(landmark_weights() * landmark_confidence(seen))
        axes = camera_from_ray(seen, camera)
        along_ray = seen.world_m - [0.0, 0.0, 1.0] * DEPTH_BIAS_M[:, None] * settings.depth_bias
        world = np.einsum("tij,tkj->tki", axes, along_ray)
        self._world_m = _tensor(world - world[:, HIPS].mean(axis=1, keepdims=True))
        self._acceleration = Acceleration(seen.pts_s) if len(seen) > 2 else None
        self._prior, self._stiffness = learned_prior(), _tensor(extremity_stiffness())
        self._silhouettes = None if silhouettes is None else silhouette_tensors(silhouettes)
        self._lifted = (
            LiftedTrack.of(seen, axes, camera, lifter_of(settings.lifter)) if settings.lifter else None
        )
        self._turn_weights = torch.from_numpy(time_knots(seen.pts_s, TURN_SPACING_S))

    def value_and_slopes(
        self, values: np.ndarray, shared: Shared, drawn: np.ndarray, *, is_fine: bool
    ) -> tuple[float, np.ndarray, Shared]:
        """As `TrackEnergy.value_and_slopes`."""
        names = ("betas", "log_scale", "lifted_scale", "turns", "world_turns")
        leaves = [
            torch.tensor(each, requires_grad=True)
            for each in (values, *(getattr(shared, name) for name in names))
        ]
        total = self._energy(*leaves, torch.from_numpy(drawn), is_fine=is_fine)
        slopes = torch.autograd.grad(total, leaves, allow_unused=True)
        filled = [torch.zeros_like(leaf) if slope is None else slope for leaf, slope in zip(leaves, slopes)]
        by_values, *others = (each.numpy() for each in filled)
        return float(total.detach()), by_values, Shared(**dict(zip(names, others)))

    def _energy(
        self, values: Tensor, betas: Tensor, log_scale: Tensor, lifted_scale: Tensor, turns: Tensor,
        world_turns: Tensor, drawn: Tensor, *, is_fine: bool,
    ) -> Tensor:  # fmt: skip
        weights = self._weights
        pose, translation = values[:, 6:75].reshape(len(values), -1, 3), values[:, 75:]
        root = rotation_from_two_columns(values[:, :6])
        transforms = self._body.transforms(
            torch.cat([root[:, None], rotation_from_axis_angle(pose)], 1), betas
        )
        points = self._body.landmarks(transforms, betas)
        placed = points + translation[:, None]
        uv = project(placed, self._lens)

        total = weights.landmarks * landmark_term(
            uv, self._seen_px, self._size_px, self._confidence, LANDMARK_SIGMA[is_fine]
        )
        world_weight = weights.world_fine if is_fine else weights.world_coarse
        for share, each in zip(_tensor(part_shares()), world_turns, strict=True):
            turned = rotation_from_axis_angle(self._turn_weights @ each)
            scaled = torch.exp(log_scale) * (self._world_m @ turned.transpose(1, 2))
            total = total + world_weight * world_term(hip_centred(points), scaled, share * self._confidence)
            total = total + weights.world_turn * each.square().sum(1).mean()
        total = total + self._lifter_energy(
            self._named(points, transforms.rotation), turns, lifted_scale, is_fine=is_fine
        )
        total = total + weights.pose_prior * surprise(self._prior, pose).mean()
        total = total + weights.extremities * extremity_term(pose, self._stiffness)
        total = total + weights.hinge * hinge_term(pose)
        total = total + weights.shape * betas.square().sum() + weights.world_scale * log_scale.square().sum()
        if self._acceleration is not None:
            acceleration, one = self._acceleration, scale_free(translation[:, 2])
            smooth = (
                (placed * (one * math.sqrt(weights.landmark_acceleration))).flatten(1),
                pose.flatten(1) * math.sqrt(weights.pose_acceleration),
                translation[:, 2:] * (one * math.sqrt(weights.depth_acceleration)),
            )
            total = total + mean_square(acceleration, torch.cat(smooth, 1))
        if is_fine and self._silhouettes is not None and self._settings.silhouette_weight > 0:
            placed_joints = transforms.offset + translation[:, None]
            some = JointTransforms(transforms.rotation[drawn], placed_joints[drawn])
            weight = weights.silhouette * self._settings.silhouette_weight
            total = total + weight * silhouette_term(
                self._body.surface(some, betas), drawn, self._silhouettes, self._size_px[drawn], self._lens
            )
        return total

    def _named(self, points: Tensor, rotation: Tensor) -> Tensor:
        return points if self._offsets is None else points - turned_offsets(self._offsets, rotation)

    def _lifter_energy(self, points: Tensor, turns: Tensor, scale: Tensor, *, is_fine: bool) -> Tensor:
        if self._lifted is None:
            return points.new_zeros(())
        weights = self._weights
        turned = rotation_from_axis_angle(self._turn_weights @ turns)
        weight = self._settings.lifter_weight * (weights.lifter_fine if is_fine else weights.lifter_coarse)
        distance = lifted_term(hip_centred(points), self._lifted, turned, scale, self._landmark_weights)
        loose = weights.lifter_turn * turns.square().sum(1).mean()
        return weight * distance + loose + weights.world_scale * scale.square().sum()


def hip_centred(points: Tensor) -> Tensor:
    """Landmarks (T, 33, 3) about the hips."""
    return points - points[:, HIPS].mean(1, keepdim=True)


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)
