"""Random changes of a batch that leave the geometry true."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.batch import Batch


def flipped(batch: Batch) -> Batch:
    """The mirror image of target and references, seen by mirrored cameras: every loss of a mirrored offset is the same.

    With S = diag(-1, 1, 1): x' = S x, R' = S R S, so the rotation vector becomes (r_x, -r_y, -r_z) and the
    displacement S d; u' = W - u (pixel centres at +0.5), so c_x' = W - c_x.
    """
    signs = torch.tensor([1.0, -1, -1, -1, 1, 1], device=batch.motion.device).view(6, 1, 1)
    mirrored = {
        name: getattr(batch, name).flip(-1)
        for name in ("inputs", "target", "photo_depth", "base_depth", "references", "valid")
    }
    mirrored |= {name: getattr(batch, name).flip(-1) for name in batch.known_maps}
    return replace(
        batch,
        motion=batch.motion.flip(-1) * signs,
        K=_mirrored_K(batch.K, batch.base_depth.shape[-1]),
        reference_K=_mirrored_K(batch.reference_K, batch.references.shape[-1]),
        **mirrored,
    )


def _mirrored_K(K: Tensor, width_px: int) -> Tensor:
    K = K.clone()
    K[..., 0, 2] = width_px - K[..., 0, 2]
    return K


def moved(batch: Batch, rows_px: int, columns_px: int) -> Batch:
    """The target's crop cut elsewhere: its content moves by whole map pixels, and c_x, c_y with it.

    As long as no part of the body leaves the crop, every loss of an offset moved likewise is the same. References stay.
    """
    K = batch.K.clone()
    K[:, 0, 2] += columns_px
    K[:, 1, 2] += rows_px
    size = batch.base_depth.shape[-1]
    content: dict[str, Any] = {
        name: _shifted(getattr(batch, name), rows_px, columns_px, size)
        for name in ("inputs", "target", "photo_depth", "base_depth", "motion", "valid", *batch.known_maps)
    }
    return replace(batch, K=K, **content)


def _shifted(values: Tensor, rows_px: int, columns_px: int, map_px: int) -> Tensor:
    """(..., H, W) moved down and to the right by map pixels; zeros come in."""
    scale = values.shape[-1] // map_px
    moved_values = torch.roll(values, (rows_px * scale, columns_px * scale), (-2, -1))
    for axis, step in ((-2, rows_px * scale), (-1, columns_px * scale)):
        if step:
            side = values.shape[axis]
            moved_values.narrow(axis, 0 if step > 0 else side + step, abs(step)).zero_()
    return moved_values


def drawn_shift(batch: Batch, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """Whole map pixels down and to the right: uniform within `share` of the side and what keeps the body inside."""
    shift = []
    for window, side in zip(batch.body_window, batch.base_depth.shape[-2:]):
        limit = int(share * side)
        low, high = max(-limit, -window.start), min(limit, side - min(window.stop, side))
        shift.append(int(rng.integers(low, high + 1)))
    return shift[0], shift[1]
