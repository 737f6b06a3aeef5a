"""The compiled prior of poses: a mixture of Student distributions, and its derivative."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Reals
from pipeline.geometry.compiling import inlined, kernel

LEAST_PULL = 1e-9
"""Components that pull less than this on a frame, some 1e-9 of its probability, pull nothing."""


@kernel
def add_surprise_slopes(
    values: Reals, columns: NDArray[np.integer[Any]], mean: Reals, factor: Reals, log_scale: Reals, freedom: float,
    weight: float, by_values: Reals,
) -> float:  # fmt: skip
    """weight times -2 log sum_k s_k (1 + |F_k' (x - m_k)|^2 / f)^(-(f + D) / 2), mean over T frames.

    x are columns (D,) of values (T, N); m = mean (K, D), log s = log_scale (K,), f = freedom; factor F (K, D, D) is
    upper triangular. The derivative is added to by_values (T, N). Frames lie side by side in here, so that a product
    goes along them.
    """
    count, size, frames = mean.shape[0], columns.shape[0], values.shape[0]
    whitened = np.empty((count, size, frames), values.dtype)
    away, pull = np.empty((size, frames), values.dtype), np.empty((count, frames), values.dtype)
    tails, power = np.empty((count, frames)), 0.5 * (freedom + size)
    for k in range(count):
        for i in range(size):
            for t in range(frames):
                away[i, t] = values[t, columns[i]] - mean[k, i]
        squares = tails[k]
        squares[:] = 0.0
        for j in range(size):
            y = whitened[k, j]
            y[:] = 0.0
            _add_rows(y, factor[k, :, j], away, j + 1)
            for t in range(frames):
                squares[t] += y[t] * y[t]
        for t in range(frames):
            pull[k, t] = 4.0 * power / (freedom + squares[t])
            tails[k, t] = log_scale[k] - power * np.log1p(squares[t] / freedom)
    value = _fill_chances(tails, pull, weight / frames)
    some, few = np.empty(frames, np.int64), np.empty((size, frames), values.dtype)
    for k in range(count):
        number = 0
        for t in range(frames):
            if abs(pull[k, t]) > LEAST_PULL * weight / frames:
                some[number] = t
                number += 1
        for j in range(size):
            for n in range(number):
                few[j, n] = pull[k, some[n]] * whitened[k, j, some[n]]
        for i in range(size):
            total = away[i, :number]
            total[:] = 0.0
            _add_rows(total, factor[k, i, i:], few[i:], size - i)
            for n in range(number):
                by_values[some[n], columns[i]] += total[n]
    return value


@kernel
def _fill_chances(tails: Reals, pull: Reals, share: float) -> float:
    """share times -2 log sum_k exp(tails_k), summed over frames; pull (K, T) is multiplied by share and by the chance
    that a component has in a frame."""
    value = 0.0
    for t in range(tails.shape[1]):
        most, total = -np.inf, 0.0
        for k in range(tails.shape[0]):
            most = max(most, tails[k, t])
        for k in range(tails.shape[0]):
            total += np.exp(tails[k, t] - most)
        value -= 2.0 * share * (most + np.log(total))
        for k in range(tails.shape[0]):
            pull[k, t] *= share * np.exp(tails[k, t] - most) / total
    return value


@inlined
def _add_rows(total: Reals, factors: Reals, rows: Reals, count: int) -> None:
    """total (N,) += sum of factors_i rows_i over `count` rows, four at a time: sums stay in registers."""
    for i in range(0, count - count % 4, 4):
        a, b, c, d = factors[i], factors[i + 1], factors[i + 2], factors[i + 3]
        one, two, three, four = rows[i], rows[i + 1], rows[i + 2], rows[i + 3]
        for n in range(total.shape[0]):
            total[n] += (a * one[n] + b * two[n]) + (c * three[n] + d * four[n])
    for i in range(count - count % 4, count):
        a, one = factors[i], rows[i]
        for n in range(total.shape[0]):
            total[n] += a * one[n]
