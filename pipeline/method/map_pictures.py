"""Crops at the size of the maps: what a pair's pictures are compared in."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.geometry.array_types import Bytes
from schemas.conventions import MAP_PX

MAX_BYTES = 80 * 10**6
"""Of pictures that wait for their frame: 406 of them. A unit is then rendered in no more memory than its people are
followed in."""


def map_picture(crop: np.ndarray) -> Bytes:
    """(MAP_PX, MAP_PX, 3) uint8 of a crop (IMAGE_PX, IMAGE_PX, 3) uint8."""
    picture: Bytes = cv2.resize(crop, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
    return picture


class MapPictures:
    """Pictures kept where crops are decoded first, by refinement, so that pairs need not decode them again.

    To decode a crop takes a millisecond. What does not fit into `max_bytes` is not kept, and decoded twice.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._pictures: dict[tuple[int, int], Bytes] = {}
        self._bytes_left = max_bytes

    def keep(self, person_index: int, frame_index: int, crop: np.ndarray) -> None:
        """Keeps the picture of a person's crop in a frame, if there is room; once kept it stays as it is."""
        key = (person_index, frame_index)
        if key not in self._pictures and self._bytes_left >= 3 * MAP_PX**2:
            self._pictures[key] = map_picture(crop)
            self._bytes_left -= self._pictures[key].nbytes

    def take(self, person_index: int, frame_index: int) -> Bytes | None:
        """A picture that was kept, and is so no longer; None where there is none."""
        picture = self._pictures.pop((person_index, frame_index), None)
        self._bytes_left += 0 if picture is None else picture.nbytes
        return picture
