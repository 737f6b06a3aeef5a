"""The compiled centroids of heat maps: what moves a landmark to where its map is bright near by."""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Reals
from pipeline.geometry.compiling import kernel

FARTHEST_LOGIT = 60.0
"""Logits beyond this count as this: certainty."""


@kernel
def fill_centroids(
    cells: Reals, logits: Reals, radius: int, least_confidence: float, centroid: Reals
) -> None:
    """centroid (K, 2): confidence-weighted means of the columns and rows around cells (K, 2), column first, of maps.

    Over the (2 radius + 1)^2 cells of logits (S, S, K) about the one that a landmark lies in. NaN for a landmark
    outside of its map, or without a cell as bright as least_confidence.
    """
    size = logits.shape[0]
    for k in range(cells.shape[0]):
        centroid[k, 0], centroid[k, 1] = np.nan, np.nan
        if not (0 <= cells[k, 0] < size and 0 <= cells[k, 1] < size):
            continue
        column, row = int(cells[k, 0]), int(cells[k, 1])
        total, along, down, most = 0.0, 0.0, 0.0, 0.0
        for v in range(max(0, row - radius), min(size, row + radius + 1)):
            for u in range(max(0, column - radius), min(size, column + radius + 1)):
                logit = min(max(np.float64(logits[v, u, k]), -FARTHEST_LOGIT), FARTHEST_LOGIT)
                confidence = 1.0 / (1.0 + math.exp(-logit))
                most = max(most, confidence)
                total, along, down = total + confidence, along + confidence * u, down + confidence * v
        if most >= least_confidence:
            centroid[k, 0], centroid[k, 1] = along / total, down / total
