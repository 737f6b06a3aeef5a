"""What is done to the posed body before its depth is drawn: nothing (`paper`), smoothed and widened, or dressed."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from pipeline.geometry.mesh import checked_faces
from pipeline.geometry.rings import one_ring


class BaseMesh:
    """Clothes, Laplacian smoothing and an outward offset for one mesh topology; built once per body."""

    def __init__(
        self,
        faces: np.ndarray,
        vertex_count: int,
        *,
        smoothing_passes: int = 0,
        surface_offset_m: float = 0.0,
        clothes_m: np.ndarray | None = None,
    ) -> None:
        if smoothing_passes < 0:
            raise ValueError(f"smoothing_passes must be 0 or more, got {smoothing_passes}")
        if clothes_m is not None and clothes_m.shape != (vertex_count,):
            raise ValueError(f"clothes_m must have shape {(vertex_count,)}, got {clothes_m.shape}")
        self._clothes_m = clothes_m
        self._faces = checked_faces(faces, vertex_count)
        self._passes, self._offset_m = smoothing_passes, surface_offset_m
        rings = one_ring(self._faces, vertex_count)
        degree = np.diff(rings.indptr)
        indptr, indices = rings.indptr, rings.indices
        if (degree == 0).any():  # a vertex of no face stays where it is
            alone = np.flatnonzero(degree == 0)
            indices = np.insert(indices, indptr[alone], alone)
            indptr = np.concatenate([[0], np.cumsum(np.maximum(degree, 1))])
            degree = np.maximum(degree, 1)
        weights = np.repeat(1.0 / degree, degree)
        self._mean_of_ring = sparse.csr_matrix((weights, indices, indptr), (vertex_count, vertex_count))

    def vertices(self, vertices: np.ndarray) -> np.ndarray:
        """The base mesh (V, 3) of a posed body (V, 3), metres, float64; the input itself where nothing is to be done.

        Every vertex moves by its clothes_m along its outward normal. Each pass then replaces every vertex by the mean
        of its one-ring (all at once); then every vertex moves surface_offset_m along its outward normal (method,
        section 2).
        """
        vertices = np.asarray(vertices, dtype=np.float64)
        if self._clothes_m is not None:
            vertices = vertices + self._clothes_m[:, None] * outward_normals(vertices, self._faces)
        for _ in range(self._passes):
            vertices = self._mean_of_ring @ vertices
        if self._offset_m:
            vertices = vertices + self._offset_m * outward_normals(vertices, self._faces)
        return vertices


def outward_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit vertex normals (V, 3), averaged over faces by area, pointing out of the closed surface.

    Out is the side on which the surface's signed volume sum a . (b x c) / 6 is positive, whatever the faces'
    winding. Vertices of no face, or where the faces cancel, get a zero normal.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    area_vector = np.cross(b - a, c - a)
    centre = vertices.mean(axis=0)
    inside_out = ((a - centre) * area_vector).sum() < 0
    normal = np.zeros_like(vertices)
    for axis in range(3):
        for corner in range(3):
            normal[:, axis] += np.bincount(faces[:, corner], area_vector[:, axis], minlength=len(vertices))
    length = np.linalg.norm(normal, axis=1, keepdims=True)
    normal /= np.where(length > 0, length, 1.0)
    return -normal if inside_out else normal
