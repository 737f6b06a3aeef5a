"""The body model as torch tensors: joint transforms, landmarks without vertices, a few vertices for silhouettes.

Linear blend skinning gives vertex v = sum_j W_vj (R_j v(beta) + T_j), so a landmark x_k = sum_v L_kv v is an exact
linear function of the joint transforms:

    x_k = sum_j R_j A_kj(beta) + a_kj T_j,   a_kj = sum_v L_kv W_vj,   A_kj(beta) = sum_v L_kv W_vj v(beta)

and no vertex is needed to fit landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.geometry.kinematics import (
    fill_rotation_slopes,
    fill_rotations,
    fill_transform_slopes,
    fill_transforms,
)
from pipeline.tracking.articulated_body import ArticulatedBody
from schemas.conventions import JOINT_COUNT


@dataclass(frozen=True, slots=True, eq=False)
class JointTransforms:
    """x' = rotation x + offset carries a point of the rest pose with a joint, about the untranslated body."""

    rotation: Tensor
    """(T, 24, 3, 3)."""
    offset: Tensor
    """(T, 24, 3)."""


class BodyTensors:
    """A body model in float32, and the vertices that stand for its surface."""

    def __init__(self, body: ArticulatedBody, surface_vertices: np.ndarray) -> None:
        self._joint_template = _tensor(body.joint_template)
        self._joint_shapedirs = _tensor(body.joint_shapedirs)
        self._landmark_weights = _tensor(body.landmark_joint_weights)
        self._landmark_template = _tensor(body.landmark_joint_template)
        self._landmark_shapedirs = _tensor(body.landmark_joint_shapedirs)
        self._template = _tensor(body.template[surface_vertices])
        self._shapedirs = _tensor(body.shapedirs[surface_vertices])
        self._weights = _tensor(body.weights[surface_vertices])
        self._parents = np.asarray(body.parents, np.int64)

    def transforms(self, rotations: Tensor, betas: Tensor) -> JointTransforms:
        """Forward kinematics of local rotations (T, 24, 3, 3) and one shape (10,)."""
        joints = self._joint_template + self._joint_shapedirs @ betas
        world, offset = _Chain.apply(rotations, joints, self._parents)
        return JointTransforms(world, offset)

    def landmarks(self, transforms: JointTransforms, betas: Tensor) -> Tensor:
        """(T, 33, 3) metres about the body's origin."""
        placed = self._landmark_template + self._landmark_shapedirs @ betas
        count, landmarks = len(transforms.rotation), len(placed)
        columns = transforms.rotation.permute(0, 2, 1, 3).reshape(count * 3, 3 * JOINT_COUNT)
        turned = (columns @ placed.reshape(landmarks, 3 * JOINT_COUNT).T).view(count, 3, landmarks)
        return (turned + transforms.offset.transpose(1, 2) @ self._landmark_weights.T).transpose(1, 2)

    def surface(self, transforms: JointTransforms, betas: Tensor) -> Tensor:
        """(T, S, 3) the surface vertices, metres about the body's origin."""
        rest = self._template + self._shapedirs @ betas
        count, homogeneous = len(transforms.rotation), torch.nn.functional.pad(rest, (0, 1), value=1.0)
        shares = (self._weights[:, :, None] * homogeneous[:, None]).reshape(len(rest), 4 * JOINT_COUNT)
        affine = torch.cat([transforms.rotation, transforms.offset[..., None]], -1)
        columns = affine.permute(1, 3, 0, 2).reshape(4 * JOINT_COUNT, count * 3)
        return (shares @ columns).view(len(rest), count, 3).transpose(0, 1)


class _Chain(torch.autograd.Function):
    """Forward kinematics with its compiled derivative: hundreds of small products would cost more than their sums."""

    @staticmethod
    def forward(ctx: Any, rotations: Tensor, joints: Tensor, parents: np.ndarray) -> tuple[Tensor, Tensor]:
        rotations, joints = rotations.contiguous(), joints.contiguous()
        world, offset = torch.empty_like(rotations), torch.empty_like(rotations[..., 0])
        fill_transforms(rotations.numpy(), joints.numpy(), parents, world.numpy(), offset.numpy())
        ctx.save_for_backward(rotations, joints, world)
        ctx.parents = parents
        return world, offset

    @staticmethod
    def backward(ctx: Any, by_world: Tensor, by_offset: Tensor) -> tuple[Tensor, Tensor, None]:
        rotations, joints, world = ctx.saved_tensors
        by_rotations, by_joints = torch.empty_like(rotations), torch.zeros_like(joints)
        used_up = (
            by_world.clone(memory_format=torch.contiguous_format).numpy(),
            by_offset.clone(memory_format=torch.contiguous_format).numpy(),
        )
        fill_transform_slopes(
            rotations.numpy(), joints.numpy(), ctx.parents, world.numpy(), *used_up,
            by_rotations.numpy(), by_joints.numpy(),
        )  # fmt: skip
        return by_rotations, by_joints, None


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues: R = I + sin|a| K + (1 - cos|a|) K^2 for (..., 3); smooth at zero."""
    return _Rodrigues.apply(axis_angle)


class _Rodrigues(torch.autograd.Function):
    """Rodrigues' formula with its compiled derivative."""

    @staticmethod
    def forward(ctx: Any, axis_angle: Tensor) -> Tensor:
        axis_angle = axis_angle.contiguous()
        ctx.save_for_backward(axis_angle)
        rotation = torch.empty(*axis_angle.shape, 3, dtype=axis_angle.dtype)
        fill_rotations(axis_angle.view(-1, 3).numpy(), rotation.view(-1, 3, 3).numpy())
        return rotation

    @staticmethod
    def backward(ctx: Any, *by_rotation: Tensor) -> Tensor:
        (axis_angle,) = ctx.saved_tensors
        slope, given = torch.empty_like(axis_angle), by_rotation[0].contiguous().view(-1, 3, 3)
        fill_rotation_slopes(axis_angle.view(-1, 3).numpy(), given.numpy(), slope.view(-1, 3).numpy())
        return slope


def rotation_from_two_columns(columns: Tensor) -> Tensor:
    """Gram-Schmidt of the first two columns (..., 6) of a rotation (Zhou et al. 2019)."""
    first = torch.nn.functional.normalize(columns[..., :3], dim=-1)
    second = columns[..., 3:] - (first * columns[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], -1)


def spread_vertices(body: ArticulatedBody, count: int, generator: torch.Generator) -> np.ndarray:
    """Indices of vertices drawn without replacement, each with the surface area around it as its chance.

    Head and hands hold more than half of the vertices and a tenth of the skin.
    """
    corners = body.template[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    around = np.bincount(body.faces.ravel(), np.repeat(area, 3), minlength=len(body.template))
    count = min(count, int((around > 0).sum()))
    return torch.multinomial(torch.from_numpy(around), count, generator=generator).sort().values.numpy()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)
