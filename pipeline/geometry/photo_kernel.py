"""Compiled passes behind the photometric error of a pair: where to look, and how much the colours differ."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.compiling import kernel


@kernel
def box_of(validity: NDArray[np.uint8], wanted: int) -> tuple[int, int, int, int, int]:
    """How many pixels have all the bits that are wanted, and the box [top, bottom), [left, right) that holds them."""
    height, width = validity.shape
    count, top, bottom, left, right = 0, height, 0, width, 0
    for row in range(height):
        for column in range(width):
            if validity[row, column] & wanted == wanted:
                count += 1
                top, bottom = min(top, row), row + 1
                left, right = min(left, column), max(right, column + 1)
    return count, top, bottom, left, right


@kernel
def fill_sources(
    warp: NDArray[np.float32], validity: NDArray[np.uint8], wanted: int, sources: NDArray[np.float32]
) -> None:
    """sources (h, w, 2): the warp (h, w, 2) as OpenCV counts pixels, centres at 0; -0.5 where bits are missing."""
    for row in range(validity.shape[0]):
        for column in range(validity.shape[1]):
            for axis in range(2):
                known = validity[row, column] & wanted == wanted
                px = warp[row, column, axis] if known else np.float32(0.0)
                sources[row, column, axis] = px - np.float32(0.5)


@kernel
def fill_differences(
    target: NDArray[np.float32], warped: NDArray[np.float32], validity: NDArray[np.uint8], wanted: int,
    differences: NDArray[np.float32],
) -> None:  # fmt: skip
    """differences (n, 3): |target - warped| of the n pixels with all wanted bits, row by row; images (h, w, 3)."""
    at = 0
    for row in range(validity.shape[0]):
        for column in range(validity.shape[1]):
            if validity[row, column] & wanted == wanted:
                for channel in range(3):
                    difference = target[row, column, channel] - warped[row, column, channel]
                    differences[at, channel] = abs(difference)
                at += 1
