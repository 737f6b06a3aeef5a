"""Rotations for torch, and the vertices that stand for a body's surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.body.landmark_offsets import LandmarkOffsets
from pipeline.geometry.kinematics import fill_rotation_slopes, fill_rotations
from pipeline.tracking.articulated_body import ArticulatedBody


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


def turned_offsets(offsets: LandmarkOffsets, rotation: Tensor) -> Tensor:
    """(T, 33, 3) offsets of landmarks by joints' rotations (T, 24, 3, 3)."""
    offset = torch.tensor(offsets.offset_m, dtype=rotation.dtype)
    return (rotation[:, torch.from_numpy(offsets.joint)] @ offset[..., None])[..., 0]


def spread_vertices(body: ArticulatedBody, count: int, generator: torch.Generator) -> np.ndarray:
    """Indices of vertices drawn without replacement, each with the surface area around it as its chance.

    Head and hands hold more than half of the vertices and a tenth of the skin.
    """
    corners = body.template[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    around = np.bincount(body.faces.ravel(), np.repeat(area, 3), minlength=len(body.template))
    count = min(count, int((around > 0).sum()))
    return torch.multinomial(torch.from_numpy(around), count, generator=generator).sort().values.numpy()
