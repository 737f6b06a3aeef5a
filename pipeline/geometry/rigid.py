"""Rotations of three-space, in batches of any shape."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Floats, Reals


def rotation_from_rotvec(rotvec: Reals) -> Floats:
    """Rotation matrices (..., 3, 3) of rotation vectors (..., 3) in radians.

    Rodrigues: R = I + sin(a)/a [v]x + (1 - cos a)/a^2 [v]x^2 with a = |v|; both quotients are written with sinc,
    so that a = 0 is exact and has no special case.
    """
    rotvec = np.asarray(rotvec, dtype=np.float64)
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    cross = skew(rotvec)
    sine = np.sinc(angle / np.pi)
    cosine = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    rotation: Floats = np.eye(3) + sine * cross + cosine * (cross @ cross)
    return rotation


def rotvec_from_rotation(rotation: Reals) -> Floats:
    """Rotation vectors (..., 3) in radians, of length [0, pi], of rotation matrices (..., 3, 3).

    Through the unit quaternion, which is accurate at every angle; at exactly pi either axis direction is right.
    """
    quaternion = quaternion_from_rotation(rotation)
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    vector = quaternion[..., 1:]
    length = np.linalg.norm(vector, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(length, quaternion[..., :1])
    small = length < 1e-12
    return vector * np.where(small, 2.0, angle / np.where(small, 1.0, length))


def quaternion_from_rotation(rotation: Reals) -> Floats:
    """Unit quaternions (..., 4) = (w, x, y, z) of rotation matrices (..., 3, 3); the sign is arbitrary.

    Of the four equivalent formulas (Shepperd 1978) each matrix takes the one with the largest divisor.
    """
    R = np.asarray(rotation, dtype=np.float64)
    _require_trailing(R, "rotation")
    xx, yy, zz = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    wx, wy, wz = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    xy, xz, yz = R[..., 0, 1] + R[..., 1, 0], R[..., 0, 2] + R[..., 2, 0], R[..., 1, 2] + R[..., 2, 1]
    squares = np.stack([1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], axis=-1)
    rows = np.stack(
        [
            np.stack([squares[..., 0], wx, wy, wz], axis=-1),
            np.stack([wx, squares[..., 1], xy, xz], axis=-1),
            np.stack([wy, xy, squares[..., 2], yz], axis=-1),
            np.stack([wz, xz, yz, squares[..., 3]], axis=-1),
        ],
        axis=-2,
    )
    best = squares.argmax(axis=-1)[..., None, None]
    row = np.take_along_axis(rows, best, axis=-2)[..., 0, :]
    quaternion: Floats = row / np.linalg.norm(row, axis=-1, keepdims=True)
    return quaternion


def nearest_rotation(matrix: Reals) -> Floats:
    """The rotations (..., 3, 3) nearest to matrices (..., 3, 3): argmin |R - M|_F over SO(3).

    With M = U S V^T it is U diag(1, 1, det(U V^T)) V^T (Umeyama 1991). The sign matters: without it 0.1-1.3 % of the
    patches of a moving human mesh give reflections. Where the two smallest singular values are equal and the
    determinant negative, or the rank is below two, several rotations are equally near; one of them comes back.
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    _require_trailing(matrix, "matrix")
    U, _, Vt = np.linalg.svd(matrix)
    U[..., 2] *= np.sign(np.linalg.det(U @ Vt))[..., None]
    rotation: Floats = U @ Vt
    return rotation


def rotation_angle(rotation: Reals) -> Floats:
    """Angles (...,) in radians, [0, pi], of rotation matrices (..., 3, 3); accurate at every angle."""
    quaternion = quaternion_from_rotation(rotation)
    angle: Floats = 2 * np.arctan2(np.linalg.norm(quaternion[..., 1:], axis=-1), np.abs(quaternion[..., 0]))
    return angle


def skew(vector: Reals) -> Floats:
    """Matrices (..., 3, 3) with skew(v) x = v x x, of vectors (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(vector, dtype=np.float64), -1, 0)
    zero = np.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return np.stack(rows, axis=-1).reshape(*x.shape, 3, 3)


def _require_trailing(matrix: Reals, name: str) -> None:
    if matrix.shape[-2:] != (3, 3):
        raise ValueError(f"{name} must have shape (..., 3, 3), got {matrix.shape}")
