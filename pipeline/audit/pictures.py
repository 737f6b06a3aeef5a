"""Pictures of one sample, drawn from its row alone: nothing is tracked or rendered again.

Every picture is (MAP_PX, MAP_PX, 3) uint8 RGB. Depth is drawn as colour (near bright, far dark, viridis) under a
light from the camera, so that both its value and its surface can be seen.
"""

from __future__ import annotations

from typing import Any

import cv2
import matplotlib
import numpy as np

from pipeline.geometry.array_types import Bytes, Floats
from pipeline.geometry.camera import Camera
from pipeline.video.crops import decode_image
from schemas.conventions import (
    IMAGE_PX,
    MAP_PX,
    VALID_ALL,
    VALID_BASELINE,
    VALID_IN_FRONT,
    VALID_INSIDE,
    VALID_ON_BODY,
    VALID_VISIBLE,
)
from schemas.errors import DecodeError

VALIDITY_COLOURS: dict[str, tuple[int, int, int]] = {
    "valid": (0, 158, 115),
    "hidden in the reference": (213, 94, 0),
    "outside the reference": (86, 180, 233),
    "baseline too small": (240, 228, 66),
    "behind the camera": (204, 121, 167),
}
"""Colours that colour-blind people tell apart (Okabe and Ito)."""


def stored_crop(row: dict[str, Any]) -> np.ndarray:
    """(IMAGE_PX, IMAGE_PX, 3) uint8 RGB: the crop of a target or a reference. Raises DecodeError."""
    picture = decode_image(row["image"])
    if picture.shape[:2] != (IMAGE_PX, IMAGE_PX):
        raise DecodeError(
            f"an image cell holds {picture.shape[1]} x {picture.shape[0]} px, expected {IMAGE_PX} px square.",
            remedy="Run `python -m pipeline dataset verify` on the dataset.",
        )
    return picture


def photo(row: dict[str, Any]) -> Bytes:
    """The crop of a target or a reference at map size."""
    picture: Bytes = cv2.resize(stored_crop(row), (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
    return picture


def depth_picture(depth_m: np.ndarray, camera: Camera, like_m: np.ndarray | None = None) -> np.ndarray:
    """A depth map (H, W) in metres as lit colour; `like_m` fixes the colour range to another map's."""
    mask = depth_m > 0
    picture = np.full((*depth_m.shape, 3), 255, np.uint8)
    if not mask.any():
        return picture
    reference = depth_m if like_m is None else like_m
    low, high = np.percentile(reference[reference > 0], [1, 99])
    nearness = np.clip((high - depth_m) / max(high - low, 1e-6), 0, 1)
    colour = matplotlib.colormaps["viridis"](nearness)[..., :3]
    light = _facing(depth_m, camera)[..., None]
    picture[mask] = np.clip(255 * (colour * (0.25 + 0.75 * light)), 0, 255)[mask].astype(np.uint8)
    return picture


def overlay(row: dict[str, Any]) -> np.ndarray:
    """The base mesh, as the stored depth shows it, over the photo, with its outline."""
    camera = Camera(row["K"], (IMAGE_PX, IMAGE_PX))
    depth = row["input_depth"]
    mask = depth > 0
    picture = stored_crop(row).copy()
    light = _facing(depth, camera)[..., None]
    body = np.array([255.0, 190.0, 120.0]) * (0.2 + 0.8 * light)
    picture[mask] = (0.45 * picture + 0.55 * body)[mask].astype(np.uint8)
    outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outline, -1, (0, 0, 0), 2)
    small: Bytes = cv2.resize(picture, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA)
    return small


def baseline_picture(row: dict[str, Any], reference: dict[str, Any]) -> np.ndarray:
    """|t| of every body pixel, 0 to 2 m (cividis: dark small, bright large)."""
    points, mask = _surface_points(row)
    rotation, displacement = (
        reference["motion"][..., :3].astype(np.float64),
        reference["motion"][..., 3:].astype(np.float64),
    )
    turned = _rotate(rotation, points)
    baseline_m = np.linalg.norm(points + displacement - turned, axis=-1)
    picture = np.full((MAP_PX, MAP_PX, 3), 255, np.uint8)
    picture[mask] = (255 * matplotlib.colormaps["cividis"](np.clip(baseline_m / 2.0, 0, 1))[..., :3])[
        mask
    ].astype(np.uint8)
    return picture


def warped_reference(row: dict[str, Any], reference: dict[str, Any]) -> tuple[np.ndarray, float]:
    """The reference's colours carried to the target by base depth and motion, and the mean |difference| where valid.

    Pixels that are not valid show the target in grey, so that what was carried can be told from what was not.
    """
    points, _ = _surface_points(row)
    camera = Camera(reference["K"], (IMAGE_PX, IMAGE_PX)).resized((MAP_PX, MAP_PX))
    valid = reference["validity"] == VALID_ALL
    px = np.where(
        valid[..., None], camera.px_from_cam(points + reference["motion"][..., 3:].astype(np.float64)), 0.0
    )
    source = (px - 0.5).astype(np.float32)
    carried = cv2.remap(
        photo(reference), source[..., 0], source[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    target = photo(row)
    grey = np.repeat((0.5 * target.mean(axis=-1, keepdims=True) + 110).astype(np.uint8), 3, axis=-1)
    error = np.abs(carried.astype(np.float64) - target)[valid].mean() / 255 if valid.any() else float("nan")
    return np.where(valid[..., None], carried, grey), float(error)


def validity_picture(reference: dict[str, Any]) -> np.ndarray:
    """Why each body pixel counts or does not, in the colours of `VALIDITY_COLOURS`."""
    bits = reference["validity"]
    picture = np.full((*bits.shape, 3), 255, np.uint8)
    body = (bits & VALID_ON_BODY) > 0
    colours = VALIDITY_COLOURS
    picture[body] = colours["valid"]
    picture[body & ((bits & VALID_BASELINE) == 0)] = colours["baseline too small"]
    picture[body & ((bits & VALID_VISIBLE) == 0)] = colours["hidden in the reference"]
    picture[body & ((bits & VALID_INSIDE) == 0)] = colours["outside the reference"]
    picture[body & ((bits & VALID_IN_FRONT) == 0)] = colours["behind the camera"]
    return picture


def map_camera(row: dict[str, Any]) -> Camera:
    """The camera of a stored crop at map size."""
    return Camera(row["K"], (IMAGE_PX, IMAGE_PX)).resized((MAP_PX, MAP_PX))


def _surface_points(row: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    depth = row["base_depth"].astype(np.float64)
    v, u = np.mgrid[0:MAP_PX, 0:MAP_PX] + 0.5
    return map_camera(row).cam_from_px(np.stack([u, v], axis=-1), depth), depth > 0


def _rotate(rotation_vector: Floats, points: Floats) -> Floats:
    angle = np.linalg.norm(rotation_vector, axis=-1, keepdims=True)
    axis = rotation_vector / np.maximum(angle, 1e-12)
    along = (axis * points).sum(axis=-1, keepdims=True)
    turned: Floats = (
        points * np.cos(angle) + np.cross(axis, points) * np.sin(angle) + axis * along * (1 - np.cos(angle))
    )
    return turned


def _facing(depth_m: np.ndarray, camera: Camera) -> np.ndarray:
    """How squarely the surface faces the camera, 0 to 1, from differences of neighbouring surface points."""
    height, width = depth_m.shape
    v, u = np.mgrid[0:height, 0:width] + 0.5
    points = camera.cam_from_px(np.stack([u, v], axis=-1), depth_m.astype(np.float64))
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    length = np.linalg.norm(normal, axis=-1)
    towards = np.abs((normal * points).sum(axis=-1)) / np.maximum(
        length * np.linalg.norm(points, axis=-1), 1e-12
    )
    return np.asarray(np.where(depth_m > 0, towards, 0.0))
