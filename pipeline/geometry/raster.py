"""What one camera sees of a body, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices, Reals
from pipeline.geometry.camera import Camera
from pipeline.geometry.mesh import checked_faces, checked_vertices
from pipeline.geometry.pixels import fill_raster


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """One frame's body as seen by its camera. Made once per frame; everything per pixel follows from it."""

    face_id: Indices
    """(H, W) int32, -1 where nothing is seen."""
    barycentric: Floats
    """(H, W, 3) float64 weights of the face's corners at the surface point (perspective-correct); 0 outside."""
    depth: Floats
    """(H, W) float64 z in metres, 0 outside."""

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: the body pixels."""
        return self.face_id >= 0

    @property
    def hw(self) -> tuple[int, int]:
        """Image size (h, w)."""
        return self.face_id.shape[0], self.face_id.shape[1]

    @property
    def mean_depth_m(self) -> float:
        """Mean depth of the body pixels; 0 where there is none."""
        return float(self.depth[self.depth > 0].mean()) if (self.depth > 0).any() else 0.0


def raster_from_face_ids(
    face_id: NDArray[np.integer[Any]], vertices: Reals, faces: NDArray[np.integer[Any]], camera: Camera
) -> Raster:
    """Completes the one thing a rasteriser delivers, a face per pixel, by intersecting rays with planes in float64.

    The ray through a pixel's centre meets the plane of its face at sum w_i v_i; depth is that point's z. Where it
    misses the face, because a backend was off by a fraction of a pixel at an edge, the face's point nearest in the
    image is taken: it stays on the surface. Because only ids differ between backends, everything else is shared by
    all of them.

    face_id (H, W) integers, vertices (V, 3) metres in the camera's coordinates, faces (F, 3).
    """
    vertices = checked_vertices(vertices, "vertices")
    faces = checked_faces(faces, len(vertices))
    ids = np.ascontiguousarray(face_id, dtype=np.int32)
    if ids.shape != camera.hw:
        raise ValueError(f"face_id must have the camera's size {camera.hw}, got {ids.shape}")
    barycentric, depth = np.zeros((*camera.hw, 3)), np.zeros(camera.hw)
    wrong = fill_raster(ids, vertices, faces, camera.lens, barycentric, depth)
    if wrong >= 0:
        raise ValueError(
            f"face_id names face {wrong}, but there are {len(faces)}; were other faces rasterised?"
        )
    return Raster(ids, barycentric, depth)
