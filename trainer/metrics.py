"""How far a depth map is from the truth (method, section 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.errors import DatasetError
from trainer.surfaces import normals

SEARCH_M = 0.20
MIN_PIXELS = 100
DETAIL_PX = 4.0
"""Standard deviation of the Gaussian above which an error is no detail: 3 cm on a person 4.4 m away."""


@dataclass(frozen=True, kw_only=True)
class DepthErrors:
    """Errors of one depth map, or their means over several, after one offset per image."""

    mae_mm: float
    mae_scaled_mm: float
    """After one offset and one scale."""
    rmse_mm: float
    normals_deg: float
    """Mean angle between normals."""
    detail_mm: float
    """Mean absolute error of what is finer than DETAIL_PX: of depth less its mean over a Gaussian, on the body."""
    below_2cm: float
    """Share of pixels that err by less."""
    below_5cm: float


def depth_errors(
    depth: NDArray[np.floating], truth: NDArray[np.floating], K: NDArray[np.floating]
) -> DepthErrors:
    """Errors over the pixels that both know. depth, truth (H, W) metres, 0 = unknown; K (3, 3) at (H, W).

    The offset aligns the medians and is then the best constant within +-SEARCH_M for the mean absolute error, which is
    the median of what is left, cut to that range. The scale is the least-squares one.
    """
    both = (depth > 0) & (truth > 0)
    if both.sum() < MIN_PIXELS:
        raise DatasetError(
            f"prediction and truth share {both.sum()} pixels, fewer than {MIN_PIXELS}.",
            remedy="Give the truth in the same crop.",
        )
    found, true = depth[both].astype(np.float64), truth[both].astype(np.float64)
    error = found - true - best_offset(found, true)
    variance = np.var(found)
    scale = np.mean((found - found.mean()) * (true - true.mean())) / variance if variance > 1e-12 else 1.0
    scaled = scale * found - true
    fine = detail(np.where(both, depth.astype(np.float64) - truth, 0), both)
    angle = _normal_angles_deg(np.where(both, depth, 0), np.where(both, truth, 0), K)
    return DepthErrors(
        mae_mm=1000 * float(np.abs(error).mean()),
        mae_scaled_mm=1000 * float(np.abs(scaled - np.median(scaled)).mean()),
        rmse_mm=1000 * float(np.sqrt((error**2).mean())),
        normals_deg=float(angle.mean()) if angle.size else float("nan"),
        detail_mm=1000 * float(np.abs(fine[both]).mean()),
        below_2cm=float((np.abs(error) < 0.02).mean()),
        below_5cm=float((np.abs(error) < 0.05).mean()),
    )


def mean_errors(errors: Sequence[DepthErrors]) -> DepthErrors:
    """Every image weighs the same."""
    names = [field.name for field in fields(DepthErrors)]
    return DepthErrors(**{name: float(np.mean([getattr(each, name) for each in errors])) for name in names})


def best_offset(found: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    """Metres that `found` lies behind `true`: the medians' difference, plus at most SEARCH_M."""
    medians = float(np.median(found) - np.median(true))
    return medians + float(np.clip(np.median(found - true - medians), -SEARCH_M, SEARCH_M))


def detail(depth: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(H, W) d - (G d) / (G 1), G a Gaussian of DETAIL_PX over the pixels of mask alone; 0 elsewhere.

    Linear: the detail of an error is the error of the detail.
    """
    weight = mask.astype(np.float64)
    sums, total = (
        cv2.GaussianBlur(values, (0, 0), DETAIL_PX, borderType=cv2.BORDER_CONSTANT)
        for values in (weight * depth, weight)
    )
    return np.where(mask, depth - sums / np.maximum(total, 1e-12), 0.0)


def _normal_angles_deg(
    depth: NDArray[np.floating], truth: NDArray[np.floating], K: NDArray[np.floating]
) -> NDArray[np.float64]:
    found, true = normals(depth, K), normals(truth, K)
    known = found.any(axis=-1) & true.any(axis=-1)
    cosine: NDArray[np.float64] = (found * true).sum(axis=-1)[known]
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))
