"""Swings of a whole track on knots in time: what lets a smooth fit move, at any frame rate."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Singles
from pipeline.tracking.step_kernels import add_swings, fill_swing_slopes

KNOT_SPACINGS_S = (16 / 30, 8 / 30, 4 / 30, 2 / 30)
"""Coarse to fine."""
MIN_FRAMES_A_KNOT = 1.5
"""Knots closer than this have nothing to add to the frames' own variables."""


def knot_weights(pts_s: np.ndarray) -> Singles:
    """Linear interpolation from knots every KNOT_SPACINGS_S to T frames: (T, K) float32, the spacings that count.

    A track's values are x = own + W swings. Smoothness ties frames so stiffly that steps on single frames take
    thousands to move a limb; a step on a knot moves all frames around it (a hierarchical basis as preconditioner,
    Szeliski 1990; our decision). Measured on a rendered person at 60 frames a second: less energy is left after 300
    steps than after 2,400 without. Spacings longer than the track are left out too.
    """
    time_s = pts_s - pts_s[0]
    frame_s = float(np.median(np.diff(time_s))) if len(time_s) > 1 else np.inf
    found = [np.empty((len(pts_s), 0), np.float32)]
    for spacing_s in KNOT_SPACINGS_S:
        if MIN_FRAMES_A_KNOT * frame_s < spacing_s < time_s[-1]:
            found.append(time_knots(pts_s, spacing_s))
    return np.concatenate(found, axis=1)


def time_knots(pts_s: np.ndarray, spacing_s: float) -> Singles:
    """Linear interpolation from knots every spacing_s, the last at or after the end, to T frames: (T, K) float32."""
    place = (pts_s - pts_s[0])[:, None] / spacing_s
    knots = np.arange(int(np.ceil(place[-1, 0])) + 1)
    return np.asarray(np.clip(1 - np.abs(place - knots), 0, None), np.float32)


class SwingingTracks:
    """Per-frame variables with swings on knots added. All lie in two leaves: few, large operations."""

    def __init__(self, own: np.ndarray, pts_s: np.ndarray) -> None:
        """own (T, N): where they begin."""
        self._weights = knot_weights(pts_s)
        self._own = np.array(own, np.float32)
        self._swings = np.zeros((self._weights.shape[1], self._own.shape[1]), np.float32)

    def parameters(self) -> list[Singles]:
        """The leaves: the variables' own values, then the swings."""
        return [self._own, self._swings]

    def values(self) -> Singles:
        """(T, N)."""
        values = np.empty_like(self._own)
        add_swings(self._weights, self._swings, self._own, values)
        return values

    def slopes(self, by_values: Singles) -> list[Singles]:
        """Derivatives by the leaves of a number whose derivative by the values is by_values (T, N)."""
        by_swings = np.empty_like(self._swings)
        fill_swing_slopes(self._weights, by_values, by_swings)
        return [by_values, by_swings]
