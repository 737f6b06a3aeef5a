"""One body in one frame: a mesh posed in front of its camera, and the same once its pixels are known.

What a target and a reference are to every function of a pair. Checked once, where they are made.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.body_pixels import BodyPixels, body_pixels
from pipeline.geometry.camera import Camera
from pipeline.geometry.mesh import checked_faces, checked_vertices
from pipeline.geometry.pixels import fill_depth
from pipeline.geometry.raster import Raster, raster_from_face_ids
from pipeline.geometry.shown_vertices import ShownVertices, shown_vertices


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PosedSurface:
    """A mesh in the coordinates of its camera. Raises ValueError where faces and vertices do not fit."""

    vertices: NDArray[np.float64]
    """(V, 3) finite metres in camera coordinates."""
    faces: NDArray[np.int32]
    """(F, 3) vertex numbers; frames of one body share the array."""
    camera: Camera

    def __post_init__(self) -> None:
        vertices = checked_vertices(self.vertices)
        object.__setattr__(self, "vertices", vertices)
        object.__setattr__(self, "faces", checked_faces(self.faces, len(vertices)))

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self.vertices)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedSurface(PosedSurface):
    """A posed surface and which of its faces each pixel shows: the one thing that a rasteriser delivers.

    Raises ValueError where the pixels are not those of this camera and mesh.
    """

    face_id: NDArray[np.int32]
    """(H, W), -1 where nothing is seen."""
    _raster: Raster | None = field(default=None, init=False, repr=False)
    _shown: ShownVertices | None = field(default=None, init=False, repr=False)
    _pixels: BodyPixels | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        PosedSurface.__post_init__(self)
        face_id = np.ascontiguousarray(self.face_id, dtype=np.int32)
        if face_id.shape != self.camera.hw:
            raise ValueError(
                f"face_id must have the camera's size {self.camera.hw}, got {face_id.shape}; resize the camera first"
            )
        highest = int(face_id.max(initial=-1))
        if highest >= len(self.faces):
            raise ValueError(
                f"face_id names face {highest}, but there are {len(self.faces)}; were other faces rasterised?"
            )
        object.__setattr__(self, "face_id", face_id)

    @property
    def raster(self) -> Raster:
        """Weights and depth of every pixel, made when they are first asked for: of a reference they never are."""
        raster = self._raster
        if raster is None:
            raster = raster_from_face_ids(self.face_id, self.vertices, self.faces, self.camera)
            object.__setattr__(self, "_raster", raster)
        return raster

    @property
    def depth(self) -> NDArray[np.float64]:
        """(H, W) metres of every pixel, 0 outside: that of `raster`, made alone."""
        depth = np.zeros(self.camera.hw)
        fill_depth(self.face_id, self.vertices, self.faces, self.camera.lens, depth)
        return depth

    @property
    def shown(self) -> ShownVertices:
        """What the pixels give each vertex, made when it is first asked for: of a target, for all its candidates."""
        shown = self._shown
        if shown is None:
            shown = shown_vertices(self.face_id, self.raster.barycentric, self.faces, self.vertex_count)
            object.__setattr__(self, "_shown", shown)
        return shown

    @property
    def pixels(self) -> BodyPixels:
        """The body pixels, made when they are first asked for: of a target, for all its pairs."""
        pixels = self._pixels
        if pixels is None:
            pixels = body_pixels(self.face_id, self.raster.barycentric, self.vertices, self.faces)
            object.__setattr__(self, "_pixels", pixels)
        return pixels


def require_same_mesh(target: PosedSurface, reference: PosedSurface) -> None:
    """Raises ValueError where two surfaces are not poses of one mesh."""
    if target.vertex_count != reference.vertex_count:
        raise ValueError(
            f"target has {target.vertex_count} vertices, reference {reference.vertex_count}; "
            "pose one body in both frames"
        )
    if target.faces is not reference.faces and not np.array_equal(target.faces, reference.faces):
        raise ValueError("target and reference have different faces; pose one body in both frames")
