"""Compiled terms of the fit's energy: each returns its value and adds its derivatives to those of the others.

rho(r; s) = r^2 / (1 + r^2 / s^2) is Geman-McClure's robust square. values (T, 78) are the variables of every frame
(`posed_track`), points (T, K, 3) a body's about its own origin. Any floating type; tests compare with the same formulas
in torch and with differences.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Reals
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.outline_kernel import rho

POSE, PLACE, VALUES = 6, 75, 78
"""Where a frame's axis-angles and its translation begin, behind two columns of the global rotation; and the end."""


@kernel
def add_landmark_slopes(
    points: Reals, values: Reals, lens: Reals, nearest_z: float, seen_px: Reals, size_px: Reals, weight: Reals,
    sigma: float, term_weight: float, by_points: Reals, by_values: Reals,
) -> float:  # fmt: skip
    """term_weight times sum_k w_k rho(|u_k - seen_k| / h; sigma), mean over frames.

    u are pixels by lens [f_x, f_y, c_x, c_y] of the points at their frame's place; what is nearer than nearest_z is
    seen as if it were there. seen_px (T, K, 2), sizes h (T,) in pixels, weight (T, K).
    """
    value, share = 0.0, term_weight / points.shape[0]
    for t in range(points.shape[0]):
        shrink, all_x, all_y, all_z = 1.0 / (size_px[t] * size_px[t]), 0.0, 0.0, 0.0
        for k in range(points.shape[1]):
            x = points[t, k, 0] + values[t, PLACE]
            y = points[t, k, 1] + values[t, PLACE + 1]
            z = points[t, k, 2] + values[t, PLACE + 2]
            depth = max(z, nearest_z)
            fx, fy = lens[0] / depth, lens[1] / depth
            right, down = fx * x + lens[2] - seen_px[t, k, 0], fy * y + lens[3] - seen_px[t, k, 1]
            found, by_square = rho((right * right + down * down) * shrink, sigma)
            value += weight[t, k] * found * share
            factor = 2.0 * share * weight[t, k] * by_square * shrink
            pull_x, pull_y = factor * right * fx, factor * down * fy
            pull_z = -(pull_x * x + pull_y * y) / z if z > nearest_z else 0.0
            by_points[t, k, 0] += pull_x
            by_points[t, k, 1] += pull_y
            by_points[t, k, 2] += pull_z
            all_x, all_y, all_z = all_x + pull_x, all_y + pull_y, all_z + pull_z
        by_values[t, PLACE] += all_x
        by_values[t, PLACE + 1] += all_y
        by_values[t, PLACE + 2] += all_z
    return value


@kernel
def add_world_slopes(
    points: Reals, log_scale: Reals, rotation: Reals, seen_m: Reals, weight: Reals, hips: tuple[int, int],
    sigma: float, term_weight: float, by_points: Reals, by_log_scale: Reals, by_rotation: Reals,
) -> float:  # fmt: skip
    """term_weight times sum_k w_k rho(|x_k - x_hips - e^s Q y_k|; sigma), mean over frames.

    y = seen_m (T, K, 3) about the hips, weight (T, K), s = log_scale (1,), Q = rotation (T, 3, 3); x_hips is the mean
    of two points.
    """
    value, share, scale = 0.0, term_weight / points.shape[0], np.exp(np.float64(log_scale[0]))
    left, right = hips
    for t in range(points.shape[0]):
        at_x = 0.5 * (points[t, left, 0] + points[t, right, 0])
        at_y = 0.5 * (points[t, left, 1] + points[t, right, 1])
        at_z = 0.5 * (points[t, left, 2] + points[t, right, 2])
        all_x, all_y, all_z, turn = 0.0, 0.0, 0.0, rotation[t]
        for k in range(points.shape[1]):
            if weight[t, k] == 0.0:
                continue
            own_x, own_y, own_z = scale * seen_m[t, k, 0], scale * seen_m[t, k, 1], scale * seen_m[t, k, 2]
            seen_x = turn[0, 0] * own_x + turn[0, 1] * own_y + turn[0, 2] * own_z
            seen_y = turn[1, 0] * own_x + turn[1, 1] * own_y + turn[1, 2] * own_z
            seen_z = turn[2, 0] * own_x + turn[2, 1] * own_y + turn[2, 2] * own_z
            x = points[t, k, 0] - at_x - seen_x
            y = points[t, k, 1] - at_y - seen_y
            z = points[t, k, 2] - at_z - seen_z
            found, by_square = rho(x * x + y * y + z * z, sigma)
            value += weight[t, k] * found * share
            factor = 2.0 * share * weight[t, k] * by_square
            x, y, z = factor * x, factor * y, factor * z
            by_points[t, k, 0] += x
            by_points[t, k, 1] += y
            by_points[t, k, 2] += z
            all_x, all_y, all_z = all_x + x, all_y + y, all_z + z
            by_log_scale[0] -= x * seen_x + y * seen_y + z * seen_z
            for axis, pull in ((0, x), (1, y), (2, z)):
                by_rotation[t, axis, 0] -= pull * own_x
                by_rotation[t, axis, 1] -= pull * own_y
                by_rotation[t, axis, 2] -= pull * own_z
        for hip in (left, right):
            by_points[t, hip, 0] -= 0.5 * all_x
            by_points[t, hip, 1] -= 0.5 * all_y
            by_points[t, hip, 2] -= 0.5 * all_z
    return value


@kernel
def add_smoothness_slopes(
    points: Reals, values: Reals, times: Reals, weights: tuple[float, float, float], by_points: Reals,
    by_values: Reals,
) -> float:  # fmt: skip
    """(a |acc x|^2 + b |acc z|^2) m^2 + c |acc theta|^2: accelerations of placed points, depth and axis-angles.

    times (T-2, 4) as `Acceleration` has them, of the values' type: means over the time that tied frames span.
    weights: a, c, b. m is the number 1: the mean depth by itself, with a derivative in the divisor only. A picture
    cannot tell a small person from a large one further away; accelerations that are multiplied by m are no smaller for
    smaller people. Without it smoothness buys itself smaller people, the more so the more frames a second there are.
    """
    frames, count = points.shape[0], points.shape[1]
    placed, slope = np.empty((frames, 3 * count), points.dtype), np.zeros((frames, 3 * count), points.dtype)
    mean = 0.0
    for t in range(frames):
        mean += values[t, PLACE + 2] / frames
        for k in range(count):
            for axis in range(3):
                placed[t, 3 * k + axis] = points[t, k, axis] + values[t, PLACE + axis]
    sized = _add_accelerations(placed, times, weights[0], 0, 3 * count, slope)
    sized += _add_accelerations(values, times, weights[2], PLACE + 2, VALUES, by_values)
    for t in range(frames):
        for k in range(count):
            for axis in range(3):
                by_points[t, k, axis] += slope[t, 3 * k + axis]
                by_values[t, PLACE + axis] += slope[t, 3 * k + axis]
        by_values[t, PLACE + 2] -= 2.0 * sized / (mean * frames)
    return sized + _add_accelerations(values, times, weights[1], POSE, PLACE, by_values)


@kernel
def _add_accelerations(
    values: Reals, times: Reals, weight: float, first: int, end: int, by_values: Reals
) -> float:
    """weight times sum_i s_i |b_i x_i + a_i x_{i+1} + c_i x_{i+2}|^2 of columns x; b, a, c, s = times."""
    value, row = 0.0, np.empty(end - first, values.dtype)
    for i in range(times.shape[0]):
        if times[i, 3] == 0.0:
            continue
        _combine(times[i], values[i, first:end], values[i + 1, first:end], values[i + 2, first:end], row)
        square, factor = 0.0, values.dtype.type(2.0 * weight * times[i, 3])
        for n in range(row.shape[0]):
            square += row[n] * row[n]
            row[n] *= factor
        value += weight * times[i, 3] * square
        for step in range(3):
            _add_scaled(by_values[i + step, first:end], times[i, step], row)
    return value


@inlined
def _combine(times: Reals, before: Reals, at: Reals, after: Reals, row: Reals) -> None:
    a, b, c = times[0], times[1], times[2]
    for n in range(row.shape[0]):
        row[n] = a * before[n] + b * at[n] + c * after[n]


@inlined
def _add_scaled(total: Reals, factor: float, part: Reals) -> None:
    for n in range(total.shape[0]):
        total[n] += factor * part[n]


@kernel
def add_posture_slopes(
    values: Reals, stiffness: Reals, hinge: NDArray[np.integer[Any]], sign: Reals, largest: Reals,
    weights: tuple[float, float], by_values: Reals,
) -> float:  # fmt: skip
    """a sum_n stiffness_n theta_n^2 + b sum_h (relu(-q_h)^2 + relu(q_h - largest_h)^2), mean over frames.

    theta are a frame's axis-angles in one line, stiffness (69,); q_h = sign_h theta_h of the hinges, whose places in
    that line are hinge (H,). a, b = weights.
    """
    value, share = 0.0, 1.0 / values.shape[0]
    for t in range(values.shape[0]):
        theta, by_theta = values[t, POSE:PLACE], by_values[t, POSE:PLACE]
        for n in range(stiffness.shape[0]):
            if stiffness[n] != 0.0:
                value += weights[0] * share * stiffness[n] * theta[n] * theta[n]
                by_theta[n] += 2.0 * weights[0] * share * stiffness[n] * theta[n]
        for h in range(hinge.shape[0]):
            angle = sign[h] * theta[hinge[h]]
            beyond = min(angle, 0.0) + max(angle - largest[h], 0.0)
            value += weights[1] * share * beyond * beyond
            by_theta[hinge[h]] += 2.0 * weights[1] * share * beyond * sign[h]
    return value
