"""Compiled forward kinematics and its derivative: what a fit does hundreds of times for every frame.

A joint's transform carries a point of the rest pose: x' = W_j x + o_j. With p the parent and c_j the joint's place,

    W_j = W_p R_j,   o_j = o_p + (W_p - W_j) c_j

and W = I, o = 0 above the root. Parents come before their children. Any floating type; tests compare with products
along the tree and with differences.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Reals
from pipeline.geometry.compiling import inlined, kernel

SMALL_SQUARE = 1e-6
"""Squared angle below which the coefficients of Rodrigues' formula come from their series."""


@inlined
def rodrigues(square: float) -> tuple[float, float, float, float]:
    """A = sin(a)/a and B = (1 - cos(a))/a^2 of a squared angle, and A'/a, B'/a."""
    if square < SMALL_SQUARE:
        return 1 - square / 6, 0.5 - square / 24, square / 30 - 1 / 3, square / 180 - 1 / 12
    square = np.float64(square)  # both derivatives are differences of nearly equal numbers
    angle = math.sqrt(square)
    first, second = math.sin(angle) / angle, (1 - math.cos(angle)) / square
    return first, second, (math.cos(angle) - first) / square, (first - 2 * second) / square


@kernel
def fill_rotations(axis_angle: Reals, rotation: Reals) -> None:
    """rotation (N, 3, 3) = I + A [a]x + B [a]x^2 of axis_angle (N, 3), with A and B of `rodrigues`."""
    for n in range(axis_angle.shape[0]):
        x, y, z = axis_angle[n, 0], axis_angle[n, 1], axis_angle[n, 2]
        first, second, _, _ = rodrigues(x * x + y * y + z * z)
        rotation[n, 0, 0] = 1 - second * (y * y + z * z)
        rotation[n, 1, 1] = 1 - second * (x * x + z * z)
        rotation[n, 2, 2] = 1 - second * (x * x + y * y)
        rotation[n, 0, 1], rotation[n, 1, 0] = second * x * y - first * z, second * x * y + first * z
        rotation[n, 0, 2], rotation[n, 2, 0] = second * x * z + first * y, second * x * z - first * y
        rotation[n, 1, 2], rotation[n, 2, 1] = second * y * z - first * x, second * y * z + first * x


@kernel
def fill_rotation_slopes(axis_angle: Reals, by_rotation: Reals, by_axis_angle: Reals) -> None:
    """Derivative by axis_angle (N, 3) of a number whose derivative by the rotations is G = by_rotation (N, 3, 3).

    With g_i = <G, [e_i]x> and q = <G, [a]x^2> = a.Ga - a.a tr G it is
    A g + B ((G + G^T) a - 2 tr(G) a) + (A'/a g.a + B'/a q) a; exact and finite at a = 0.
    """
    for n in range(axis_angle.shape[0]):
        G, a = by_rotation[n], axis_angle[n]
        square = a[0] * a[0] + a[1] * a[1] + a[2] * a[2]
        first, second, by_first, by_second = rodrigues(square)
        trace = G[0, 0] + G[1, 1] + G[2, 2]
        turn = (G[2, 1] - G[1, 2], G[0, 2] - G[2, 0], G[1, 0] - G[0, 1])
        along = turn[0] * a[0] + turn[1] * a[1] + turn[2] * a[2]
        quadratic = -square * trace
        for i in range(3):
            for j in range(3):
                quadratic += a[i] * G[i, j] * a[j]
        for i in range(3):
            both = (G[i, 0] + G[0, i]) * a[0] + (G[i, 1] + G[1, i]) * a[1] + (G[i, 2] + G[2, i]) * a[2]
            by_axis_angle[n, i] = (
                first * turn[i]
                + second * (both - 2 * trace * a[i])
                + (by_first * along + by_second * quadratic) * a[i]
            )


@kernel
def fill_transforms(
    rotations: Reals, joints: Reals, parents: NDArray[np.integer[Any]], world: Reals, offset: Reals,
) -> None:  # fmt: skip
    """world (T, J, 3, 3) and offset (T, J, 3) of local rotations (T, J, 3, 3), joints (J, 3) and parents (J,)."""
    for t in range(rotations.shape[0]):
        for j in range(rotations.shape[1]):
            p = parents[j]
            for row in range(3):
                place = joints[j, row] if p < 0 else offset[t, p, row]
                for column in range(3):
                    if p < 0:
                        turned = rotations[t, j, row, column]
                    else:
                        place += world[t, p, row, column] * joints[j, column]
                        turned = (
                            world[t, p, row, 0] * rotations[t, j, 0, column]
                            + world[t, p, row, 1] * rotations[t, j, 1, column]
                            + world[t, p, row, 2] * rotations[t, j, 2, column]
                        )
                    world[t, j, row, column] = turned
                    place -= turned * joints[j, column]
                offset[t, j, row] = place


@kernel
def fill_transform_slopes(
    rotations: Reals, joints: Reals, parents: NDArray[np.integer[Any]], world: Reals, by_world: Reals,
    by_offset: Reals, by_rotations: Reals, by_joints: Reals,
) -> None:  # fmt: skip
    """Derivatives by rotations (T, J, 3, 3) and joints (J, 3; zeros on entry) of a number whose derivatives by the
    transforms are by_world (T, J, 3, 3) and by_offset (T, J, 3). Those two are used up."""
    for t in range(rotations.shape[0]):
        for j in range(rotations.shape[1] - 1, -1, -1):
            p = parents[j]
            for row in range(3):
                pull = by_offset[t, j, row]
                if p < 0:
                    by_joints[j, row] += pull
                else:
                    by_offset[t, p, row] += pull
                for column in range(3):
                    by_joints[j, column] -= world[t, j, row, column] * pull
                    by_world[t, j, row, column] -= pull * joints[j, column]
                    if p >= 0:
                        by_joints[j, column] += world[t, p, row, column] * pull
                        by_world[t, p, row, column] += pull * joints[j, column]
            for row in range(3):
                for column in range(3):
                    if p < 0:
                        by_rotations[t, j, row, column] = by_world[t, j, row, column]
                        continue
                    by_rotations[t, j, row, column] = (
                        world[t, p, 0, row] * by_world[t, j, 0, column]
                        + world[t, p, 1, row] * by_world[t, j, 1, column]
                        + world[t, p, 2, row] * by_world[t, j, 2, column]
                    )
                    by_world[t, p, row, column] += (
                        by_world[t, j, row, 0] * rotations[t, j, column, 0]
                        + by_world[t, j, row, 1] * rotations[t, j, column, 1]
                        + by_world[t, j, row, 2] * rotations[t, j, column, 2]
                    )
