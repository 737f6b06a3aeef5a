"""The pictures of a pair laid over each other, once for all that compares them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame
from pipeline.refine.comparison_kernel import box_of, fill_comparison

MARGIN_PX = 17
"""Around the body in the layers: half a patch, the longest shift, and one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedPictures:
    """A target's picture and the reference's, warped to it by the bodies."""

    layers: NDArray[np.int16]
    """(3, h, w): target's grey, warped grey + SHOWN, -1 where the reference sees the body; see `comparison_kernel`."""
    origin: tuple[int, int]
    """Row and column of the target where the layers begin: they hold the body and MARGIN_PX around it."""
    photo_error: float | None
    """mean |I_t - I_r warped| over the pixels with every validity bit, colours in [0, 1]; None where there is none."""


def compared_pictures(maps: PairMaps, *, target: RenderedFrame, reference: RenderedFrame) -> ComparedPictures:
    """The reference's picture is sampled bilinearly at `maps.pixel_warp_px`, at every body pixel that it shows."""
    width = maps.validity.shape[1]
    top, left, bottom, right = box_of(maps.pixel, width) if len(maps.pixel) else (0, 0, 0, 0)
    origin = top - MARGIN_PX, left - MARGIN_PX
    size = bottom + 1 + MARGIN_PX - origin[0], right + 1 + MARGIN_PX - origin[1]
    layers = np.zeros((3, *size), np.int16)
    count, total = fill_comparison(
        maps.pixel, width, target.picture.reshape(-1, 3), reference.picture, maps.pixel_warp_px,
        maps.validity.reshape(-1), origin, layers,
    )  # fmt: skip
    return ComparedPictures(layers=layers, origin=origin, photo_error=total / (3 * count) if count else None)
