"""A track's pictures at one resolution, cut to the body: what points are sampled from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.refine.track_frames import TrackFrames

MAX_BYTES = 128 * 10**6
"""Of a track's pictures that are held: all of 190 frames where a body fills the crop, else of one level at a time."""
PART_SHARE = 0.8
"""Of those bytes for the parts that levels are made from; the levels below them take a quarter as much."""

BLUR_PX = 0.5
MARGIN_SHARE, MARGIN_PX = 0.12, 8
"""Around the body's box: a share of its longer side, which corrections may move it by, and pixels for coarse levels."""
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


@dataclass(frozen=True, slots=True)
class Part:
    """A rectangle of a picture whose edges lie on pixels at every level."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def around(cls, box_px: np.ndarray, size_px: int, step_px: int) -> Part:
        """About a box (2, 2), upper left and lower right corner, of a body in a square picture."""
        low, high = np.nan_to_num(box_px, nan=0.0)
        margin = MARGIN_SHARE * float((high - low).max()) + MARGIN_PX
        last = max(size_px - step_px, 0)
        left, top = np.clip((low - margin) // step_px * step_px, 0, last).astype(int)
        right, bottom = np.clip(-(-(high + margin) // step_px) * step_px, step_px, size_px).astype(int)
        return cls(
            int(left), int(top), max(int(right), int(left) + step_px), max(int(bottom), int(top) + step_px)
        )

    @property
    def byte_count(self) -> int:
        """Of three channels."""
        return 3 * (self.right - self.left) * (self.bottom - self.top)


def level_picture(part: np.ndarray, place: Part, camera: Camera, side_px: int) -> LevelPicture:
    """A part (h, w, 3) uint8 of a picture as it looks in the whole picture resized to side_px, blurred by BLUR_PX.

    `camera` is the whole picture's. Where a pixel is not an average of several (side_px at or above the picture's own),
    the part is only blurred.
    """
    scale = side_px / camera.hw[1]
    if scale != 1:
        size = (round(part.shape[1] * scale), round(part.shape[0] * scale))
        part = cv2.resize(part, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    lens = camera.resized((side_px, side_px)).lens - [0, 0, place.left * scale, place.top * scale]
    return LevelPicture(cv2.GaussianBlur(part, (0, 0), BLUR_PX), lens)


class TrackPictures:
    """The parts of a track's T pictures that show the body, at one resolution after the other.

    Where all parts fit PART_SHARE of `max_bytes`, each picture is asked for once; else as often as `LevelPictures`
    says.
    """

    def __init__(
        self,
        frames: TrackFrames,
        boxes_px: Sequence[np.ndarray],
        levels_px: Sequence[int],
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`boxes_px`: (2, 2) corners of each frame's body in its crop, upper left and lower right."""
        self.frames, self._levels_px, self._max_bytes = frames, levels_px, max_bytes
        size_px = frames.cameras[0].hw[1]
        step_px = math.lcm(*(size_px // math.gcd(size_px, side_px) for side_px in levels_px))
        self.places = [Part.around(box_px, size_px, step_px) for box_px in boxes_px]
        self._parts: dict[int, np.ndarray] = {}
        self._byte_count = sum(place.byte_count for place in self.places)
        self._holds_parts = len(levels_px) > 1 and self._byte_count <= PART_SHARE * max_bytes

    def level(self, side_px: int) -> LevelPictures:
        """The pictures at one resolution. Levels are gone through once, in the order they were given in."""
        is_last = side_px == self._levels_px[-1]
        taken = self._byte_count if self._holds_parts and not is_last else 0
        return LevelPictures(self, side_px, self._max_bytes - taken, is_last=is_last)

    def part(self, at: int, *, is_last: bool) -> np.ndarray:
        """(h, w, 3) uint8; not kept any longer if this is the last time that it is asked for."""
        if at in self._parts:
            return self._parts.pop(at) if is_last else self._parts[at]
        place = self.places[at]
        part = self.frames.pictures(at)[place.top : place.bottom, place.left : place.right]
        if self._holds_parts and not is_last:
            self._parts[at] = np.ascontiguousarray(part)
        return part


class LevelPictures:
    """The pictures of a track's T frames at one resolution, each cut to its body.

    Those of the first frames are held, up to `max_bytes`; the others are made again whenever they are asked for, which
    takes 3 ms. Frames are gone through in their order, over and over: holding the latest would never find one.
    """

    def __init__(self, pictures: TrackPictures, side_px: int, max_bytes: int, *, is_last: bool) -> None:
        self._pictures, self._side_px, self._is_last = pictures, side_px, is_last
        self._bytes_left = max_bytes
        self._held: dict[int, LevelPicture] = {}

    def __len__(self) -> int:
        return len(self._pictures.places)

    def __getitem__(self, at: int) -> LevelPicture:
        if at in self._held:
            return self._held[at]
        part = self._pictures.part(at, is_last=self._is_last)
        camera = self._pictures.frames.cameras[at]
        made = level_picture(part, self._pictures.places[at], camera, self._side_px)
        if made.picture.nbytes <= self._bytes_left:
            self._held[at] = made
            self._bytes_left -= made.picture.nbytes
        return made
