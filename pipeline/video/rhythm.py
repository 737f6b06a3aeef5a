"""A regular rhythm in a row of frames: the rate and the offset that explain best what is seen of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Flags

Fit = Callable[[float, np.ndarray, slice], np.ndarray]
"""A rate, offsets, frames -> how well each offset explains them."""

_CHUNK, _STEPS, _MOST = 240, 16, 4096
_AS_GOOD = 0.005
RATE_STEP = _STEPS / 4
"""Over the frames looked at: how far apart the first rates may be that `fitted` is given."""


def fitted(fit: Fit, rates: np.ndarray, span: slice, length: int) -> tuple[float, float, float]:
    """(rate, offset, fit) of the best rhythm, sought in a span, then around it in longer ones up to the whole shot.

    A rate that is right on n frames is right to 1 / n pictures a frame, so that twice the frames can follow. A simple
    fraction that fits as well is preferred: rates are 2/5 or 1/4, not .4003.
    """
    width = RATE_STEP / (span.stop - span.start)
    while True:
        tried = (rates[:, None] + width * np.linspace(-1, 1, 2 * _STEPS + 1)).ravel()
        rate, offset, found = _best(fit, tried[tried > 0].tolist(), _STEPS, span)
        if span.stop - span.start >= length:
            break
        rates, width = np.array([rate]), 1.0 / (span.stop - span.start)
        span = slice(max(0, 2 * span.start - span.stop), min(length, 2 * span.stop - span.start))
    for denominator in range(1, _STEPS * 2):
        simple = round(rate * denominator) / denominator
        if simple > 0 and abs(simple - rate) * length < 1:
            candidate = _best(fit, [simple], 4 * _STEPS, span)
            if candidate[2] >= found - _AS_GOOD:
                return candidate
    return rate, offset, found


def _best(fit: Fit, rates: Sequence[float], steps: int, span: slice) -> tuple[float, float, float]:
    offsets = np.arange(steps) / steps
    fits = np.stack([fit(rate, offsets, span) for rate in rates])
    # Of equally good ones the middle: ticks far from frames stand times that are rounded.
    around = sum(
        np.roll(fits, by, axis=1) / reach
        for reach in (steps // 16, steps // 8, steps // 4)
        for by in range(-reach, reach + 1)
    )
    best = np.unravel_index(np.argmax(np.round(fits, 9) + 1e-4 * around), fits.shape)
    return rates[int(best[0])], float(offsets[best[1]]), float(fits[best])


def liveliest(told: np.ndarray) -> slice:
    """The _CHUNK neighbouring frames of which most are told."""
    counts = np.append(0, np.cumsum(told))
    length = min(_CHUNK, len(told))
    first = int(np.argmax(counts[length:] - counts[:-length]))
    return slice(first, first + length)


def thinned(told: Flags, part: slice) -> NDArray[np.intp]:
    """Places of told frames in a part of the shot, at most some _MOST of them, evenly taken: shots may last days."""
    at: NDArray[np.intp] = part.start + np.flatnonzero(told[part])
    return at[:: len(at) // _MOST + 1]
