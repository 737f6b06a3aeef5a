"""The compiled pass that lays a reference's picture over the target's: greys that patches are matched in, and colour
differences, of the pixels that both frames show."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.compiling import inlined, kernel
from schemas.conventions import VALID_ALL, VALID_VISIBLE

TARGET, WARPED, VALID = range(3)
"""Layers of the pictures that patches are matched in."""
TARGET_STEPS, WARPED_STEPS = 765, 12240
"""What white counts: the sum of three bytes, and sixteen times that where bytes were interpolated (misalignments then
differ by at most .002 px from those of float64; with four times, by .009). Sums of whole numbers are the same in any
order, so the compiler may form many at a time; all but the last squares' fit 32 bits for a patch of 15 x 15."""
COLOURS = np.arange(256, dtype=np.float32) / np.float32(255)
"""Bytes as colours in [0, 1]."""
_GREY_STEPS = WARPED_STEPS / 3.0


@inlined
def _between(low: np.float32, high: np.float32, share: np.float32) -> np.float32:
    """low + share (high - low), the product unrounded: what `cv2.remap` does with a fused multiply-add."""
    step = np.float64(np.float32(high - low))
    return np.float32(np.float64(share) * step + np.float64(low))


@kernel
def fill_comparison(
    target: NDArray[np.uint8], reference: NDArray[np.uint8], warp: NDArray[np.float32],
    validity: NDArray[np.uint8], layers: NDArray[np.int16], differences: NDArray[np.float32],
) -> int:  # fmt: skip
    """Fills the layers (3, H, W), zeros on entry, where the reference sees the body, and the differences (n, 3) of the
    n pixels with every validity bit, row by row; returns n.

    Pictures (H, W, 3) bytes, warp (H, W, 2) pixels of the reference, validity (H, W) with W a multiple of 8. The
    reference is sampled bilinearly, beyond its border as at it; differences are |target - warped|, colours in [0, 1].
    """
    height, width = reference.shape[0], reference.shape[1]
    eight = validity.view(np.uint64)
    half, count = np.float32(0.5), 0
    for row in range(validity.shape[0]):
        for first in range(0, validity.shape[1], 8):
            if eight[row, first // 8] == 0:
                continue
            for column in range(first, first + 8):
                bits = validity[row, column]
                if not bits & VALID_VISIBLE:
                    continue
                x, y = warp[row, column, 0] - half, warp[row, column, 1] - half
                left, top = math.floor(x), math.floor(y)
                across, down = np.float32(x - np.float32(left)), np.float32(y - np.float32(top))
                i, j = min(max(int(top), 0), height - 1), min(max(int(left), 0), width - 1)
                k, m = min(max(int(top) + 1, 0), height - 1), min(max(int(left) + 1, 0), width - 1)
                is_valid, grey, other = bits & VALID_ALL == VALID_ALL, 0, np.float32(0)
                for channel in range(3):
                    byte = target[row, column, channel]
                    above = _between(
                        COLOURS[reference[i, j, channel]], COLOURS[reference[i, m, channel]], across
                    )
                    below = _between(
                        COLOURS[reference[k, j, channel]], COLOURS[reference[k, m, channel]], across
                    )
                    colour = _between(above, below, down)
                    grey, other = grey + byte, np.float32(other + colour)
                    if is_valid:
                        differences[count, channel] = abs(np.float32(COLOURS[byte] - colour))
                count += is_valid
                layers[TARGET, row, column] = grey
                layers[WARPED, row, column] = math.floor(_GREY_STEPS * np.float64(other) + 0.5)
                layers[VALID, row, column] = 1
    return count
