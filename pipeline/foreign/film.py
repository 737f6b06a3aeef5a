"""What a reader of results gets besides the file, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.tracking.imported_bodies import ImportedBodies
from schemas.errors import SourceError


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """What results do not say about the film they are of."""

    hw: tuple[int, int] | None = None
    focal_px: float | None = None
    name: str = ""
    """Of the file of results: a file of one frame has the frame's number in its name alone."""

    def size(self) -> tuple[int, int]:
        """(h, w); raises SourceError where it was not given."""
        if self.hw is None:
            raise SourceError(
                "these results do not state the film's size.",
                remedy="Add --image WIDTHxHEIGHT or --film FILE.",
            )
        return self.hw

    def lens_px(self, assumed: Callable[[tuple[int, int]], float]) -> float:
        """The given focal length, or what the authors assume for a picture of this size."""
        return self.focal_px if self.focal_px is not None else assumed(self.size())


def diagonal_px(hw: tuple[int, int]) -> float:
    """The lens that several programs assume: a focal length of the picture's diagonal, 53 degrees."""
    return float(np.hypot(*hw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Bodies in the neutral format, and what their file says besides."""

    bodies: ImportedBodies
    frame_count: int | None = None
    """How many frames the program saw, where the file says so."""
    notes: tuple[str, ...] = ()
    """What a user should know."""
