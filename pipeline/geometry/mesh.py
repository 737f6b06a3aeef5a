"""The two arrays of a triangle mesh, as compiled kernels need them: contiguous, of one type, indices in range."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def checked_vertices(
    vertices: ArrayLike, name: str = "vertices", vertex_count: int | None = None
) -> NDArray[np.float64]:
    """Vertices as contiguous finite (V, 3) float64; ValueError otherwise."""
    checked = np.ascontiguousarray(vertices, dtype=np.float64)
    if checked.ndim != 2 or checked.shape[1] != 3 or vertex_count not in (None, len(checked)):
        raise ValueError(f"{name} must have shape ({vertex_count or 'V'}, 3), got {checked.shape}")
    if not np.isfinite(checked).all():
        raise ValueError(
            f"{name} must be finite; {int((~np.isfinite(checked)).any(axis=1).sum())} vertices are not"
        )
    return checked


def checked_faces(faces: ArrayLike, vertex_count: int) -> NDArray[np.int32]:
    """Faces as contiguous (F, 3) int32; ValueError where an index has no vertex."""
    checked = np.ascontiguousarray(faces, dtype=np.int32)
    if checked.ndim != 2 or checked.shape[1] != 3:
        raise ValueError(f"faces must have shape (F, 3), got {checked.shape}; triangulate the mesh first")
    if checked.size and (checked.min() < 0 or checked.max() >= vertex_count):
        raise ValueError(f"faces must index {vertex_count} vertices, got [{checked.min()}, {checked.max()}]")
    return checked


def is_closed(faces: NDArray[np.integer[Any]]) -> bool:
    """Whether every edge of faces (F, 3) is gone along exactly once each way: a surface with an inside."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    one_way, other_way = (np.sort(a << 32 | b) for a, b in (edges.T, edges[:, ::-1].T))
    return bool((np.diff(one_way) > 0).all() and np.array_equal(one_way, other_way))


def faces_outwards(vertices: NDArray[np.float64], faces: NDArray[np.integer[Any]]) -> bool:
    """Whether a closed surface has the corners of its faces counter-clockwise as seen from outside.

    Its volume sum a . (b x c) / 6 over the corners a, b, c of its faces (F, 3) is then positive. vertices (V, 3).
    """
    a, b, c = np.moveaxis(vertices[faces], 1, 0)
    return bool((a * np.cross(b, c)).sum() > 0)
