"""Square crops of a person: stable over a track, exact in geometry, free of aliasing. Pixel centres at +0.5."""

from __future__ import annotations

import math

import cv2
import numpy as np

from pipeline.geometry.array_types import Bytes, Floats
from pipeline.video.picture_parts import Box, PicturePart
from schemas.errors import DecodeError

SMOOTHING_S = 0.5
"""Half the width of the window (a raised cosine, so 0.5 s at half height) that crops are smoothed over."""
MOST_AT_ONCE_PX = 2**20
"""Of a picture whose channels are warped together; of larger ones each by itself: floats of a 4K frame take 100 MB,
blurred ones as much again."""


def smooth_crops(box_px: np.ndarray, pts_s: np.ndarray, margin: float) -> np.ndarray:
    """Crops (T, 3) = centre u, centre v, side in pixels from boxes (T, 4) = left, top, right, bottom.

    With w_ij the raised cosine of (t_j - t_i) / SMOOTHING_S times the time frame j stands for:
    centre_i is the value at t_i of the line fitted to the boxes' centres with weights w_ij, so a person who walks
    evenly is followed without lag, at the ends of the track too. side_i is the w-weighted mean of `margin` times the
    boxes' longer sides, or, where that would cut the box, of the running maximum of what the boxes need; the mean
    of a running maximum over the same window is never below its values. Everything is in seconds, so 24, 30 and
    60 fps give the same crops.
    """
    box, pts = np.asarray(box_px, dtype=np.float64), np.asarray(pts_s, dtype=np.float64)
    if box.ndim != 2 or box.shape[1] != 4 or pts.shape != (len(box),) or not np.isfinite(box).all():
        raise ValueError(f"boxes must be finite (T, 4) with T times, got {box.shape} and {pts.shape}")
    if (box[:, 2:] <= box[:, :2]).any() or (np.diff(pts) <= 0).any() or margin < 1:
        raise ValueError(
            f"boxes must have an area, times must increase and margin {margin!r} must be at least 1"
        )
    if not len(box):
        return np.zeros((0, 3))
    lag = pts[None, :] - pts[:, None]
    inside = np.abs(lag) < SMOOTHING_S
    weight = np.where(inside, 0.5 + 0.5 * np.cos(np.pi * lag / SMOOTHING_S), 0.0) * _frame_times(pts)
    weight /= weight.sum(axis=1, keepdims=True)

    centre = _local_lines(0.5 * (box[:, :2] + box[:, 2:]), lag, weight)
    needed = 2.0 * np.maximum(centre - box[:, :2], box[:, 2:] - centre).max(axis=1)
    running = np.where(inside, needed[None, :], 0.0).max(axis=1)
    wanted = margin * (box[:, 2:] - box[:, :2]).max(axis=1)
    side = np.maximum(weight @ wanted, weight @ running)
    return np.column_stack([centre, np.maximum(side, needed)])  # `needed` again: sums round


def crop_image(image: np.ndarray, crop_px: np.ndarray, side_px: int) -> np.ndarray:
    """The square crop (centre u, centre v, side) of an image (H, W, 3) resampled to (side_px, side_px, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    return crop_part(PicturePart.whole(image), crop_px, side_px)


def needed_box(hw: tuple[int, int], crop_px: np.ndarray, side_px: int) -> Box:
    """The pixels of a picture of hw that `crop_part` reads; it may be empty."""
    centre_u, centre_v, side = (float(value) for value in crop_px)
    reach = math.ceil(4.0 * _blur_sigma(side / side_px)) + 2
    left, top = centre_u - side / 2, centre_v - side / 2
    rows = _clipped(math.floor(top) - reach, math.ceil(top + side) + reach, hw[0])
    columns = _clipped(math.floor(left) - reach, math.ceil(left + side) + reach, hw[1])
    return Box(rows.start, rows.stop, columns.start, columns.stop)


def crop_part(part: PicturePart, crop_px: np.ndarray, side_px: int) -> np.ndarray:
    """The square crop (centre u, centre v, side) of a picture resampled to (side_px, side_px, 3) uint8; `part` holds at
    least its `needed_box`.

    Output pixel centre j + 0.5 shows the image at (j + 0.5) side / side_px + centre - side / 2: the map of
    `Camera.cropped`. Bilinear; when shrinking by k > 1 after a Gaussian of sigma sqrt(k^2 - 1) / 2, which brings the
    source's half-pixel blur to that of the output. Outside the image is black.
    """
    centre_u, centre_v, side = (float(value) for value in crop_px)
    if not side > 0 or side_px < 1:
        raise ValueError(f"expected positive sides, got {side!r}, {side_px!r}")
    step = side / side_px
    box = needed_box(part.picture_hw, crop_px, side_px)
    if box.is_empty:
        return np.zeros((side_px, side_px, 3), dtype=np.uint8)
    left, top = centre_u - side / 2, centre_v - side / 2
    # cv2 numbers pixel centres 0, 1, ...: half a step on the output's side, half a pixel on the input's.
    part_from_crop = np.array(
        [
            [step, 0.0, 0.5 * step + left - box.left - 0.5],
            [0.0, step, 0.5 * step + top - box.top - 0.5],
        ]
    )
    whole = part[box]
    at_once = 3 if whole.shape[0] * whole.shape[1] <= MOST_AT_ONCE_PX else 1
    crop = np.empty((side_px, side_px, 3), np.uint8)
    for first in range(0, 3, at_once):
        channels = np.s_[..., first : first + at_once]
        values = whole[channels].astype(np.float32)  # the warp is exact in float, not in uint8
        resampled = _resampled(values, _blur_sigma(step), part_from_crop, side_px)
        crop[channels] = resampled.reshape(side_px, side_px, at_once)
    return crop


def _blur_sigma(step: float) -> float:
    return 0.5 * math.sqrt(max(step**2 - 1.0, 0.0))


def _resampled(part: np.ndarray, sigma: float, part_from_crop: np.ndarray, side_px: int) -> np.ndarray:
    """(side_px, side_px[, C]) uint8 of a picture (h, w, C) float32, blurred and warped."""
    if sigma > 0.1:
        size = (2 * math.ceil(4.0 * sigma) + 1,) * 2
        part = cv2.GaussianBlur(part, size, sigma, borderType=cv2.BORDER_CONSTANT)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(
        part, part_from_crop, (side_px, side_px), flags=flags, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(cv2.convertScaleAbs(crop))  # rounded, and none is negative


def encode_jpeg(image_rgb: np.ndarray, quality: int) -> bytes:
    """The image (H, W, 3) uint8 RGB as a JPEG file."""
    done, data = cv2.imencode(
        ".jpg", cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise ValueError(f"an image of shape {image_rgb.shape} could not be encoded as JPEG")
    return data.tobytes()


def decode_image(data: bytes) -> Bytes:
    """(H, W, 3) uint8 RGB from the bytes of a JPEG or PNG file. Raises DecodeError."""
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise DecodeError(f"{len(data)} bytes are not an image.", remedy="Give a JPEG or PNG file.")
    picture: Bytes = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return picture


def _frame_times(pts: Floats) -> Floats:
    """(T,) seconds that each frame stands for (trapezoids): half of the way to both neighbours."""
    if len(pts) == 1:
        return np.ones(1)
    gap = np.diff(pts)
    return 0.5 * (np.append(gap, 0.0) + np.insert(gap, 0, 0.0))


def _local_lines(values: Floats, lag: Floats, weight: Floats) -> Floats:
    """(T, C) values at lag 0 of weighted least-squares lines; the weighted mean where a line is not determined."""
    mean_lag = (weight * lag).sum(axis=1)
    mean = weight @ values
    spread = (weight * lag**2).sum(axis=1) - mean_lag**2
    covariance = (weight * lag) @ values - mean_lag[:, None] * mean
    is_line = spread > 1e-12
    slope = np.where(is_line[:, None], covariance / np.where(is_line, spread, 1.0)[:, None], 0.0)
    return np.asarray(mean - slope * mean_lag[:, None])


def _clipped(start: int, stop: int, size: int) -> slice:
    return slice(min(max(start, 0), size), min(max(stop, 0), size))
