"""Percentiles of many numbers without sorting them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats
from pipeline.geometry.compiling import kernel

_BUCKETS = 1024


def percentiles(values: Floats, percents: tuple[float, ...]) -> list[float]:
    """`np.percentile(values, percents)` of finite numbers (n,), n > 0, to the last bit, in a quarter of its time.

    Interpolated linearly between the order statistics around (n - 1) q.
    """
    place = (len(values) - 1) * (np.array(percents) / 100)
    below = np.floor(place).astype(np.int64)
    rank = np.stack([below, np.minimum(below + 1, len(values) - 1)], axis=1)
    ranked = np.empty(rank.shape)
    fill_ranked(values, rank.reshape(-1), ranked.reshape(-1))
    low, high = ranked.T
    share, step = place - below, high - low
    return [float(value) for value in np.where(share >= 0.5, high - step * (1 - share), low + step * share)]


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
