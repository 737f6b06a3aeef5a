"""How much the pictures of a pair differ where the base depth says that they show the same surface."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame


def photo_error(maps: PairMaps, *, target: RenderedFrame, reference: RenderedFrame) -> float | None:
    """mean |I_t - I_r warped| over the valid pixels of the target, colours in [0, 1]; None where no pixel is valid."""
    valid = maps.valid
    if not valid.any():
        return None
    source = np.where(valid[..., None], maps.warp_px, 0.0).astype(np.float32) - np.float32(0.5)
    warped = cv2.remap(
        reference.image, source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return float(np.abs(target.image - warped)[valid].mean(dtype=np.float64))
