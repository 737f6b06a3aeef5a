"""The frames of a track that are aligned to each other, as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import Camera

Pictures = Callable[[int], np.ndarray]
"""The crop of a frame by its place in the track: (S, S, 3) uint8 sRGB, square."""

PersonAt = Callable[[int], np.ndarray | None]
"""Which cells of that crop show the person: (P, P) uint8, 0 or 1; None where nobody knows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackFrames:
    """T frames with pictures."""

    pictures: Pictures
    cameras: Sequence[Camera]
    """Those of the pictures, one a frame."""
    pts_s: np.ndarray
    """(T,) presentation times, seconds."""
    neighbours: np.ndarray
    """(T, T): the weight of frame s in the appearance that frame t is aligned to; 0 on the diagonal."""
    person: PersonAt | None = None

    def __len__(self) -> int:
        return len(self.cameras)

    def person_at(self, at: int) -> np.ndarray:
        """(P, P) uint8: the cells of a frame's crop that show the person; all of them where nobody knows."""
        found = self.person(at) if self.person is not None else None
        return np.ones((1, 1), np.uint8) if found is None else found
