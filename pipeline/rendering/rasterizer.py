"""The seam between the method and whatever draws triangles: a face per pixel, nothing else."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.raster import Raster, raster_from_face_ids


class Rasterizer(Protocol):
    """Draws one mesh. Heavy to make, so a worker makes one and closes it."""

    name: str
    """`pyrender_gl` or `compiled`, as recorded with the data."""

    def face_ids(self, vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
        """(H, W) int32: the nearest face whose image covers the pixel's centre, from either side; -1 where none does.

        vertices (V, 3) metres in the camera's coordinates, faces (F, 3). Nothing nearer than the near plane is drawn,
        triangles that cross it are cut, and parts outside the image or behind the camera do no harm.
        """
        ...

    def close(self) -> None:
        """Frees what was made. Closing twice is fine."""
        ...


def render(rasterizer: Rasterizer, vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> Raster:
    """One frame's raster: ids from the backend, weights and depth from the ids in float64."""
    return raster_from_face_ids(rasterizer.face_ids(vertices, faces, camera), vertices, faces, camera)
