"""Neighbourhoods of a triangle mesh, built once per body model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from pipeline.geometry.array_types import Indices
from pipeline.geometry.mesh import checked_faces


@dataclass(frozen=True, slots=True, eq=False)
class Rings:
    """Every vertex's neighbours, as compressed rows: those of vertex c are indices[indptr[c]:indptr[c + 1]]."""

    indptr: Indices
    """(V + 1,) int32."""
    indices: Indices
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


def one_ring(faces: NDArray[np.integer[Any]], vertex_count: int) -> Rings:
    """The vertices that share an edge with each vertex. Vertices of no face have an empty ring."""
    return _rings(_edges(faces, vertex_count))


def two_ring(faces: NDArray[np.integer[Any]], vertex_count: int) -> Rings:
    """The vertices at most two edges away from each vertex (about 19 on a body mesh), without itself."""
    edges = _edges(faces, vertex_count)
    return _rings(edges @ edges + edges)


def _edges(faces: NDArray[np.integer[Any]], vertex_count: int) -> sparse.csr_matrix:
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
