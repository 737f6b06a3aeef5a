"""The body model as torch tensors with dense products: the readable twin of `pipeline.tracking.posed_track`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.body.landmark_offsets import LandmarkOffsets
from pipeline.geometry.kinematics import fill_rotation_slopes, fill_rotations
from pipeline.tracking.articulated_body import ArticulatedBody


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
        world: list[Tensor] = []
        offset: list[Tensor] = []
        for joint, parent in enumerate(self._parents):
            turned = rotations[:, joint] if parent < 0 else world[parent] @ rotations[:, joint]
            place = joints[joint] if parent < 0 else offset[parent] + world[parent] @ joints[joint]
            world.append(turned)
            offset.append(place - turned @ joints[joint])
        return JointTransforms(torch.stack(world, 1), torch.stack(offset, 1))

    def landmarks(self, transforms: JointTransforms, betas: Tensor) -> Tensor:
        """(T, 33, 3) metres about the body's origin."""
        placed = self._landmark_template + self._landmark_shapedirs @ betas
        turned = torch.einsum("tjrc,kjc->tkr", transforms.rotation, placed)
        return turned + torch.einsum("tjr,kj->tkr", transforms.offset, self._landmark_weights)

    def surface(self, transforms: JointTransforms, betas: Tensor) -> Tensor:
        """(T, S, 3) the surface vertices, metres about the body's origin."""
        rest = self._template + self._shapedirs @ betas
        turned = torch.einsum("tjrc,vj,vc->tvr", transforms.rotation, self._weights, rest)
        return turned + torch.einsum("tjr,vj->tvr", transforms.offset, self._weights)


def rotation_from_two_columns(columns: Tensor) -> Tensor:
    """Gram-Schmidt of the first two columns (..., 6) of a rotation (Zhou et al. 2019)."""
    first = torch.nn.functional.normalize(columns[..., :3], dim=-1)
    second = columns[..., 3:] - (first * columns[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], -1)


def turned_offsets(offsets: LandmarkOffsets, rotation: Tensor) -> Tensor:
    """(T, 33, 3) offsets of landmarks by joints' rotations (T, 24, 3, 3)."""
    offset = torch.tensor(offsets.offset_m, dtype=rotation.dtype)
    return (rotation[:, torch.from_numpy(offsets.joint)] @ offset[..., None])[..., 0]


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues: R = I + sin|a| K + (1 - cos|a|) K^2 for (..., 3); smooth at zero."""
    turned: Tensor = _Rodrigues.apply(axis_angle)  # type: ignore[no-untyped-call]  # torch annotates no apply
    return turned


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
