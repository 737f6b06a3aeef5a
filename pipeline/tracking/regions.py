"""The square, rotated region of the image a landmark network looks at. Pixels (u, v), centres at +0.5."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.geometry.array_types import Floats

REGION_SCALE = 1.25
"""Side of the region over the diameter of the circle that two key points describe (MediaPipe's pose graph)."""
CIRCLE_SHARE = 1.1
"""Radius of the circle the landmark network expects, over the distance of the pelvis' farthest joint."""
PELVIS, NECK = 0, 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """A square of the image: its centre, side and rotation (radians, clockwise as seen, 0 = upright)."""

    centre_px: np.ndarray
    """(2,) float64."""
    side_px: float
    rotation_rad: float

    @classmethod
    def from_keypoints(cls, centre_px: np.ndarray, circle_px: np.ndarray) -> Region:
        """The region of a body circle: centre c, point p on the circle above the head.

            side = 2.5 |p - c|,   rotation = pi/2 - atan2(-(p - c)_v, (p - c)_u)   in (-pi, pi]

        so that p lies straight above c inside the region.
        """
        centre = np.asarray(centre_px, dtype=np.float64)
        towards = np.asarray(circle_px, dtype=np.float64) - centre
        rotation = np.pi / 2 - np.arctan2(-towards[1], towards[0])
        rotation -= 2 * np.pi * np.ceil((rotation - np.pi) / (2 * np.pi))
        return cls(
            centre_px=centre,
            side_px=2 * REGION_SCALE * float(np.hypot(*towards)),
            rotation_rad=float(rotation),
        )

    @classmethod
    def from_joints(cls, px: np.ndarray, hw: tuple[int, int]) -> Region | None:
        """The region of a body whose joints (24, 2) are known, in a picture of hw: its trunk stands upright in it.

        None where no joint lies in the picture, or the body is a point.
        """
        if not np.isfinite(px).all() or not ((px > 0) & (px < [hw[1], hw[0]])).all(axis=-1).any():
            return None
        radius = CIRCLE_SHARE * float(np.linalg.norm(px - px[PELVIS], axis=-1).max())
        up = px[NECK] - px[PELVIS]
        length = float(np.linalg.norm(up))
        towards = up / length if length > 0.1 * radius else np.array([0.0, -1.0])
        return cls.from_keypoints(px[PELVIS], px[PELVIS] + radius * towards) if radius > 1 else None

    def image_from_crop(self, crop_px: int) -> np.ndarray:
        """(2, 3) affine map of continuous pixels of a crop_px square to pixels of the image:

        p = c + (side / n) R(rotation) (q - n / 2), R(a) = [[cos a, -sin a], [sin a, cos a]].
        """
        scale = self.side_px / crop_px
        cos, sin = scale * np.cos(self.rotation_rad), scale * np.sin(self.rotation_rad)
        linear = np.array([[cos, -sin], [sin, cos]])
        offset = self.centre_px - linear @ np.full(2, crop_px / 2)
        return np.concatenate([linear, offset[:, None]], axis=1)

    def window(self, hw: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a picture of hw that hold every pixel which `sample` reads of it; they may be empty.

        Those under the square and two more on each side: between two pixels it interpolates.
        """
        corners = transform(
            self.image_from_crop(1), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        )
        low, high = np.floor(corners.min(axis=0)) - 2.0, np.ceil(corners.max(axis=0)) + 2.0
        (left, top), (right, bottom) = (
            np.clip(each, 0.0, hw[::-1]).astype(int).tolist() for each in (low, high)
        )
        return slice(top, bottom), slice(left, right)

    def distance(self, other: Region) -> float:
        """Distance of the centres in sides of the larger region."""
        return float(np.hypot(*(self.centre_px - other.centre_px))) / max(self.side_px, other.side_px)


def transform(affine: Floats, points: Floats) -> Floats:
    """Points (..., 2) through an affine map (2, 3)."""
    return points @ affine[:, :2].T + affine[:, 2]


def invert(affine: np.ndarray) -> np.ndarray:
    """The inverse of affine maps (..., 2, 3)."""
    linear = np.linalg.inv(affine[..., :2])
    return np.concatenate([linear, -linear @ affine[..., 2:]], axis=-1)


def sample(image: np.ndarray, image_from_crop: np.ndarray, crop_px: int) -> np.ndarray:
    """The crop (crop_px, crop_px, ...) that an affine map cuts out of an image; outside it is zero.

    cv2 counts pixels from their centres, we from their corners, hence the half pixels.
    """
    index_map = image_from_crop.copy()
    index_map[:, 2] += index_map[:, :2].sum(axis=1) / 2 - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop: np.ndarray = cv2.warpAffine(
        image, index_map, (crop_px, crop_px), flags=flags, borderMode=cv2.BORDER_CONSTANT
    )
    return crop
