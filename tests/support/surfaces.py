"""Meshes in front of cameras, as the functions of a pair take them."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface
from pipeline.rendering.compiled import CompiledRasterizer
from tests.support.scenes import BodyPair, square_camera


def points(vertices: np.ndarray) -> PosedSurface:
    """Points (V, 3) without faces, for what only looks at vertices."""
    return PosedSurface(vertices=vertices, faces=np.empty((0, 3), np.int32), camera=square_camera(32))


def rendered(vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> RenderedSurface:
    """A mesh drawn by the compiled rasteriser."""
    face_id = CompiledRasterizer().face_ids(vertices, faces, camera)
    return RenderedSurface(vertices=vertices, faces=faces, camera=camera, face_id=face_id)


def rendered_pair(pair: BodyPair) -> tuple[RenderedSurface, RenderedSurface]:
    """Target and reference."""
    return (
        rendered(pair.target, pair.faces, pair.target_camera),
        rendered(pair.reference, pair.faces, pair.reference_camera),
    )
