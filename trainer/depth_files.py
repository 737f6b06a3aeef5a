"""What people open: a 16-bit depth picture, a coloured mesh, a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.prediction import Prediction
from trainer.figure import figure
from trainer.surfaces import normals, surface_points

if TYPE_CHECKING:
    import trimesh

PNG_UNITS_PER_M = 5000
"""Depth in the PNG is metres times this, as in the TUM RGB-D benchmark: steps of 0.2 mm, up to 13.1 m."""
MAX_SLOPE_DEG = 80.0
"""Neighbouring pixels are not joined by a face where the surface would lean more than this away from the camera."""

FIGURE_PX = 512
"""Figures of larger pictures show every n-th pixel."""


def write_depth_files(stem: Path, prediction: Prediction, image: NDArray[np.float32]) -> list[Path]:
    """STEM-depth.png, STEM-normals.png, STEM.ply, STEM.glb, STEM.png; image (256, 256, 3) float32 RGB in [0, 1]."""
    return write_picture_files(stem, prediction, image, [depth_mesh(prediction, image)])


def write_picture_files(
    stem: Path, prediction: Prediction, image: NDArray[np.float32], meshes: Sequence[trimesh.Trimesh]
) -> list[Path]:
    """The same of a whole picture, image (H, W, 3), whose people's meshes are at hand.

    The meshes are those of the crops: all cameras of a picture have one centre and the same axes.
    """
    import trimesh

    endings = ("-depth.png", "-normals.png", ".ply", ".glb", ".png")
    paths = [stem.with_name(stem.name + ending) for ending in endings]
    write_depth_png(paths[0], prediction.depth_m)
    write_normals_png(paths[1], normals(prediction.depth_m, prediction.K))
    mesh = meshes[0] if len(meshes) == 1 else trimesh.util.concatenate(list(meshes))
    mesh.export(paths[2])
    viewer_mesh(mesh).export(paths[3])
    _write_png(paths[4], figure(*_reduced(prediction, image)))
    return paths


def _reduced(prediction: Prediction, image: NDArray[np.float32]) -> tuple[Prediction, NDArray[np.float32]]:
    """Every n-th pixel, so that a figure of a large picture takes no longer than one of a crop."""
    step = max(1, max(prediction.depth_m.shape) // FIGURE_PX)
    if step == 1:
        return prediction, image
    every = (slice(step // 2, None, step),) * 2
    K = prediction.K.copy()
    K[:2, 2] -= step // 2 - 0.5 * (
        step - 1
    )  # centres of the pixels that are left, before they are renumbered
    K[:2] /= step
    less = replace(
        prediction, depth_m=prediction.depth_m[every], base_depth_m=prediction.base_depth_m[every], K=K
    )
    return less, image[every]


def steepest_step(K: NDArray[np.floating]) -> float:
    """Largest difference of depth between neighbouring pixels of one surface, over their depth."""
    return float(np.tan(np.radians(MAX_SLOPE_DEG)) / K[0, 0])


def write_depth_png(path: Path, depth_m: NDArray[np.floating]) -> None:
    """16 bit, PNG_UNITS_PER_M, 0 = background. Depth beyond 13.1 m is stored as 65535; the npz holds it exactly."""
    units = np.minimum(np.rint(depth_m.astype(np.float64) * PNG_UNITS_PER_M), np.iinfo(np.uint16).max)
    _, data = cv2.imencode(".png", units.astype(np.uint16))
    path.write_bytes(data.tobytes())


def depth_mesh(prediction: Prediction, image: NDArray[np.float32]) -> trimesh.Trimesh:
    """The visible surface as a mesh with the photo's colours: x right, y down, z forward, metres.

    Two triangles per square of four neighbouring pixels on the body, left out where depth jumps: its range exceeds
    tan(MAX_SLOPE_DEG) times a pixel's width Z/f there. Seen from the camera they turn so that normals point to it.
    """
    import trimesh

    depth = prediction.depth_m
    number = np.full(depth.shape, -1, np.int64)
    mask = depth > 0
    number[mask] = np.arange(mask.sum())
    corners = np.stack([number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]], axis=-1).reshape(
        -1, 4
    )
    near = np.stack([depth[:-1, :-1], depth[:-1, 1:], depth[1:, :-1], depth[1:, 1:]], axis=-1).reshape(-1, 4)
    steepest = steepest_step(prediction.K)
    whole = (corners >= 0).all(axis=1) & (np.ptp(near, axis=1) <= steepest * near.min(axis=1))
    a, b, c, d = corners[whole].T
    faces = np.concatenate([np.stack([a, c, b], axis=-1), np.stack([b, c, d], axis=-1)])
    points = surface_points(depth, prediction.K)[mask]
    colours = np.rint(255 * image[mask]).astype(np.uint8)
    return trimesh.Trimesh(points, faces, vertex_colors=colours, process=False)


def viewer_mesh(mesh: trimesh.Trimesh) -> trimesh.Trimesh:
    """The mesh in glTF's axes (y up, z towards the viewer), its middle at the origin."""
    seen = mesh.copy()
    seen.apply_translation(-mesh.vertices.mean(axis=0))
    seen.apply_transform(np.diag([1.0, -1.0, -1.0, 1.0]))
    return seen


def write_normals_png(path: Path, normal: NDArray[np.floating]) -> None:
    """Colours (n + 1) / 2 of normals with x right, y up and z towards the camera; black off the body."""
    colours = np.where(normal.any(axis=-1, keepdims=True), 0.5 + 0.5 * normal * [1, -1, -1], 0)
    _write_png(path, np.rint(255 * colours).astype(np.uint8))


def _write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """(H, W, 3) uint8 RGB."""
    _, data = cv2.imencode(".png", image[..., ::-1])
    path.write_bytes(data.tobytes())
