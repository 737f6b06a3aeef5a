"""Percentiles of many numbers that lie close together, by buckets of equal width."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats
from pipeline.geometry.compiling import kernel

_BUCKETS = 1024
_FULL_BUCKET = 256


def percentiles(values: Floats, percents: tuple[float, ...]) -> list[float]:
    """`np.percentile(values, percents)` of finite numbers (n,), n > 0, to the last bit, in a quarter of its time.

    Interpolated linearly between the order statistics around (n - 1) q.
    """
    found = np.empty(len(percents))
    fill_percentiles(values, np.array(percents) / 100, found)
    return found.tolist()


@kernel
def fill_percentiles(values: Floats, shares: Floats, found: Floats) -> None:
    """found (k,): the `percentiles` of values (n,), n > 0, at shares (k,) in [0, 1]."""
    last = values.shape[0] - 1
    rank, ranked = np.empty(2 * shares.shape[0], np.int64), np.empty(2 * shares.shape[0])
    for k in range(shares.shape[0]):
        below = math.floor(last * shares[k])
        rank[2 * k], rank[2 * k + 1] = below, min(below + 1, last)
    fill_ranked(values, rank, ranked)
    for k in range(shares.shape[0]):
        low, high = ranked[2 * k], ranked[2 * k + 1]
        share, step = last * shares[k] - rank[2 * k], high - low
        found[k] = high - step * (1 - share) if share >= 0.5 else low + step * share


@kernel
def fill_ranked(values: Floats, rank: NDArray[np.int64], ranked: Floats) -> None:
    """ranked (k,): the rank[k]-th smallest of the values (n,), counted from 0.

    The values are counted in buckets of equal width; only the bucket that holds a rank is sorted.
    """
    low, high = values.min(), values.max()
    scale = (_BUCKETS - 1) / (high - low) if high > low else 0.0
    count, bucket = np.zeros(_BUCKETS, np.int64), np.empty(values.shape[0], np.int32)
    for n in range(values.shape[0]):
        at = min(max(int((values[n] - low) * scale), 0), _BUCKETS - 1)
        bucket[n] = at
        count[at] += 1
    held, last = np.empty(count.max()), -1
    for k in range(rank.shape[0]):
        at, before = 0, 0
        while before + count[at] <= rank[k]:
            before += count[at]
            at += 1
        if at != last:
            found, last = 0, at
            for n in range(values.shape[0]):
                if bucket[n] == at:
                    held[found] = values[n]
                    found += 1
            held[:found].sort()
        ranked[k] = held[rank[k] - before]


@kernel
def fill_order(values: Floats, order: NDArray[np.int64]) -> None:
    """`np.argsort(values, kind="stable")` of finite numbers (n,), n > 0: by buckets, then by insertion within them."""
    low, high = values.min(), values.max()
    scale = (_BUCKETS - 1) / (high - low) if high > low else 0.0
    after, bucket = np.zeros(_BUCKETS + 1, np.int64), np.empty(values.shape[0], np.int32)
    for n in range(values.shape[0]):
        bucket[n] = min(max(int((values[n] - low) * scale), 0), _BUCKETS - 1)
        after[bucket[n] + 1] += 1
    if after.max() > _FULL_BUCKET:  # insertion takes the square of that
        order[:] = np.argsort(values, kind="mergesort")
        return
    for at in range(_BUCKETS):
        after[at + 1] += after[at]
    for n in range(values.shape[0]):
        order[after[bucket[n]]] = n
        after[bucket[n]] += 1
    for n in range(1, values.shape[0]):
        own, at = order[n], n
        while at > 0 and values[order[at - 1]] > values[own]:
            order[at] = order[at - 1]
            at -= 1
        order[at] = own


@kernel
def fill_weighted_percentiles(values: Floats, weight: Floats, shares: Floats, found: Floats) -> None:
    """found (k,): values below which increasing shares of the weight lie, interpolated between midpoints of weights."""
    order, total = np.empty(values.shape[0], np.int64), weight.sum()
    fill_order(values, order)
    k, before, midpoint, value = 0, 0.0, 0.0, values[order[0]]
    for n in range(order.shape[0]):
        last_midpoint, last_value = midpoint, value
        midpoint, value = (before + 0.5 * weight[order[n]]) / total, values[order[n]]
        before += weight[order[n]]
        while k < shares.shape[0] and shares[k] < midpoint:
            step = (shares[k] - last_midpoint) / (midpoint - last_midpoint) if n else 1.0
            found[k] = last_value + step * (value - last_value)
            k += 1
    found[k:] = value
