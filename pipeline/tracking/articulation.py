"""Rotations for torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pipeline.geometry.kinematics import fill_rotation_slopes, fill_rotations


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


@contextmanager
def one_thread() -> Iterator[None]:
    """More threads are four times slower on tensors as small as a fit's, and reorder sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
