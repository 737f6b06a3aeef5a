"""Photometric error of a pair: how much the pictures differ at the same point of the body's surface."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.geometry.photo_kernel import box_of, fill_differences, fill_sources
from pipeline.geometry.visibility import PairMaps
from pipeline.records import RenderedFrame
from schemas.conventions import VALID_ALL


def photo_error(maps: PairMaps, *, target: RenderedFrame, reference: RenderedFrame) -> float | None:
    """mean |I_t - I_r warped| over the valid pixels of the target, colours in [0, 1]; None where no pixel is valid.

    Only the box around the valid pixels is looked at: a body fills about a third of its crop.
    """
    count, top, bottom, left, right = box_of(maps.validity, VALID_ALL)
    if not count:
        return None
    box = np.s_[top:bottom, left:right]
    validity = maps.validity[box]
    sources, differences = np.empty((*validity.shape, 2), np.float32), np.empty((count, 3), np.float32)
    fill_sources(maps.warp_px[box], validity, VALID_ALL, sources)
    warped = cv2.remap(reference.image, sources, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    fill_differences(target.image[box], warped, validity, VALID_ALL, differences)
    return float(differences.mean(dtype=np.float64))
