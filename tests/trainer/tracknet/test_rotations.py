"""Rotation numerics: round trips at every angle, identity and pi included, and gradients where training goes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from trainer.tracknet.rotations import (
    nearest_rotvec,
    rotation_from_rotvec,
    rotation_from_six,
    rotvec_from_rotation,
    six_from_rotation,
)


def rotvecs(length: float, count: int = 50) -> torch.Tensor:
    axis = np.random.default_rng(0).standard_normal((count, 3))
    axis = np.concatenate([axis, np.eye(3), -np.eye(3)])
    return torch.from_numpy(length * axis / np.linalg.norm(axis, axis=1, keepdims=True))


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-4, 1.0, np.pi - 1e-6, np.pi])
def test_every_form_gives_the_same_rotation(length: float) -> None:
    rotvec = rotvecs(length)
    expected = torch.from_numpy(Rotation.from_rotvec(rotvec.numpy()).as_matrix())
    rotation = rotation_from_rotvec(rotvec)
    torch.testing.assert_close(rotation, expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(rotation_from_six(six_from_rotation(rotation)), expected, atol=1e-6, rtol=0)
    back = rotvec_from_rotation(expected)
    assert back.norm(dim=-1).max() <= np.pi + 1e-9
    torch.testing.assert_close(rotation_from_rotvec(back), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(rotation_from_rotvec(back.float()), expected.float(), atol=1e-6, rtol=0)


def test_six_numbers_need_not_be_orthonormal() -> None:
    six = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rotation = rotation_from_six(six)
    eye = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), eye)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64))
    first = six[:, 0::2]  # rows of (3, 2): the first column is every other number
    torch.testing.assert_close(rotation[:, :, 0], first / first.norm(dim=1, keepdim=True))


@pytest.mark.parametrize("length", [0.0, 0.3, 3.0])
def test_gradients_are_right_and_finite(length: float) -> None:
    rotvec = rotvecs(length, 3).requires_grad_()
    if length:
        assert torch.autograd.gradcheck(rotation_from_rotvec, rotvec)
    rotation_from_rotvec(rotvec).square().sum().backward()
    assert rotvec.grad is not None
    assert torch.isfinite(rotvec.grad).all()
    six = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(rotation_from_six, six)


def test_the_nearest_vector_of_the_same_rotation() -> None:
    rotvec = rotvecs(3.0)
    beyond = rotvec * (3.4 / 3.0)  # the same axis, past pi
    short = rotvec_from_rotation(rotation_from_rotvec(beyond))
    torch.testing.assert_close(nearest_rotvec(short, beyond), beyond, atol=1e-6, rtol=0)
    torch.testing.assert_close(nearest_rotvec(rotvec, rotvec), rotvec)
    zero = torch.zeros(1, 3, dtype=torch.float64)
    torch.testing.assert_close(nearest_rotvec(zero, zero + 5), zero)
