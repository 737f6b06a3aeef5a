"""A predicted surface seen from a camera that swings from side to side, as an animated GIF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.prediction import Prediction
from trainer.surfaces import surface_points

FRAMES = 24
SWING_DEG = 35.0
SPLAT_PX = 2


def turntable(prediction: Prediction, image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(FRAMES, H, W, 3) uint8: the points drawn nearest last, turned by +-SWING_DEG about the body's vertical axis."""
    mask = prediction.depth_m > 0
    points = surface_points(prediction.depth_m, prediction.K)[mask]
    colours = np.rint(255 * image[mask]).astype(np.uint8)
    centre = np.median(points, axis=0)
    angles = np.radians(SWING_DEG) * np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)
    return np.stack([_drawn(points, colours, centre, angle, prediction.K, mask.shape) for angle in angles])


def _drawn(
    points: NDArray[np.float64],
    colours: NDArray[np.uint8],
    centre: NDArray[np.float64],
    angle: float,
    K: NDArray[np.floating],
    hw: tuple[int, ...],
) -> NDArray[np.uint8]:
    cos, sin = np.cos(angle), np.sin(angle)
    turned = (points - centre) @ np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]).T + centre
    order = np.argsort(-turned[:, 2])
    px = turned[order] @ K.T
    column, row = np.floor(px[:, :2] / px[:, 2:]).astype(int).T
    frame = np.full((*hw, 3), 255, np.uint8)
    for down in range(SPLAT_PX):
        for right in range(SPLAT_PX):
            v, u = row + down, column + right
            inside = (v >= 0) & (v < hw[0]) & (u >= 0) & (u < hw[1])
            frame[v[inside], u[inside]] = colours[order][inside]
    return frame


def write_turntable(path: Path, frames: NDArray[np.uint8]) -> None:
    """An endless GIF, 12 frames a second."""
    from PIL import Image

    first, *rest = [Image.fromarray(frame).quantize(128) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=83, loop=0)
