"""Rotations of three-space as tensors: axis-angles, matrices, and the two columns of rot6d, in batches of any shape."""

from __future__ import annotations

import torch
from torch import Tensor


def rotation_from_rotvec(rotvec: Tensor) -> Tensor:
    """(..., 3, 3) of rotation vectors (..., 3): R = I + sinc(a) [v]x + (1 - cos a)/a^2 [v]x^2, smooth at a = 0."""
    angle = (rotvec.square().sum(-1) + 1e-16).sqrt()[..., None, None]
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
    half = torch.sin(angle / 2) / (angle / 2)
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    rotation: Tensor = identity + torch.sin(angle) / angle * cross + 0.5 * half.square() * (cross @ cross)
    return rotation


def rotation_from_six(six: Tensor) -> Tensor:
    """(..., 3, 3) of rot6d (..., 6) = view(3, 2), row after row: Gram-Schmidt of the two columns (Zhou et al. 2019)."""
    first, second = six.unflatten(-1, (3, 2)).unbind(-1)
    first = torch.nn.functional.normalize(first, dim=-1)
    second = torch.nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second, dim=-1)], dim=-1)


def six_from_rotation(rotation: Tensor) -> Tensor:
    """rot6d (..., 6) of matrices (..., 3, 3): their first two columns."""
    return rotation[..., :2].flatten(-2)


def rotvec_from_rotation(rotation: Tensor) -> Tensor:
    """(..., 3) of length [0, pi], of rotation matrices (..., 3, 3).

    Through the unit quaternion of the best of four equivalent formulas (Shepperd 1978), accurate at every angle; at
    exactly pi either direction of the axis is right.
    """
    m = [[rotation[..., row, column] for column in range(3)] for row in range(3)]
    xx, yy, zz = m[0][0], m[1][1], m[2][2]
    wx, wy, wz = m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]
    xy, xz, yz = m[0][1] + m[1][0], m[0][2] + m[2][0], m[1][2] + m[2][1]
    squares = torch.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1)
    rows = torch.stack(
        [
            torch.stack([squares[..., 0], wx, wy, wz], -1),
            torch.stack([wx, squares[..., 1], xy, xz], -1),
            torch.stack([wy, xy, squares[..., 2], yz], -1),
            torch.stack([wz, xz, yz, squares[..., 3]], -1),
        ],
        -2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = torch.nn.functional.normalize(torch.gather(rows, -2, best)[..., 0, :], dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    vector = quaternion[..., 1:]
    length = vector.norm(dim=-1, keepdim=True)
    is_small = length < 1e-7
    safe = torch.where(is_small, torch.ones_like(length), length)
    angle = 2 * torch.atan2(length, quaternion[..., :1])
    return vector * torch.where(is_small, torch.full_like(length, 2.0), angle / safe)


def nearest_rotvec(rotvec: Tensor, to: Tensor) -> Tensor:
    """The vector (..., 3) of the same rotation that is nearest to another: v (1 + 2 pi k / |v|), k in {-1, 0, 1}.

    A loss on axis-angles must not see a jump of 2 pi where people turn their back.
    """
    length = rotvec.norm(dim=-1, keepdim=True)
    unit = rotvec / length.clamp(min=1e-8)
    turns = torch.tensor([0.0, -1.0, 1.0], dtype=rotvec.dtype, device=rotvec.device) * (2 * torch.pi)
    candidates = rotvec[..., None, :] + turns[:, None] * unit[..., None, :]
    best = (candidates - to[..., None, :]).square().sum(-1).argmin(-1)
    best = torch.where(length[..., 0] < 1e-6, torch.zeros_like(best), best)
    return torch.gather(candidates, -2, best[..., None, None].expand(*best.shape, 1, 3))[..., 0, :]
