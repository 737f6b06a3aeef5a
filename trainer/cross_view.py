"""How well a depth map explains what a second calibrated camera saw: contrast and structure, and the outline."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.prediction import Placement
from trainer.views import CalibratedCamera

LUMA = np.array([0.299, 0.587, 0.114])
WINDOW_PX = 1.5
"""Standard deviation of the comparison's Gaussian window, pixels of a crop of 256."""
SSIM_CONSTANT = 0.03**2
MIN_SHARE = 0.35
"""Share of a window that must be seen for its comparison to count."""
SURFACE_M = 0.03
"""A point hidden by less counts as seen."""
MIN_COSINE = 0.25
"""Surface that is seen more obliquely does not count."""
OUTLINE_PX = 2.0
"""Tolerance of the second camera's outline."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossing:
    """One instant ready for comparison: the crop's rays and greys in the first camera, and the second's picture."""

    rays: NDArray[np.float64]
    """(H, W, 3) of the crop's pixels in the first camera, z = 1."""
    grey: NDArray[np.float64]
    """(H, W) of the first picture at those; NaN beyond its border."""
    px_per_px: float
    """Pixels of the first picture per pixel of the crop."""
    window_px: float
    """Standard deviation of the comparison's window, in pixels of the maps here."""
    first: CalibratedCamera
    second: CalibratedCamera
    other_grey: NDArray[np.float32]
    """The second picture, as coarse as the crop, colours matched."""
    outline_px: NDArray[np.float32] | None
    """Of every pixel of the second picture, how far outside of the person it lies; None without a silhouette."""

    @classmethod
    def of(
        cls,
        placement: Placement,
        side_px: int,
        cameras: tuple[CalibratedCamera, CalibratedCamera],
        pictures: tuple[NDArray[np.uint8], NDArray[np.uint8]],
        silhouette: NDArray[np.bool_] | None,
        part: tuple[slice, slice],
    ) -> Crossing:
        """Of a part (rows, columns) of a crop that lies in the first picture as `placement` says."""
        first, second = cameras
        per_px = float(placement.crop_px[2]) / side_px
        v, u = np.mgrid[part] + 0.5
        place = np.linalg.inv(placement.crop_from_picture(side_px))
        px = np.stack([u, v], axis=-1) * place[[0, 1], [0, 1]] + place[:2, 2]
        greys = [_blurred(picture, per_px, camera) for picture, camera in zip(pictures, cameras)]
        outline = None
        if silhouette is not None:
            outline = cv2.distanceTransform((~silhouette).astype(np.uint8), cv2.DIST_L2, 5)
        return cls(
            rays=first.rays(px),
            grey=_sampled(greys[0], px),
            px_per_px=per_px,
            window_px=WINDOW_PX * side_px / 256,
            first=first,
            second=second,
            other_grey=greys[1],
            outline_px=outline,
        )

    def coarser(self, factor: int) -> Crossing:
        """Every `factor`-th pixel of pictures that are blurred to match."""
        sigma = 0.45 * factor * self.px_per_px
        return Crossing(
            rays=self.rays[::factor, ::factor],
            grey=_nan_blurred(self.grey, 0.45 * factor)[::factor, ::factor],
            px_per_px=self.px_per_px * factor,
            window_px=self.window_px,
            first=self.first,
            second=self.second,
            other_grey=np.asarray(cv2.GaussianBlur(self.other_grey, (0, 0), sigma), np.float32),
            outline_px=self.outline_px,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """What a depth map explains of the second picture."""

    structure: NDArray[np.float64]
    """(H, W) contrast and structure of SSIM where `seen`; 0 elsewhere."""
    seen: NDArray[np.bool_]
    """(H, W): lifted pixels that the second camera sees, with enough of their surroundings to compare."""
    inside: float
    """Share of all lifted pixels that fall on the person in the second picture; NaN without a silhouette."""


def explained(depth_m: NDArray[np.floating], crossing: Crossing) -> Explained:
    """Of a depth map (H, W) in metres along the first camera's z, 0 where nothing is known.

    Every pixel is lifted along its own true ray, moved into the second camera and compared with what lies there:
    cs = (2 s_ab + c) / (s_a^2 + s_b^2 + c) over a Gaussian window of seen pixels. A pixel is seen where the surface
    itself does not hide it (splatted z-buffer) and is not too oblique. Source: Tan et al.'s SSIM_cs; our decision.
    """
    R, t = crossing.second.from_other(crossing.first)
    points = np.where(depth_m > 0, depth_m, np.nan)[..., None] * crossing.rays @ R.T + t
    px = crossing.second.px_from_cam(points)
    seen = _seen(points, px, crossing)
    other = _sampled(crossing.other_grey, px)
    seen &= np.isfinite(crossing.grey) & np.isfinite(other)
    structure, counted = _structure(crossing.grey, other, seen, crossing.window_px)
    inside = float("nan")
    if crossing.outline_px is not None:
        inside = _inside(px[depth_m > 0], crossing.outline_px)
    return Explained(structure=np.where(counted, structure, 0.0), seen=counted, inside=inside)


def _seen(points: NDArray[np.float64], px: NDArray[np.float64], crossing: Crossing) -> NDArray[np.bool_]:
    """(H, W) bool: inside the second picture, not too oblique, and not hidden by the surface itself."""
    height, width = crossing.second.hw
    known = np.asarray(np.isfinite(px).all(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        normal = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        cosine = np.abs((normal * points).sum(-1)) / np.linalg.norm(points, axis=-1)
        faces = (normal * points).sum(-1) < 0  # down x right points towards the camera on what it sees
        inside = known & ((px >= 0.5) & (px <= np.array([width, height]) - 0.5)).all(-1)
    seen = np.asarray(inside & faces & (cosine > MIN_COSINE))
    cell = max(2.0, 1.15 * crossing.px_per_px * crossing.second.K[0, 0] / crossing.first.K[0, 0])
    column, row = (np.where(inside, px[..., axis] / cell, 0).astype(np.int64) + 1 for axis in (0, 1))
    nearest = np.full((int(height / cell) + 3, int(width / cell) + 3), np.inf)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            np.minimum.at(nearest, (row[inside] + down, column[inside] + right), points[inside, 2])
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = np.sqrt(np.clip(1 - cosine**2, 0, 1)) / np.clip(cosine, 0.1, 1)
        slack = SURFACE_M + 1.5 * cell * points[..., 2] / crossing.second.K[0, 0] * slope
        seen &= points[..., 2] <= nearest[row, column] + slack
    return np.asarray(seen)


def _structure(
    a: NDArray[np.float64], b: NDArray[np.float64], seen: NDArray[np.bool_], sigma: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """cs over Gaussian windows of the pixels that are seen, and where enough of a window is."""
    weight = cv2.GaussianBlur(seen.astype(np.float64), (0, 0), sigma)
    safe = np.maximum(weight, 1e-6)
    a, b = np.where(seen, a, 0.0), np.where(seen, b, 0.0)
    ma, mb, maa, mbb, mab = (
        cv2.GaussianBlur(values, (0, 0), sigma) / safe for values in (a, b, a * a, b * b, a * b)
    )
    contrast = np.maximum(maa - ma * ma, 0) + np.maximum(mbb - mb * mb, 0)
    return (2 * (mab - ma * mb) + SSIM_CONSTANT) / (contrast + SSIM_CONSTANT), seen & (weight > MIN_SHARE)


def _inside(px: NDArray[np.float64], outline_px: NDArray[np.float32]) -> float:
    height, width = outline_px.shape
    known = np.asarray(np.isfinite(px).all(axis=1))
    column, row = np.floor(np.where(known[:, None], px, -1)).astype(np.int64).T
    shown = known & (column >= 0) & (row >= 0) & (column < width) & (row < height)
    far = outline_px[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return float((shown & (far <= OUTLINE_PX)).mean()) if len(px) else float("nan")


def _blurred(picture: NDArray[np.uint8], per_px: float, camera: CalibratedCamera) -> NDArray[np.float32]:
    """(H, W) greys in [0, 1] of a picture, as coarse as a crop with `per_px` of its pixels in one."""
    grey = ((picture.astype(np.float32) / 255 * camera.gain + camera.bias) @ LUMA).astype(np.float32)
    sigma = 0.45 * per_px
    return grey if sigma < 0.2 else np.asarray(cv2.GaussianBlur(grey, (0, 0), sigma), np.float32)


def _nan_blurred(grey: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    known = np.isfinite(grey)
    weight = cv2.GaussianBlur(known.astype(np.float64), (0, 0), sigma)
    values = cv2.GaussianBlur(np.where(known, grey, 0.0), (0, 0), sigma) / np.maximum(weight, 1e-6)
    return np.where(known, values, np.nan)


def _sampled(grey: NDArray[np.float32], px: NDArray[np.float64]) -> NDArray[np.float64]:
    """(...) bilinear greys at pixels (..., 2), whose centres lie at +0.5; NaN beyond the outermost centres."""
    height, width = grey.shape
    with np.errstate(invalid="ignore"):
        inside = np.asarray(((px >= 0.5) & (px <= np.array([width, height]) - 0.5)).all(-1))
    at = np.where(inside[..., None], px - 0.5, 0.0).astype(np.float32)
    values = cv2.remap(grey, at[..., 0], at[..., 1], cv2.INTER_LINEAR)
    return np.where(inside, values, np.nan)
