"""The pictures of a pair laid over each other, once for all that compares them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame
from pipeline.refine.comparison_kernel import fill_comparison


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedPictures:
    """A target's picture and the reference's, warped to it by the bodies."""

    layers: NDArray[np.int16]
    """(3, H, W): target's grey, warped grey, -1 where the reference sees the body; see `matching_kernel`."""
    differences: NDArray[np.float32]
    """(n, 3) |I_t - I_r warped| of the n pixels with every validity bit, colours in [0, 1]."""

    @property
    def photo_error(self) -> float | None:
        """mean |I_t - I_r warped| over the valid pixels of the target; None where no pixel is valid."""
        return float(self.differences.mean(dtype=np.float64)) if len(self.differences) else None


def compared_pictures(maps: PairMaps, *, target: RenderedFrame, reference: RenderedFrame) -> ComparedPictures:
    """The reference's picture is sampled bilinearly at `maps.warp_px`, at every body pixel that it shows."""
    height, width = maps.validity.shape
    layers = np.zeros((3, height, width), np.int16)
    differences = np.empty((len(maps.pixel), 3), np.float32)
    count = fill_comparison(
        maps.pixel, target.picture.reshape(-1, 3), reference.picture, maps.warp_px.reshape(-1, 2),
        maps.validity.reshape(-1), layers.reshape(3, -1), differences,
    )  # fmt: skip
    return ComparedPictures(layers=layers, differences=differences[:count])
