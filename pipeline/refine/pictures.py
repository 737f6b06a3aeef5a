"""A track's pictures at one resolution, cut to the body: what points are sampled from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.refine.track_frames import Pictures

MAX_LEVEL_BYTES = 128 * 10**6
"""Of a level's pictures that are held: all of 400 frames at 512, where a body fills the crop."""

BLUR_PX = 0.5
MARGIN_SHARE = 0.08
"""Of the body's box, on every side: what corrections may still move it by."""
DARKEST = 0.1
"""Added before the logarithm, of white: below it, noise matters more than light."""

TONE = np.log(np.arange(256, dtype=np.float32) / np.float32(255) + np.float32(DARKEST))
"""What a byte counts as: log(I + 0.1), in which a change of light is a bias."""


@dataclass(frozen=True, slots=True, eq=False)
class LevelPicture:
    """One frame's picture at one resolution, and the camera that belongs to the part that was kept."""

    picture: np.ndarray
    """(h, w, 3) uint8."""
    lens: np.ndarray
    """(4,) [f_x, f_y, c_x, c_y] in its pixels."""


def level_picture(picture: np.ndarray, camera: Camera, side_px: int, body_px: np.ndarray) -> LevelPicture:
    """A picture (S, S, 3) uint8 resized to side_px, blurred by BLUR_PX and cut to the box of the body.

    `camera` is the picture's; body_px (V, 2) are pixels of the body in it, or the corners of their box. Where a pixel
    is not an average of several (side_px at or above the picture's own), the picture is only blurred.
    """
    scaled = camera.resized((side_px, side_px))
    small = cv2.resize(
        picture,
        (side_px, side_px),
        interpolation=cv2.INTER_AREA if side_px < len(picture) else cv2.INTER_LINEAR,
    )
    small = cv2.GaussianBlur(small, (0, 0), BLUR_PX)
    box = body_px * (side_px / camera.hw[1])
    low, high = np.nanmin(box, axis=0), np.nanmax(box, axis=0)
    margin = MARGIN_SHARE * float((high - low).max()) + 4
    left, top = np.clip(np.floor(low - margin), 0, side_px - 1).astype(int)
    right, bottom = np.clip(np.ceil(high + margin), 1, side_px).astype(int)
    part = small[top : max(bottom, top + 1), left : max(right, left + 1)]
    return LevelPicture(np.ascontiguousarray(part), scaled.lens - [0, 0, left, top])


class LevelPictures:
    """The pictures of a track's T frames at one resolution, each cut to its body's box.

    Those of the first frames are held, up to `max_bytes`; the others are made again whenever they are asked for, which
    takes 3 ms. Frames are gone through in their order, over and over: holding the latest would never find one.
    """

    def __init__(
        self,
        pictures: Pictures,
        cameras: Sequence[Camera],
        boxes_px: Sequence[np.ndarray],
        side_px: int,
        max_bytes: int = MAX_LEVEL_BYTES,
    ) -> None:
        """`boxes_px`: (2, 2) corners of each frame's body in its crop, upper left and lower right."""
        self._pictures, self._cameras, self._boxes_px = pictures, cameras, boxes_px
        self._side_px, self._bytes_left = side_px, max_bytes
        self._held: dict[int, LevelPicture] = {}

    def __len__(self) -> int:
        return len(self._cameras)

    def __getitem__(self, at: int) -> LevelPicture:
        if at in self._held:
            return self._held[at]
        made = level_picture(self._pictures(at), self._cameras[at], self._side_px, self._boxes_px[at])
        if made.picture.nbytes <= self._bytes_left:
            self._held[at] = made
            self._bytes_left -= made.picture.nbytes
        return made
