"""Rotations: algebra, edge cases, and scipy as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.pixels import fill_quaternions
from pipeline.geometry.rigid import (
    nearest_rotation,
    quaternion_from_rotation,
    rotation_angle,
    rotation_from_rotvec,
    rotvec_from_rotation,
    skew,
)

BATCHES = [(), (3,), (2, 3)]
EDGE_ANGLES = [0.0, 1e-300, 1e-12, 1e-8, 1e-4, np.pi / 2, 2 * np.pi / 3, np.pi - 1e-4, np.pi - 1e-9, np.pi]


def _rotations(count: int, seed: int = 0) -> np.ndarray:
    return Rotation.random(count, random_state=seed).as_matrix()


def _assert_rotation(matrix: np.ndarray) -> None:
    eye = np.broadcast_to(np.eye(3), matrix.shape)
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, -1, -2), eye, rtol=0, atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(matrix), np.ones(matrix.shape[:-2]), rtol=0, atol=1e-13)


@pytest.mark.parametrize("batch", BATCHES)
def test_rotvecs_make_rotations_and_come_back(batch: tuple[int, ...]) -> None:
    rotvec = np.random.default_rng(3).uniform(-1.7, 1.7, (*batch, 3))
    rotation = rotation_from_rotvec(rotvec)
    assert rotation.shape == (*batch, 3, 3)
    _assert_rotation(rotation)
    np.testing.assert_allclose(
        rotation, Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(rotation.shape), atol=1e-14
    )
    np.testing.assert_allclose(rotvec_from_rotation(rotation), rotvec, rtol=0, atol=1e-13)


@pytest.mark.parametrize("angle", EDGE_ANGLES)
def test_edge_angles_come_back(angle: float) -> None:
    axes = np.concatenate([np.eye(3), -np.eye(3), np.random.default_rng(4).normal(size=(50, 3))])
    rotvec = angle * axes / np.linalg.norm(axes, axis=1, keepdims=True)
    rotation = rotation_from_rotvec(rotvec)
    _assert_rotation(rotation)
    back = rotvec_from_rotation(rotation)
    np.testing.assert_allclose(rotation_from_rotvec(back), rotation, rtol=0, atol=1e-14)
    np.testing.assert_allclose(rotation_angle(rotation), angle, rtol=0, atol=1e-14)
    if angle < np.pi - 1e-6:
        np.testing.assert_allclose(back, rotvec, rtol=0, atol=1e-13)
    else:  # at pi either direction of the axis is right
        np.testing.assert_allclose(np.abs((back * rotvec).sum(-1)), angle**2, rtol=1e-8)


def test_angles_are_those_of_scipy() -> None:
    rotation = _rotations(1000)
    np.testing.assert_allclose(
        rotation_angle(rotation), Rotation.from_matrix(rotation).magnitude(), atol=1e-14
    )


@pytest.mark.parametrize("batch", BATCHES)
def test_quaternions_turn_vectors_like_their_matrices(batch: tuple[int, ...]) -> None:
    rotation = _rotations(max(1, int(np.prod(batch)))).reshape(*batch, 3, 3)
    quaternion = quaternion_from_rotation(rotation)
    w, xyz = quaternion[..., :1, None], quaternion[..., 1:]
    cross = skew(xyz)
    np.testing.assert_allclose(np.linalg.norm(quaternion, axis=-1), np.ones(batch), atol=1e-15)
    np.testing.assert_allclose(np.eye(3) + 2 * w * cross + 2 * cross @ cross, rotation, rtol=0, atol=1e-14)


def test_compiled_quaternions_are_the_readable_ones() -> None:
    half_turns = rotation_from_rotvec(
        np.pi * np.concatenate([np.eye(3), [[0.6, 0.8, 0.0], [0.0, -0.6, 0.8]]])
    )
    rotation = np.concatenate([_rotations(5000), half_turns, np.eye(3)[None]])
    compiled = np.empty((len(rotation), 4))
    fill_quaternions(rotation, compiled)
    readable = quaternion_from_rotation(rotation)
    readable *= np.sign((compiled * readable).sum(1, keepdims=True))
    np.testing.assert_allclose(compiled, readable, rtol=0, atol=1e-14)


def test_nearest_rotation_is_idempotent() -> None:
    rotation = _rotations(500)
    np.testing.assert_allclose(nearest_rotation(rotation), rotation, rtol=0, atol=1e-14)


@pytest.mark.parametrize("batch", BATCHES)
def test_nearest_rotation_is_in_SO3_for_any_matrix(batch: tuple[int, ...]) -> None:
    rng = np.random.default_rng(5)
    for matrix in (rng.normal(size=(*batch, 3, 3)), np.zeros((*batch, 3, 3)), np.ones((*batch, 3, 3))):
        nearest = nearest_rotation(matrix)
        assert nearest.shape == (*batch, 3, 3)
        _assert_rotation(nearest)
    _assert_rotation(nearest_rotation(-np.eye(3)))


def test_nearest_rotation_commutes_with_turns_on_either_side() -> None:
    matrix, left, right = (
        np.random.default_rng(6).normal(size=(500, 3, 3)),
        _rotations(500, 1),
        _rotations(500, 2),
    )
    gap = np.linalg.svd(matrix, compute_uv=False)
    clear = gap[:, 1] + np.sign(np.linalg.det(matrix)) * gap[:, 2] > 0.05  # otherwise nearly not unique
    turned = nearest_rotation(left @ matrix @ right)
    np.testing.assert_allclose(
        turned[clear], (left @ nearest_rotation(matrix) @ right)[clear], rtol=0, atol=1e-12
    )


def test_no_rotation_is_nearer_than_the_nearest() -> None:
    matrix = np.random.default_rng(7).normal(size=(200, 3, 3))
    own = np.linalg.norm(nearest_rotation(matrix) - matrix, axis=(1, 2))
    for seed in range(50):
        other = np.linalg.norm(_rotations(200, 100 + seed) - matrix, axis=(1, 2))
        assert (own <= other + 1e-12).all()


def test_skew_is_the_cross_product() -> None:
    a, b = np.random.default_rng(8).normal(size=(2, 2, 3, 3))
    np.testing.assert_allclose((skew(a) @ b[..., None])[..., 0], np.cross(a, b), atol=1e-15)


@pytest.mark.parametrize(
    "function", [nearest_rotation, rotation_angle, quaternion_from_rotation, rotvec_from_rotation]
)
def test_wrong_shapes_are_refused(function) -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., 3, 3\)"):
        function(np.eye(4))
