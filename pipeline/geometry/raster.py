"""What one camera sees of a body, pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.pixels import fill_raster
from pipeline.geometry.rings import checked_faces, checked_vertices


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """One frame's body as seen by its camera. Made once per frame; everything per pixel follows from it."""

    face_id: np.ndarray
    """(H, W) int32, -1 where nothing is seen."""
    barycentric: np.ndarray
    """(H, W, 3) float64 weights of the face's corners at the surface point (perspective-correct); 0 outside."""
    depth: np.ndarray
    """(H, W) float64 z in metres, 0 outside."""

    @property
    def mask(self) -> np.ndarray:
        """(H, W) bool: the body pixels."""
        return self.face_id >= 0

    @property
    def hw(self) -> tuple[int, int]:
        """Image size (h, w)."""
        return self.face_id.shape[0], self.face_id.shape[1]


def raster_from_face_ids(
    face_id: np.ndarray, vertices: np.ndarray, faces: np.ndarray, camera: Camera
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
    face_id = np.ascontiguousarray(face_id, dtype=np.int32)
    if face_id.shape != camera.hw:
        raise ValueError(f"face_id must have the camera's size {camera.hw}, got {face_id.shape}")
    barycentric, depth = np.zeros((*camera.hw, 3)), np.zeros(camera.hw)
    wrong = fill_raster(face_id, vertices, faces, camera.lens, barycentric, depth)
    if wrong >= 0:
        raise ValueError(
            f"face_id names face {wrong}, but there are {len(faces)}; were other faces rasterised?"
        )
    return Raster(face_id, barycentric, depth)
