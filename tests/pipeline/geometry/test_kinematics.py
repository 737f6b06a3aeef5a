"""Compiled kinematics against products along the tree, scipy, and differences."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.kinematics import (
    SMALL_SQUARE,
    fill_rotation_slopes,
    fill_rotations,
    fill_transform_slopes,
    fill_transforms,
)

PARENTS = np.array([-1, 0, 0, 1, 3, 2, -1])
"""Two trees: a joint without a parent is a root wherever it stands."""


def turned(count: int, seed: int) -> np.ndarray:
    """(count, J, 3, 3) that are no rotations: nothing in a chain asks for it."""
    return np.random.default_rng(seed).normal(size=(count, len(PARENTS), 3, 3))


def transforms(rotations: np.ndarray, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    world, offset = np.empty_like(rotations), np.empty(rotations.shape[:-1])
    fill_transforms(rotations, joints, PARENTS, world, offset)
    return world, offset


def test_transforms_are_products_of_moves_along_the_tree() -> None:
    """A joint's own move turns about its place: x -> R (x - c) + c."""
    joints = np.random.default_rng(1).normal(size=(len(PARENTS), 3))
    rotations = turned(3, 2)
    world, offset = transforms(rotations, joints)
    for t in range(3):
        for joint in range(len(PARENTS)):
            product, at = np.eye(4), joint
            while at >= 0:
                move = np.eye(4)
                move[:3, :3] = rotations[t, at]
                move[:3, 3] = joints[at] - rotations[t, at] @ joints[at]
                product, at = move @ product, PARENTS[at]
            np.testing.assert_allclose(world[t, joint], product[:3, :3], atol=1e-12)
            np.testing.assert_allclose(offset[t, joint], product[:3, 3], atol=1e-12)


def test_slopes_of_transforms_against_differences() -> None:
    rng = np.random.default_rng(3)
    joints, rotations = rng.normal(size=(len(PARENTS), 3)), turned(2, 4)
    by_world, by_offset = rng.normal(size=rotations.shape), rng.normal(size=rotations.shape[:-1])

    def number(rotations: np.ndarray, joints: np.ndarray) -> float:
        world, offset = transforms(rotations, joints)
        return float((world * by_world).sum() + (offset * by_offset).sum())

    by_rotations, by_joints = np.empty_like(rotations), np.zeros_like(joints)
    world = transforms(rotations, joints)[0]
    used_up = by_world.copy(), by_offset.copy()
    fill_transform_slopes(rotations, joints, PARENTS, world, *used_up, by_rotations, by_joints)
    for index in np.ndindex(rotations.shape):
        assert by_rotations[index] == pytest.approx(
            slope(lambda moved: number(moved, joints), rotations, index), rel=1e-5, abs=1e-7
        )
    for index in np.ndindex(joints.shape):
        assert by_joints[index] == pytest.approx(
            slope(lambda moved: number(rotations, moved), joints, index), rel=1e-5, abs=1e-7
        )


def slope(number, at: np.ndarray, index: tuple[int, ...], step: float = 1e-6) -> float:
    """Central difference."""
    above, below = at.copy(), at.copy()
    above[index] += step
    below[index] -= step
    return (number(above) - number(below)) / (2 * step)


SIZES = [0.0, 1e-9, 1e-4, 0.999 * SMALL_SQUARE**0.5, 1.001 * SMALL_SQUARE**0.5, 0.1, 2.0, np.pi, 7.0]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 3e-7)])
def test_rotations_and_their_slopes(size: float, dtype: type, tolerance: float) -> None:
    """Against scipy, and against dR/da_i = [J e_i]x R with the left Jacobian J of SO(3) (Sola et al. 2018)."""
    rng = np.random.default_rng(5)
    axis = rng.normal(size=(4, 3))
    axis_angle = size * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    expected = Rotation.from_rotvec(axis_angle).as_matrix()
    given, found = axis_angle.astype(dtype), np.empty((4, 3, 3), dtype)
    fill_rotations(given, found)
    np.testing.assert_allclose(found, expected, atol=tolerance * max(1, size))

    by_rotation, slopes = rng.normal(size=(4, 3, 3)).astype(dtype), np.empty((4, 3), dtype)
    fill_rotation_slopes(given, by_rotation, slopes)
    for n in range(4):
        left = left_jacobian(axis_angle[n])
        for i in range(3):
            moved = np.cross(left[:, i], expected[n], axisb=0, axisc=0)
            assert slopes[n, i] == pytest.approx(
                float((by_rotation[n] * moved).sum()), abs=100 * tolerance, rel=100 * tolerance
            )


def left_jacobian(axis_angle: np.ndarray) -> np.ndarray:
    """J = integral of exp(s [a]x) over s from 0 to 1, by Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    rotations = Rotation.from_rotvec(0.5 * (nodes[:, None] + 1) * axis_angle).as_matrix()
    return np.einsum("n,nij->ij", 0.5 * weights, rotations)
