"""The compiled pass that lays a reference's picture over the target's: greys that patches are matched in, and colour
differences, of the pixels that both frames show."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.compiling import inlined, kernel
from schemas.conventions import VALID_ALL, VALID_VISIBLE

TARGET, WARPED, VALID = range(3)
"""Layers of the pictures that patches are matched in; the last holds -1, all bits, where the others tell."""
TARGET_STEPS, WARPED_STEPS = 765, 12240
"""What white counts: the sum of three bytes, and sixteen times that where bytes were interpolated (misalignments then
differ by at most .002 px from those of float64; with four times, by .009). Sums of whole numbers are the same in any
order, so the compiler may form many at a time; all but the last squares' fit 32 bits for a patch of 15 x 15."""
SHOWN = -32768
"""Added to a warped grey where there is one: its highest bit says so, and a patch is copied once and not twice."""
COLOURS = np.arange(256, dtype=np.float32) / np.float32(255)
"""Bytes as colours in [0, 1]."""
_GREY_STEPS = WARPED_STEPS / 3.0
_BLOCK = 64
_CORNERS, _SUM, _ACROSS, _DOWN, _COLOURS = 0, 12, 13, 14, 15
"""Rows of a block: the four pixels around each place, channel after channel; the sum of the channels, the shares of a
pixel across and down, and the three channels of the colour between the four."""


@inlined
def _between(low: np.float32, high: np.float32, share: np.float32) -> np.float32:
    """low + share (high - low), the product unrounded: what `cv2.remap` does with a fused multiply-add."""
    step = np.float64(np.float32(high - low))
    return np.float32(np.float64(share) * step + np.float64(low))


@kernel
def _gather(
    place: NDArray[np.int64], count: int, reference: NDArray[np.uint8], warp: NDArray[np.float32],
    work: NDArray[np.float32],
) -> None:  # fmt: skip
    """The pixels of the reference (H, W, 3) around where the warp (n, 2) sends some places."""
    height, width = reference.shape[0], reference.shape[1]
    for n in range(count):
        x, y = warp[place[n], 0] - np.float32(0.5), warp[place[n], 1] - np.float32(0.5)
        # of float64, which is one instruction; of float32 numba calls a function
        left, top = math.floor(np.float64(x)), math.floor(np.float64(y))
        work[_ACROSS * _BLOCK + n] = x - np.float32(left)
        work[_DOWN * _BLOCK + n] = y - np.float32(top)
        i, j = min(max(int(top), 0), height - 1), min(max(int(left), 0), width - 1)
        k, m = min(max(int(top) + 1, 0), height - 1), min(max(int(left) + 1, 0), width - 1)
        for channel in range(3):
            row = _CORNERS + 4 * channel
            work[row * _BLOCK + n] = COLOURS[reference[i, j, channel]]
            work[(row + 1) * _BLOCK + n] = COLOURS[reference[i, m, channel]]
            work[(row + 2) * _BLOCK + n] = COLOURS[reference[k, j, channel]]
            work[(row + 3) * _BLOCK + n] = COLOURS[reference[k, m, channel]]


@inlined
def _blend_channel(work: NDArray[np.float32], row: int, colours: int) -> None:
    for n in range(_BLOCK):
        across, down = work[_ACROSS * _BLOCK + n], work[_DOWN * _BLOCK + n]
        above = _between(work[row * _BLOCK + n], work[(row + 1) * _BLOCK + n], across)
        below = _between(work[(row + 2) * _BLOCK + n], work[(row + 3) * _BLOCK + n], across)
        work[colours * _BLOCK + n] = _between(above, below, down)


@kernel
def _blend(work: NDArray[np.float32]) -> None:
    """The colours of a block, and their sums. Rows begin at constants: see `procrustes`."""
    _blend_channel(work, _CORNERS, _COLOURS)
    _blend_channel(work, _CORNERS + 4, _COLOURS + 1)
    _blend_channel(work, _CORNERS + 8, _COLOURS + 2)
    for n in range(_BLOCK):
        some = np.float32(work[_COLOURS * _BLOCK + n] + work[(_COLOURS + 1) * _BLOCK + n])
        work[_SUM * _BLOCK + n] = np.float32(some + work[(_COLOURS + 2) * _BLOCK + n])


@kernel
def fill_comparison(
    pixel: NDArray[np.int32], width: int, target: NDArray[np.uint8], reference: NDArray[np.uint8],
    warp: NDArray[np.float32], validity: NDArray[np.uint8], origin: tuple[int, int], layers: NDArray[np.int16],
) -> tuple[int, float]:  # fmt: skip
    """Fills the layers (3, h, w), zeros on entry, where the reference sees the body; returns k and the sum of the
    differences of the k pixels with every validity bit, in three colours.

    pixel (n,) row * width + column of body pixels, increasing, and where they lie in the reference, warp (n, 2); the
    layers begin at row and column `origin`. Target (H W, 3) and reference (H, W, 3) bytes, validity (H W,). The
    reference is sampled bilinearly, beyond its border as at it; differences are |target - warped|, colours in [0, 1].
    """
    work, place = np.zeros(18 * _BLOCK, np.float32), np.empty(_BLOCK, np.int64)
    held, count, row, total = 0, 0, 0, 0.0
    for n in range(pixel.shape[0]):
        if validity[pixel[n]] & VALID_VISIBLE:
            place[held] = n
            held += 1
        if held == _BLOCK or (held and n == pixel.shape[0] - 1):
            _gather(place, held, reference, warp, work)
            _blend(work)
            for k in range(held):
                at, grey = int(pixel[place[k]]), 0
                while at >= (row + 1) * width:  # a division takes longer than all the rest
                    row += 1
                down, right = row - origin[0], at - row * width - origin[1]
                is_valid = validity[at] & VALID_ALL == VALID_ALL
                for channel in range(3):
                    byte = target[at, channel]
                    grey += byte
                    if is_valid:
                        colour = work[(_COLOURS + channel) * _BLOCK + k]
                        total += float(abs(np.float32(COLOURS[byte] - colour)))
                count += is_valid
                layers[TARGET, down, right] = grey
                other = _GREY_STEPS * np.float64(work[_SUM * _BLOCK + k])
                layers[WARPED, down, right] = math.floor(other + 0.5) + SHOWN
                layers[VALID, down, right] = -1
            held = 0
    return count, total


@kernel
def box_of(pixel: NDArray[np.int32], width: int) -> tuple[int, int, int, int]:
    """First row and column of increasing pixels (n,) row * width + column, and last row and column; n > 0."""
    row, left, right = 0, width, 0
    for n in range(pixel.shape[0]):
        at = int(pixel[n])
        while at >= (row + 1) * width:
            row += 1
        left, right = min(left, at - row * width), max(right, at - row * width)
    return int(pixel[0]) // width, left, row, right
