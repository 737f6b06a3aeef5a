"""Which landmarks are each other's mirror images."""

from __future__ import annotations

import numpy as np

from schemas.conventions import LANDMARK_COUNT

MIRROR_PAIRS = (
    (1, 4), (2, 5), (3, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 18), (19, 20), (21, 22),
    (23, 24), (25, 26), (27, 28), (29, 30), (31, 32),
)  # fmt: skip
"""Left and right twins of BlazePose's 33 landmarks."""


def mirror_permutation() -> np.ndarray:
    """(33,) index of each landmark's twin."""
    permutation = np.arange(LANDMARK_COUNT)
    for left, right in MIRROR_PAIRS:
        permutation[[left, right]] = right, left
    return permutation
