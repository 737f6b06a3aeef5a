"""Neighbourhoods of a triangle mesh, built once per body model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Every vertex's neighbours, as compressed rows: those of vertex c are indices[indptr[c]:indptr[c + 1]]."""

    indptr: np.ndarray
    """(V + 1,) int32."""
    indices: np.ndarray
    """(E,) int32, ascending within a row, never the vertex itself."""

    def __post_init__(self) -> None:
        indptr = np.ascontiguousarray(self.indptr, dtype=np.int32)
        indices = np.ascontiguousarray(self.indices, dtype=np.int32)
        if indptr.ndim != 1 or indptr.size == 0 or indptr[0] != 0 or indptr[-1] != indices.size:
            raise ValueError(
                f"indptr must be (V + 1,) from 0 to {indices.size}, got {self.indptr!r}; use two_ring"
            )
        if (np.diff(indptr) < 0).any():
            raise ValueError("indptr must not decrease; build rings with one_ring or two_ring")
        if indices.size and (indices.min() < 0 or indices.max() >= indptr.size - 1):
            raise ValueError(
                f"indices must lie in [0, {indptr.size - 1}), got [{indices.min()}, {indices.max()}]"
            )
        object.__setattr__(self, "indptr", indptr)
        object.__setattr__(self, "indices", indices)

    @property
    def vertex_count(self) -> int:
        """V."""
        return self.indptr.size - 1


def one_ring(faces: np.ndarray, vertex_count: int) -> Rings:
    """The vertices that share an edge with each vertex. Vertices of no face have an empty ring."""
    return _rings(_edges(faces, vertex_count))


def two_ring(faces: np.ndarray, vertex_count: int) -> Rings:
    """The vertices at most two edges away from each vertex (about 19 on a body mesh), without itself."""
    edges = _edges(faces, vertex_count)
    return _rings(edges @ edges + edges)


def _edges(faces: np.ndarray, vertex_count: int) -> sparse.csr_matrix:
    faces = checked_faces(faces, vertex_count)
    start = faces.ravel()
    end = np.roll(faces, -1, axis=1).ravel()
    both = (np.concatenate([start, end]), np.concatenate([end, start]))
    edges = sparse.csr_matrix((np.ones(both[0].size, np.int32), both), (vertex_count, vertex_count))
    edges.data[:] = 1
    return edges


def _rings(adjacency: sparse.csr_matrix) -> Rings:
    adjacency = adjacency.tocsr()
    adjacency.setdiag(0)
    adjacency.eliminate_zeros()
    adjacency.sort_indices()
    return Rings(adjacency.indptr, adjacency.indices)


def checked_faces(faces: np.ndarray, vertex_count: int) -> np.ndarray:
    """Faces as contiguous (F, 3) int32; ValueError where an index has no vertex."""
    faces = np.ascontiguousarray(faces, dtype=np.int32)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"faces must have shape (F, 3), got {faces.shape}; triangulate the mesh first")
    if faces.size and (faces.min() < 0 or faces.max() >= vertex_count):
        raise ValueError(f"faces must index {vertex_count} vertices, got [{faces.min()}, {faces.max()}]")
    return faces


def checked_vertices(vertices: np.ndarray, name: str, vertex_count: int | None = None) -> np.ndarray:
    """Vertices as contiguous finite (V, 3) float64; ValueError otherwise."""
    vertices = np.ascontiguousarray(vertices, dtype=np.float64)
    if vertices.ndim != 2 or vertices.shape[1] != 3 or vertex_count not in (None, len(vertices)):
        raise ValueError(f"{name} must have shape ({vertex_count or 'V'}, 3), got {vertices.shape}")
    if not np.isfinite(vertices).all():
        raise ValueError(
            f"{name} must be finite; {int((~np.isfinite(vertices)).any(axis=1).sum())} vertices are not"
        )
    return vertices
