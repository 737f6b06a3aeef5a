"""Compiled points of a posed body and their derivatives: landmarks and skin without products with zeros.

Nine tenths of a landmark's and a vertex' weights for the 24 joints are nothing. What is left comes as a list of terms,
joint after joint. Any floating type; tests compare with dense products and with differences.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Reals
from pipeline.geometry.compiling import kernel

Numbers = NDArray[np.integer[Any]]
LEAST_LENGTH = 1e-12


@kernel
def fill_points(
    rotation: Reals, offset: Reals, frames: Numbers, rest: Reals, weight: Reals, point: Numbers, first: Numbers,
    points: Reals,
) -> None:  # fmt: skip
    """points (N, P, 3) of some frames (N,): x_p = sum_e (R_j e + a T_j) over the terms e of a point.

    rotation R (T, J, 3, 3), offset T (T, J, 3); E terms: rest (E, 3), weight a (E,), the point p of each (E,); those of
    joint j are first[j], ..., first[j + 1] - 1.
    """
    for n in range(frames.shape[0]):
        t, of_frame = frames[n], points[n]
        of_frame[:] = 0.0
        for j in range(first.shape[0] - 1):
            R, o = rotation[t, j], offset[t, j]
            a, b, c, d, e, f, g, h, i = (
                R[0, 0], R[0, 1], R[0, 2], R[1, 0], R[1, 1], R[1, 2], R[2, 0], R[2, 1], R[2, 2],
            )  # fmt: skip
            u, v, w = o[0], o[1], o[2]
            for k in range(first[j], first[j + 1]):
                x, y, z, share, p = rest[k, 0], rest[k, 1], rest[k, 2], weight[k], point[k]
                of_frame[p, 0] += (a * x + b * y) + (c * z + share * u)
                of_frame[p, 1] += (d * x + e * y) + (f * z + share * v)
                of_frame[p, 2] += (g * x + h * y) + (i * z + share * w)


@kernel
def add_point_slopes(
    rotation: Reals, frames: Numbers, rest: Reals, weight: Reals, point: Numbers, first: Numbers,
    by_points: Reals, by_rotation: Reals, by_offset: Reals, by_rest: Reals,
) -> None:  # fmt: skip
    """Adds derivatives by rotation (T, J, 3, 3), offset (T, J, 3) and rest (E, 3) of a number whose derivative by the
    points of `fill_points` is by_points (N, P, 3)."""
    by_joint = np.empty((4, 3), rotation.dtype)
    for n in range(frames.shape[0]):
        t, of_frame = frames[n], by_points[n]
        for j in range(first.shape[0] - 1):
            R = rotation[t, j]
            a, b, c, d, e, f, g, h, i = (
                R[0, 0], R[0, 1], R[0, 2], R[1, 0], R[1, 1], R[1, 2], R[2, 0], R[2, 1], R[2, 2],
            )  # fmt: skip
            by_joint[:] = 0.0
            for k in range(first[j], first[j + 1]):
                x, y, z, share, p = rest[k, 0], rest[k, 1], rest[k, 2], weight[k], point[k]
                u, v, w = of_frame[p, 0], of_frame[p, 1], of_frame[p, 2]
                by_joint[0, 0] += u * x
                by_joint[0, 1] += v * x
                by_joint[0, 2] += w * x
                by_joint[1, 0] += u * y
                by_joint[1, 1] += v * y
                by_joint[1, 2] += w * y
                by_joint[2, 0] += u * z
                by_joint[2, 1] += v * z
                by_joint[2, 2] += w * z
                by_joint[3, 0] += u * share
                by_joint[3, 1] += v * share
                by_joint[3, 2] += w * share
                by_rest[k, 0] += (a * u + d * v) + g * w
                by_rest[k, 1] += (b * u + e * v) + h * w
                by_rest[k, 2] += (c * u + f * v) + i * w
            for row in range(3):
                for column in range(3):
                    by_rotation[t, j, row, column] += by_joint[column, row]
                by_offset[t, j, row] += by_joint[3, row]


@kernel
def fill_two_column_rotations(columns: Reals, rotation: Reals) -> None:
    """rotation (N, 3, 3) from its first two columns (N, 6 or more, six are read) by Gram and Schmidt: a/|a|, b less
    its share along a, and their cross product."""
    for n in range(columns.shape[0]):
        a, b = columns[n, :3], columns[n, 3:6]
        length = max(math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]), LEAST_LENGTH)
        for i in range(3):
            rotation[n, i, 0] = a[i] / length
        along = rotation[n, 0, 0] * b[0] + rotation[n, 1, 0] * b[1] + rotation[n, 2, 0] * b[2]
        for i in range(3):
            rotation[n, i, 1] = b[i] - along * rotation[n, i, 0]
        s = rotation[n, :, 1]
        length = max(math.sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]), LEAST_LENGTH)
        for i in range(3):
            rotation[n, i, 1] /= length
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            rotation[n, i, 2] = rotation[n, j, 0] * rotation[n, k, 1] - rotation[n, k, 0] * rotation[n, j, 1]


@kernel
def fill_two_column_slopes(columns: Reals, rotation: Reals, by_rotation: Reals, by_columns: Reals) -> None:
    """by_columns (N, 6 or more, six are written): the derivative by the columns of a number whose derivative by their
    rotation is by_rotation (N, 3, 3).

    With f, s, c the rotation's columns, c = f x s: s gains by_c x f, f gains s x by_c; s = s'/|s'| and f = a/|a| pass
    on what is across them; s' = b - (f.b) f.
    """
    by_first, by_second = np.empty(3, columns.dtype), np.empty(3, columns.dtype)
    for n in range(columns.shape[0]):
        a, b, R, G = columns[n, :3], columns[n, 3:6], rotation[n], by_rotation[n]
        length = max(math.sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2]), LEAST_LENGTH)
        along = R[0, 0] * b[0] + R[1, 0] * b[1] + R[2, 0] * b[2]
        square, pull = 0.0, 0.0
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            by_first[i] = G[i, 0] + R[j, 1] * G[k, 2] - R[k, 1] * G[j, 2]
            by_second[i] = G[i, 1] + G[j, 2] * R[k, 0] - G[k, 2] * R[j, 0]
            rest = b[i] - along * R[i, 0]
            square, pull = square + rest * rest, pull + by_second[i] * R[i, 1]
        second_length, across = max(math.sqrt(square), LEAST_LENGTH), 0.0
        for i in range(3):
            by_second[i] = (by_second[i] - pull * R[i, 1]) / second_length
            across += by_second[i] * R[i, 0]
        pull = 0.0
        for i in range(3):
            by_columns[n, 3 + i] = by_second[i] - across * R[i, 0]
            by_first[i] -= across * b[i] + along * by_second[i]
            pull += by_first[i] * R[i, 0]
        for i in range(3):
            by_columns[n, i] = (by_first[i] - pull * R[i, 0]) / length
