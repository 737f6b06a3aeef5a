"""Parts of pictures: where a crop needs pixels of a frame, only those are turned into RGB."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from av.video.frame import VideoFrame

CUTTABLE = ("yuv420p", "yuvj420p")
"""Formats of stored pictures that are cut before they become RGB: those of nearly all film. Others are cut after."""
STEP_PX, MARGIN_PX = 16, 16
"""Parts end on multiples of the step and hold a margin: colours are interpolated between every second pixel."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of pixels."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def hw(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.bottom - self.top, self.right - self.left

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.top >= self.bottom or self.left >= self.right

    def widened(self, hw: tuple[int, int]) -> Box:
        """With the margin, on multiples of the step, inside a picture of hw."""
        return Box(
            max(0, (self.top - MARGIN_PX) // STEP_PX * STEP_PX),
            min(hw[0], -(-(self.bottom + MARGIN_PX) // STEP_PX) * STEP_PX),
            max(0, (self.left - MARGIN_PX) // STEP_PX * STEP_PX),
            min(hw[1], -(-(self.right + MARGIN_PX) // STEP_PX) * STEP_PX),
        )

    def transposed(self) -> Box:
        """With rows and columns exchanged."""
        return Box(self.left, self.right, self.top, self.bottom)

    def mirrored(self, hw: tuple[int, int], *, rows: bool, columns: bool) -> Box:
        """As it lies in a picture of hw whose rows or columns run the other way."""
        box = replace(self, top=hw[0] - self.bottom, bottom=hw[0] - self.top) if rows else self
        return replace(box, left=hw[1] - box.right, right=hw[1] - box.left) if columns else box


@dataclass(frozen=True, slots=True, eq=False)
class PicturePart:
    """Some pixels of an upright picture."""

    image: np.ndarray
    """(h, w, 3) uint8 sRGB."""
    box: Box
    """Where they lie."""
    picture_hw: tuple[int, int]

    @classmethod
    def whole(cls, image: np.ndarray) -> PicturePart:
        """All of a picture."""
        height, width = image.shape[:2]
        return cls(image, Box(0, height, 0, width), (height, width))

    def __getitem__(self, box: Box) -> np.ndarray:
        """The pixels of a box inside of this one."""
        rows = slice(box.top - self.box.top, box.bottom - self.box.top)
        return self.image[rows, box.left - self.box.left : box.right - self.box.left]


def is_cuttable(picture: VideoFrame) -> bool:
    """Whether a part of a stored picture becomes the RGB that it has in the whole one.

    Where rows or columns are odd in number, colours are not interpolated half way between samples, and differently
    everywhere.
    """
    return picture.format.name in CUTTABLE and picture.width % 2 == 0 and picture.height % 2 == 0


def cut(picture: VideoFrame, box: Box) -> VideoFrame:
    """A part of a stored picture that is cuttable; `box` begins and ends on even rows and columns."""
    height, width = box.hw
    part = VideoFrame(width, height, picture.format.name)
    for at, (whole, plane) in enumerate(zip(picture.planes, part.planes)):
        share = 2 if at else 1
        pixels = np.frombuffer(memoryview(whole), np.uint8).reshape(-1, whole.line_size)
        kept = pixels[box.top // share : box.bottom // share, box.left // share : box.right // share]
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : kept.shape[1]] = kept
        plane.update(padded.tobytes())
    return part
