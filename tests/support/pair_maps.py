"""Maps of a pair made by hand."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.motion import PairStatistics
from pipeline.geometry.visibility import PairMaps

NO_NUMBERS = PairStatistics(**dict.fromkeys(PairStatistics.__dataclass_fields__, 0.0))


def maps_of(motion: np.ndarray, validity: np.ndarray, warp_px: np.ndarray) -> PairMaps:
    """Of dense arrays (H, W, 6), (H, W) and (H, W, 2); the body is where any of them says something."""
    on_body = motion.any(axis=-1) | (validity > 0) | np.isfinite(warp_px).all(axis=-1)
    pixel = np.flatnonzero(on_body).astype(np.int32)
    return PairMaps(
        pixel=pixel,
        pixel_motion=np.ascontiguousarray(motion.reshape(-1, 6)[pixel].T.astype(np.float16)),
        pixel_baseline_m=np.zeros(len(pixel)),
        validity=validity.astype(np.uint8),
        pixel_warp_px=warp_px.reshape(-1, 2)[pixel].astype(np.float32),
        statistics=NO_NUMBERS,
    )
