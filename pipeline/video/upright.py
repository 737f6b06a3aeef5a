"""A decoded picture as a player would show it: turned by its metadata, square pixels, sRGB."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av.error
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation

from pipeline.video.colour import coding_of, rgb_from_picture
from pipeline.video.container import check_size, plain
from pipeline.video.picture_parts import Box, PicturePart, cut, is_cuttable
from schemas.errors import DecodeError

FULL_SIZE = Interpolation.BILINEAR
"""Colours interpolated; swscale's faster paths repeat them."""
MAX_PIXEL_ASPECT = 4.0
"""Non-square pixels are made square up to this ratio; beyond it the header is taken to be wrong."""


def upright_rgb(
    picture: VideoFrame, turn: Turn, pixel_aspect: Fraction | None, max_side_px: int | None, file: Path
) -> np.ndarray:
    """(H, W, 3) uint8 sRGB with square pixels, as a player would show it."""
    width, height = _square_pixel_size(picture, pixel_aspect)
    check_size(file, picture.width, picture.height)
    quality = FULL_SIZE
    if max_side_px is not None and max(width, height) > max_side_px:
        shrink = max_side_px / max(width, height)
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        quality = Interpolation.AREA
    with _named_errors(picture, file):
        image = rgb_from_picture(picture, coding_of(picture), width, height, quality)
    return np.ascontiguousarray(turn(image))


def upright_size(picture: VideoFrame, turn: Turn, pixel_aspect: Fraction | None) -> tuple[int, int]:
    """Rows and columns of `upright_rgb` at full size."""
    width, height = _square_pixel_size(picture, pixel_aspect)
    return (width, height) if turn.transposed else (height, width)


def upright_part(
    picture: VideoFrame, turn: Turn, pixel_aspect: Fraction | None, box: Box, file: Path
) -> PicturePart:
    """At least the pixels in a box of what `upright_rgb` gives at full size, bit for bit."""
    hw = upright_size(picture, turn, pixel_aspect)
    stored_hw = picture.height, picture.width
    is_square = _square_pixel_size(picture, pixel_aspect) == (picture.width, picture.height)
    if not is_square or not is_cuttable(picture) or box.is_empty:
        return PicturePart.whole(upright_rgb(picture, turn, pixel_aspect, None, file))
    check_size(file, picture.width, picture.height)
    stored = box.mirrored(hw, rows=turn.flipped, columns=turn.mirrored)
    stored = (stored.transposed() if turn.transposed else stored).widened(stored_hw)
    with _named_errors(picture, file):
        height, width = stored.hw
        image = rgb_from_picture(cut(picture, stored), coding_of(picture), width, height, FULL_SIZE)
    shown = stored.transposed() if turn.transposed else stored
    return PicturePart(turn(image), shown.mirrored(hw, rows=turn.flipped, columns=turn.mirrored), hw)


@contextmanager
def _named_errors(picture: VideoFrame, file: Path) -> Iterator[None]:
    """Errors of turning a picture into RGB say which file."""
    try:
        yield
    except DecodeError as error:
        raise DecodeError(f"{file}: {error.message}", remedy=error.remedy) from None
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise DecodeError(
            f"{file}: frames of format {picture.format.name} cannot be turned into RGB: {plain(error)}.",
            remedy="Re-encode it as 8-bit H.264.",
        ) from None


def _square_pixel_size(picture: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    if not aspect or not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        return picture.width, picture.height
    return max(1, round(picture.width * aspect)), picture.height


@dataclass(frozen=True, slots=True)
class Turn:
    """How a stored picture is shown: first transposed, then turned upside down, then mirrored."""

    transposed: bool
    flipped: bool
    mirrored: bool

    def __call__(self, image: np.ndarray) -> np.ndarray:
        image = image.transpose(1, 0, 2) if self.transposed else image
        return image[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1]


def turn_of(picture: VideoFrame) -> Turn:
    """The display matrix to the nearest quarter turn.

    FFmpeg's maps source to shown: x' = a x + c y, y' = b x + d y, rows [[a, b, u], [c, d, v], [x, y, w]].
    """
    data: Any = picture.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Turn(False, False, False)
    (a, b, _), (c, d, _), _ = np.frombuffer(data, dtype=np.int32).reshape(3, 3).tolist()
    if abs(a) >= abs(c):
        return Turn(transposed=False, flipped=d < 0, mirrored=a < 0)
    return Turn(transposed=True, flipped=b < 0, mirrored=c < 0)
