"""The two arrays of a triangle mesh, as compiled kernels need them: contiguous, of one type, indices in range."""

from __future__ import annotations

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
