"""Compiled kernels of the refinement: what the neighbours of a frame show, and how the frame differs from it."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Floats, Integers, Reals, Singles
from pipeline.geometry.compiling import inlined, kernel, subroutine
from pipeline.refine.robust import ROBUST_SIGMAS

BLOCK = 512
"""Points that are blended at a time: what some fifty frames show of them fits the cache."""


@kernel
def blend_frames(
    shown: Singles, seen: Singles, neighbours: Singles, first: int, scale: float, mean: Singles,
    support: Singles,
) -> None:  # fmt: skip
    """What the neighbours of frames t = first, first + 1, ... show at each point: weighted means of shown (T, R, Q).

        mean[t] = sum_s w_s shown_s / sum_s w_s,  w_s = neighbours_ts seen_s [1 + |V_t - V_s|^2 / (C scale^2)]^-2

    The bracket counts where scale > 0: frames that differ much, pair by pair, are left out of the mean (the iterated
    weights of a sum over pairs under Geman and McClure's norm). V are the first half of the R rows of `shown`, float32;
    seen (T, Q) float32; neighbours (T, T) float32. mean (n, R, Q), 0 where support (n, Q), the sum of weights, is.
    """
    rows, points = shown.shape[1], shown.shape[2]
    weight = np.empty(BLOCK, np.float32)
    for low in range(0, points, BLOCK):
        high = min(low + BLOCK, points)
        w = weight[: high - low]
        for i in range(mean.shape[0]):
            t = first + i
            mean[i, :, low:high] = np.float32(0.0)
            support[i, low:high] = np.float32(0.0)
            for s in range(shown.shape[0]):
                share = neighbours[t, s]
                if share == 0.0:
                    continue
                of_frame = seen[s, low:high]
                for q in range(w.shape[0]):
                    w[q] = share * of_frame[q]
                if scale > 0.0:
                    _lower_where_different(shown[t, :, low:high], shown[s, :, low:high], scale, w)
                _add(support[i, low:high], w)
                for r in range(rows):
                    _add_product(mean[i, r, low:high], w, shown[s, r, low:high])
            total = support[i, low:high]
            for r in range(rows):
                part = mean[i, r, low:high]
                for q in range(part.shape[0]):
                    part[q] /= max(total[q], np.float32(1e-12))


@inlined
def _add(total: Singles, part: Singles) -> None:
    for q in range(total.shape[0]):
        total[q] += part[q]


@inlined
def _add_product(total: Singles, weight: Singles, part: Singles) -> None:
    for q in range(total.shape[0]):
        total[q] += weight[q] * part[q]


@subroutine
def _lower_where_different(here: Singles, there: Singles, scale: float, weight: Singles) -> None:
    channels = here.shape[0] // 2
    for q in range(weight.shape[0]):
        square = np.float32(0.0)
        for c in range(channels):
            square += (here[c, q] - there[c, q]) ** 2
        bracket = np.float32(1.0) + square / np.float32(channels * scale * scale)
        weight[q] /= bracket * bracket


@kernel
def compare_frame(
    shown: Singles, mean: Singles, counted: Singles, node: Integers, node_weight: Floats, bias_prior: float,
    least_sigma: float, sample_weight: float, bias: Floats, residual: Floats, weight: Floats,
    offset_square: Floats, offset_product: Floats,
) -> None:  # fmt: skip
    """How a frame differs from the mean of its neighbours, without what a slow bias explains.

    shown, mean (2 C, Q): values and slopes; counted (Q,): how much each point counts. bias (K, C) is the weighted mean
    difference around each node, drawn to zero by `bias_prior`; residual (C, Q) = V - mean V less that bias; and
    weight (C, Q) = sample_weight counted / (s (1 + (r / 3 s)^2))^2 with s the standard deviation that the median size
    of counted residuals tells, at least `least_sigma` (Geman and McClure). With p the difference of slopes by the
    offset, sum_c w p^2 and sum_c w p r are added to offset_square and offset_product (Q,). Points that do not count
    get weight 0 and no residual.
    """
    channels, points = weight.shape
    total = np.full(bias.shape[0], bias_prior)
    bias[:] = 0.0
    sizes, count = np.empty(channels * points), 0
    for q in range(points):
        if counted[q] > 0.0:
            for n in range(node.shape[1]):
                share = counted[q] * node_weight[q, n]
                total[node[q, n]] += share
                for c in range(channels):
                    bias[node[q, n], c] += share * (shown[c, q] - mean[c, q])
    for k in range(bias.shape[0]):
        for c in range(channels):
            bias[k, c] /= total[k]
    for q in range(points):
        if counted[q] > 0.0:
            for c in range(channels):
                difference = shown[c, q] - mean[c, q]
                for n in range(node.shape[1]):
                    difference -= node_weight[q, n] * bias[node[q, n], c]
                residual[c, q] = difference
                sizes[count] = abs(difference)
                count += 1
    sigma = max(1.4826 * median(sizes[:count]), least_sigma)
    for q in range(points):
        for c in range(channels):
            weight[c, q] = 0.0
            if counted[q] > 0.0:
                bracket = 1.0 + (residual[c, q] / (ROBUST_SIGMAS * sigma)) ** 2
                w = sample_weight * counted[q] / (bracket * sigma) ** 2
                slope = shown[channels + c, q] - mean[channels + c, q]
                weight[c, q] = w
                offset_square[q] += w * slope * slope
                offset_product[q] += w * slope * residual[c, q]


@subroutine
def median(values: Reals) -> float:
    """The median; 0 of nothing. The values are put in another order."""
    count = values.shape[0]
    if count == 0:
        return 0.0
    upper = _smallest(values, count // 2)
    if count % 2 == 1:
        return upper
    lower: float = values[0]  # everything before the place of `upper` is no greater
    for k in range(1, count // 2):
        lower = max(lower, values[k])
    return 0.5 * (lower + upper)


@subroutine
def _smallest(values: Reals, place: int) -> float:
    """The value that would stand at a place if values were sorted (Hoare's selection, median of three)."""
    low, high = 0, values.shape[0] - 1
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if place <= j:
            high = j
        elif place >= i:
            low = i
        else:
            break
    found: float = values[place]
    return found
