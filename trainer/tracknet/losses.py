"""L_tn = L_para + theta_p L_J_pos + theta_r L_J_rot against true bodies (paper, section 3.1; reading: our decision)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from schemas.conventions import JOINT_COUNT, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE
from trainer.tracknet.body import TorchBody
from trainer.tracknet.config import LossSettings
from trainer.tracknet.model import Bodies
from trainer.tracknet.rotations import nearest_rotvec, rotation_from_rotvec, six_from_rotation


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackNetLosses:
    """Means over a batch, each a scalar tensor."""

    total: Tensor
    parameters: Tensor
    positions: Tensor
    rotations: Tensor

    def means(self) -> dict[str, float]:
        """As numbers."""
        names = ("total", "parameters", "positions", "rotations")
        return {name: float(getattr(self, name).detach()) for name in names}


def losses_of(found: Bodies, truth: Tensor, body: TorchBody, settings: LossSettings) -> TrackNetLosses:
    """The loss of bodies against vectors (B, 85).

    L_para: see `parameter_loss`. L_J_pos: mean squared distance of the 24 joints about the body's origin, m^2. L_J_rot:
    mean squared difference of the entries of the 24 local rotation matrices.
    """
    betas = truth[:, VECTOR_BETAS]
    true_rotations = rotation_from_rotvec(truth[:, VECTOR_POSE].unflatten(-1, (JOINT_COUNT, 3)))
    rotations = found.rotations
    parameters = parameter_loss(found, truth, true_rotations, settings)
    joints, true_joints = body.joints(rotations, found.betas), body.joints(true_rotations, betas)
    positions = (joints - true_joints).square().sum(-1).mean()
    turned = (rotations - true_rotations).square().mean()
    total = parameters + settings.theta_p * positions + settings.theta_r * turned
    return TrackNetLosses(total=total, parameters=parameters, positions=positions, rotations=turned)


def parameter_loss(found: Bodies, truth: Tensor, true_rotations: Tensor, settings: LossSettings) -> Tensor:
    """L_para, a scalar, in one of two readings of the paper.

    `network`: mean squared difference of s, tx, ty, of the pose's numbers as the network holds them (rot6d or
    axis-angles) and (times `betas`) of the shape's. `theta85` and `theta82`: mean over the batch of
    |theta - theta*|^2 / n, theta the n = 85 coefficients of the vector or the 82 behind the camera; n is part of the
    weights, which are not published. Axis-angles of the truth are the equivalent ones nearest to what was found.
    """
    camera, betas, rotvec = truth[:, VECTOR_CAMERA], truth[:, VECTOR_BETAS], truth[:, VECTOR_POSE]
    vector = found.vector if settings.parameters != "network" else None
    if vector is None and found.pose.shape[-1] != 3 * JOINT_COUNT:
        pose = six_from_rotation(true_rotations).flatten(-2)
    else:
        held = found.pose if vector is None else vector[:, VECTOR_POSE]
        each = (-1, (JOINT_COUNT, 3))
        pose = nearest_rotvec(rotvec.unflatten(*each), held.detach().unflatten(*each)).flatten(-2)
    if vector is not None:
        difference = vector - torch.cat([camera, pose, betas], dim=-1)
        return difference[:, 0 if settings.parameters == "theta85" else VECTOR_POSE.start :].square().mean()
    return (
        (found.camera - camera).square().mean()
        + (found.pose - pose).square().mean()
        + settings.betas * (found.betas - betas).square().mean()
    )


def aligned(found: Tensor, truth: Tensor) -> Tensor:
    """Points (B, N, 3) after the similarity that brings them nearest to others (Umeyama 1991): PA-MPJPE's alignment."""
    mean, true_mean = found.mean(1, keepdim=True), truth.mean(1, keepdim=True)
    a, b = found - mean, truth - true_mean
    U, S, Vt = torch.linalg.svd(a.transpose(1, 2) @ b)
    sign = torch.ones_like(S)
    sign[:, 2] = torch.sign(torch.linalg.det(U @ Vt))
    rotation = (U * sign[:, None]) @ Vt
    scale = (S * sign).sum(-1) / a.square().sum((1, 2)).clamp(min=1e-12)
    moved: Tensor = scale[:, None, None] * (a @ rotation) + true_mean
    return moved
