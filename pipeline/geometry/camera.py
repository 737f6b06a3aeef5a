"""Pinhole cameras. A K never travels without the image size it belongs to.

Axes x right, y down, z forward, metres; pixel centres at +0.5 (see `schemas.conventions`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.array_types import Floats, Reals


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """Intrinsics and the image size (h, w) they belong to."""

    K: Floats
    """(3, 3) float64, zero skew."""
    hw: tuple[int, int]

    def __post_init__(self) -> None:
        K = np.asarray(self.K, dtype=np.float64)
        if K.shape != (3, 3) or not np.isfinite(K).all() or K[0, 0] <= 0 or K[1, 1] <= 0:
            raise ValueError(f"K must be a finite (3, 3) matrix with positive focal lengths, got {K!r}")
        if K[0, 1] != 0 or K[1, 0] != 0 or (K[2] != (0.0, 0.0, 1.0)).any():
            raise ValueError(
                f"K must have no skew and a last row (0, 0, 1), got {K!r}; rectify the image first"
            )
        hw = (int(self.hw[0]), int(self.hw[1]))
        if min(hw) < 1:
            raise ValueError(f"hw must be a positive image size (h, w), got {self.hw!r}")
        object.__setattr__(self, "K", K)
        object.__setattr__(self, "hw", hw)

    @property
    def lens(self) -> Floats:
        """[f_x, f_y, c_x, c_y] in pixels: K without its constants, as compiled kernels take it."""
        return np.array([self.K[0, 0], self.K[1, 1], self.K[0, 2], self.K[1, 2]])

    def px_from_cam(self, points: Reals) -> Floats:
        """Pixels (..., 2) of camera points (..., 3): (u, v) = (f_x x / z + c_x, f_y y / z + c_y).

        Points with z <= 0 have no image; they come back as NaN.
        """
        points = np.asarray(points, dtype=np.float64)
        z = np.where(points[..., 2] > 0, points[..., 2], np.nan)
        u = self.K[0, 0] * points[..., 0] / z + self.K[0, 2]
        v = self.K[1, 1] * points[..., 1] / z + self.K[1, 2]
        return np.stack([u, v], axis=-1)

    def cam_from_px(self, px: Reals, depth: Reals) -> Floats:
        """Camera points (..., 3) of pixels (..., 2) at depth z (...,): z K^-1 (u, v, 1)."""
        px, z = np.asarray(px, dtype=np.float64), np.asarray(depth, dtype=np.float64)
        x = (px[..., 0] - self.K[0, 2]) / self.K[0, 0] * z
        y = (px[..., 1] - self.K[1, 2]) / self.K[1, 1] * z
        return np.stack([x, y, z], axis=-1)

    def resized(self, hw: tuple[int, int]) -> Camera:
        """The same camera at another resolution: rows of K scale, nothing is added (centres at +0.5)."""
        scale = np.array([hw[1] / self.hw[1], hw[0] / self.hw[0], 1.0])
        return Camera(self.K * scale[:, None], hw)

    def cropped(self, crop_px: Reals, side_px: int) -> Camera:
        """The camera of a square crop (centre u, centre v, side in this image) resampled to side_px.

        The optical centre and the axes stay: camera coordinates are the same, so geometry agrees exactly.
        """
        centre_u, centre_v, side = (float(value) for value in crop_px)
        scale = side_px / side
        crop_from_image = np.array(
            [
                [scale, 0.0, (side / 2 - centre_u) * scale],
                [0.0, scale, (side / 2 - centre_v) * scale],
                [0.0, 0.0, 1.0],
            ]
        )
        return Camera(crop_from_image @ self.K, (side_px, side_px))


def translation_from_weak_perspective(weak: Reals, camera: Camera) -> Floats:
    """Translation (..., 3) in metres of weak-perspective numbers (..., 3) = [s, tx, ty] in this camera.

    Weak perspective places x2d = s (X_xy + [tx, ty]) in [-1, 1] of a square image of side L. The perspective
    translation with the same image at the body's origin is

        Z = f / (0.5 L s),  X = tx - (c_x - L/2) Z / f,  Y = ty - (c_y - L/2) Z / f,

    which is [tx, ty, f / (0.5 L s)] where the principal point is the centre (method, section 1).
    """
    weak = np.asarray(weak, dtype=np.float64)
    side, focal, centre = _square_side(camera), camera.K[0, 0], camera.K[:2, 2]
    z = focal / (0.5 * side * weak[..., 0])
    xy = weak[..., 1:3] - (centre - side / 2) * (z / focal)[..., None]
    return np.concatenate([xy, z[..., None]], axis=-1)


def weak_perspective_from_translation(translation: Reals, camera: Camera) -> Floats:
    """The inverse of `translation_from_weak_perspective`: [s, tx, ty] (..., 3) of metres (..., 3)."""
    translation = np.asarray(translation, dtype=np.float64)
    side, focal, centre = _square_side(camera), camera.K[0, 0], camera.K[:2, 2]
    z = translation[..., 2]
    xy = translation[..., :2] + (centre - side / 2) * (z / focal)[..., None]
    return np.concatenate([(focal / (0.5 * side * z))[..., None], xy], axis=-1)


def _square_side(camera: Camera) -> float:
    if camera.hw[0] != camera.hw[1] or not np.isclose(camera.K[0, 0], camera.K[1, 1]):
        raise ValueError(f"weak perspective needs a square image and one focal length, got {camera!r}")
    return float(camera.hw[0])
