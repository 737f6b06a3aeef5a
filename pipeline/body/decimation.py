"""Fewer triangles for a mirror-symmetric mesh."""

from __future__ import annotations

from dataclasses import dataclass

import fast_simplification
import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class MirroredMesh:
    """A mesh whose right half is the mirror image of its left half: vertices on x = 0, then left, then right."""

    vertices: np.ndarray
    """(V, 3) metres."""
    faces: np.ndarray
    """(F, 3)."""
    mirror: np.ndarray
    """(V,) each vertex's mirror image."""


def decimate_mirrored(vertices: np.ndarray, faces: np.ndarray, vertex_count: int) -> MirroredMesh:
    """Quadric decimation (Garland and Heckbert 1997) of the half x >= 0, mirrored.

    vertices (V, 3) mirror-symmetric with no face across x = 0; about `vertex_count` vertices come back. The cut's
    border stays on x = 0, so that the halves close into one surface.
    """
    left = faces[vertices[faces][..., 0].sum(axis=1) > 0]
    used, left = np.unique(left, return_inverse=True)
    # a closed surface has two faces a vertex, so half of it has as many faces as the whole has vertices
    points, triangles = fast_simplification.simplify(
        vertices[used].astype(np.float32), left.reshape(-1, 3).astype(np.int32), target_count=vertex_count
    )
    points = points.astype(np.float64)
    border = _border_vertices(triangles)
    drift = np.abs(points[border, 0]).max()
    if drift > 1e-5:
        raise ValueError(f"decimation moved the cut {drift:.1e} m off x = 0: the halves would not meet")
    points[border, 0] = 0.0
    return _with_mirror_image(points, triangles.astype(np.int64), border)


def _border_vertices(triangles: np.ndarray) -> np.ndarray:
    """Vertices of edges that only one triangle has."""
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    unique, count = np.unique(edges, axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def _with_mirror_image(points: np.ndarray, triangles: np.ndarray, border: np.ndarray) -> MirroredMesh:
    on_border = np.zeros(len(points), dtype=bool)
    on_border[border] = True
    order = np.concatenate([border, np.flatnonzero(~on_border)])
    place = np.empty(len(points), dtype=np.int64)
    place[order] = np.arange(len(points))
    sides = len(points) - len(border)
    mirror = np.concatenate(
        [np.arange(len(border)), len(points) + np.arange(sides), len(border) + np.arange(sides)]
    )
    left = points[order]
    left_faces = place[triangles]
    right_faces = mirror[left_faces][:, ::-1]  # a mirror image turns inside out
    vertices = np.concatenate([left, left[len(border) :] * (-1.0, 1.0, 1.0)])
    return MirroredMesh(vertices, np.concatenate([left_faces, right_faces]), mirror)
