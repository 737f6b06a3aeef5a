"""The surface that a depth map shows: its points and normals."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def surface_points(depth_m: NDArray[np.floating], K: NDArray[np.floating]) -> NDArray[np.float64]:
    """(H, W, 3) camera points, metres: depth K^-1 (u, v, 1) at pixel centres (+0.5)."""
    v, u = np.indices(depth_m.shape) + 0.5
    depth = depth_m.astype(np.float64)
    return np.stack([(u - K[0, 2]) / K[0, 0] * depth, (v - K[1, 2]) / K[1, 1] * depth, depth], axis=-1)


def normals(depth_m: NDArray[np.floating], K: NDArray[np.floating]) -> NDArray[np.float64]:
    """(H, W, 3) unit normals that point to the camera, from central differences of surface points; 0 off the body."""
    found = np.zeros((*depth_m.shape, 3))
    rows, columns = (np.flatnonzero((depth_m > 0).any(axis=axis)) for axis in (1, 0))
    if len(rows) < 3 or len(columns) < 3:
        return found
    body = (
        slice(rows[0], rows[-1] + 1),
        slice(columns[0], columns[-1] + 1),
    )  # a whole picture is mostly background
    inside = K.copy()
    inside[:2, 2] -= [columns[0], rows[0]]
    found[body] = _normals(depth_m[body], inside)
    return found


def _normals(depth_m: NDArray[np.floating], K: NDArray[np.floating]) -> NDArray[np.float64]:
    points = surface_points(depth_m, K)
    normal = np.cross(np.gradient(points, axis=0), np.gradient(points, axis=1))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    shown = cv2.copyMakeBorder((depth_m > 0).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.erode(shown, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    return np.where(inner[..., None], normal, 0.0)
