"""Compiled passes of a step of the fit: swings on knots, and Adam. Their readable twins are torch's, in the tests.

Sums are carried in float64 and rounded once for each product: what a fused multiply-add gives.
"""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Reals
from pipeline.geometry.compiling import kernel


@kernel
def add_swings(weights: Reals, swings: Reals, own: Reals, values: Reals) -> None:
    """values (T, N) = own (T, N) + weights (T, K) swings (K, N); most weights are 0, and cost nothing."""
    total = np.empty(own.shape[1], own.dtype)
    for t in range(own.shape[0]):
        total[:] = 0.0
        for k in range(weights.shape[1]):
            weight = np.float64(weights[t, k])
            if weight != 0.0:
                for n in range(total.shape[0]):
                    total[n] = weight * swings[k, n] + total[n]
        for n in range(total.shape[0]):
            values[t, n] = own[t, n] + total[n]


@kernel
def fill_swing_slopes(weights: Reals, by_values: Reals, by_swings: Reals) -> None:
    """by_swings (K, N) = weights (T, K)' by_values (T, N)."""
    by_swings[:] = 0.0
    for t in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            weight = np.float64(weights[t, k])
            if weight != 0.0:
                for n in range(by_values.shape[1]):
                    by_swings[k, n] = weight * by_values[t, n] + by_swings[k, n]


@kernel
def step_down(
    variable: Reals, slope: Reals, mean: Reals, square: Reals, shares: Reals, second: np.float32,
    rate: np.float32, eps: np.float32,
) -> None:  # fmt: skip
    """One step of Adam on flat arrays (n,); shares (3,): 1 - b1, b2, 1 - b2; second, rate and eps are numbers of their
    type: sqrt(1 - b2^n), -rate / (1 - b1^n), and what keeps the divisor from 0."""
    for n in range(variable.shape[0]):
        g = slope[n]
        mean[n] = np.float64(shares[0]) * (g - mean[n]) + mean[n]
        square[n] = np.float64(shares[2] * g) * g + square[n] * shares[1]
        spread = np.sqrt(square[n]) / second + eps
        variable[n] += rate * mean[n] / spread
