"""Frames that become RGB where they are looked at: a network looks at one person, and a frame is mostly background."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.geometry.array_types import Bytes
from pipeline.records import Frame
from pipeline.video.picture_parts import Box, PicturePart

PartOf = Callable[[Box], PicturePart]
"""At least the pixels in a box of an upright picture, bit for bit; all of them for an empty one."""
_NOTHING = np.empty((0, 0, 3), np.uint8)


class Canvas:
    """Pixels of one frame after the other, at their places: a picture that is never copied and never made anew."""

    def __init__(self) -> None:
        self._image: Bytes = np.zeros((0, 0, 3), np.uint8)

    def showing(self, part: PicturePart) -> Bytes:
        """(H, W, 3) with the part's pixels; what lies outside of it is of any frame."""
        if self._image.shape[:2] != part.picture_hw:
            self._image = np.zeros((*part.picture_hw, 3), np.uint8)
        box = part.box
        self._image[box.top : box.bottom, box.left : box.right] = part.image
        return self._image


class StoredFrame(Frame):
    """A `Frame` whose picture is kept as its decoder gave it: half the bytes of RGB, or fewer.

    `image` is made when it is first asked for, and kept; `showing` makes no more than it has to.
    """

    __slots__ = ("_canvas", "_hw", "_part_of", "_whole")
    _canvas: Canvas
    _hw: tuple[int, int]
    _part_of: PartOf
    _whole: Bytes | None

    def __init__(
        self, *, index: int, pts_s: float, hw: tuple[int, int], part_of: PartOf, canvas: Canvas
    ) -> None:
        values = {"index": index, "pts_s": pts_s, "_hw": hw, "_part_of": part_of, "_canvas": canvas}
        for name, value in (values | {"_whole": None}).items():
            object.__setattr__(self, name, value)

    @property
    def hw(self) -> tuple[int, int]:
        """See `Frame.hw`."""
        return self._hw

    @property
    def image(self) -> Bytes:
        """See `Frame.image`."""
        return self._kept(self._part_of(Box(0, 0, 0, 0)).image) if self._whole is None else self._whole

    def _kept(self, whole: Bytes) -> Bytes:
        object.__setattr__(self, "_whole", whole)
        return whole

    def showing(self, rows: slice, columns: slice) -> Bytes:
        """See `Frame.showing`. The next call, of this frame or another of its film, may write over it."""
        box = Box(rows.start, rows.stop, columns.start, columns.stop)
        if self._whole is not None or box.hw == self._hw:
            return self.image
        if box.is_empty:  # for which `part_of` makes the whole picture
            return self._canvas.showing(PicturePart(_NOTHING, Box(0, 0, 0, 0), self._hw))
        part = self._part_of(box)
        if part.box.hw == self._hw:
            return self._kept(part.image)
        return self._canvas.showing(part)
