"""A reference's picture as it looks from the target, by the bodies of both; and how much it differs."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.refine.matching_kernel import fill_source, sum_differences


def warped_picture(reference_image: np.ndarray, warp_px: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(H, W, 3) the reference's colours where the target's surface points lie in it; of no meaning where not seen.

    `warp_px` (H, W, 2) holds, per target pixel, where its surface point lies in the reference (centres at +0.5); seen
    (H, W) bool. Only the rectangle around what is seen is sampled, a quarter of the picture of a person.
    """
    warped = np.zeros((*seen.shape, 3), np.float32)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if rows.size:
        box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        source = np.empty((*seen[box].shape, 2), np.float32)
        fill_source(warp_px[box], seen[box], source)
        warped[box] = cv2.remap(
            reference_image, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return warped


def photo_error(target_image: np.ndarray, warped_image: np.ndarray, valid: np.ndarray) -> float | None:
    """mean |I_t - I_r warped| over valid pixels, colours in [0, 1]; None where no pixel is valid."""
    total, count = sum_differences(target_image, warped_image, valid)
    return total / count if count else None
