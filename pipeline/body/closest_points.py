"""Attributes carried from one surface to another near it."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from trimesh import triangles as triangle_maths

_CANDIDATE_FACES = 64
"""Faces, nearest by centroid, among which a point's closest one is looked for."""


def surface_weights(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> csr_array:
    """(P, V) barycentric weights of each point's closest point on a mesh; rows sum to one, none is negative."""
    corners = vertices[faces]
    nearest = range(1, 1 + min(_CANDIDATE_FACES, len(faces)))
    candidates = cKDTree(corners.mean(axis=1)).query(points, k=nearest)[1]
    shape = candidates.shape
    closest = triangle_maths.closest_point(
        corners[candidates.ravel()], np.repeat(points, shape[1], axis=0)
    ).reshape(*shape, 3)
    best = np.linalg.norm(closest - points[:, None], axis=-1).argmin(axis=1)
    rows = np.arange(len(points))
    face = candidates[rows, best]
    weights = triangle_maths.points_to_barycentric(corners[face], closest[rows, best])
    weights = np.clip(np.nan_to_num(weights, nan=1 / 3), 0.0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return csr_array(
        (weights.ravel(), (np.repeat(rows, 3), faces[face].ravel())), shape=(len(points), len(vertices))
    )
