"""One person in one frame, ready for pairing: posed body, camera, raster and picture at map size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.geometry.raster import Raster, raster_from_face_ids
from pipeline.records import FrameBody, Track
from pipeline.rendering import Rasterizer, render
from pipeline.rendering.base_mesh import BaseMesh
from pipeline.video.crops import decode_image
from schemas.conventions import IMAGE_PX, MAP_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE


def body_from_vector(vector: np.ndarray, camera: Camera, body: BodyModel) -> FrameBody:
    """Poses the body of an 85-vector in the camera coordinates of its crop (float64, metres)."""
    vertices = body.vertices(
        vector[VECTOR_POSE].reshape(-1, 3),
        vector[VECTOR_BETAS],
        translation_from_weak_perspective(vector[VECTOR_CAMERA], camera),
    )
    return FrameBody(vertices=vertices, camera=camera)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """A frame of a track at map size."""

    vertices: np.ndarray
    """(V, 3) metres, base mesh."""
    camera: Camera
    raster: Raster
    image: np.ndarray
    """(MAP_PX, MAP_PX, 3) float32 in [0, 1]."""

    @property
    def mean_depth_m(self) -> float:
        """Mean base depth over the body's pixels; 0 where no pixel shows it."""
        depth = self.raster.depth
        return float(depth[depth > 0].mean()) if (depth > 0).any() else 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Drawn:
    """What is kept of a view: a fifth of its bytes, from which the rest follows in half a millisecond."""

    vertices: np.ndarray
    face_id: np.ndarray
    """(MAP_PX, MAP_PX) int32."""
    picture: np.ndarray
    """(MAP_PX, MAP_PX, 3) uint8."""


class Views:
    """Views of one track, drawn when first asked for and dropped when the window has passed."""

    def __init__(
        self,
        track: Track,
        jpeg: dict[int, bytes],
        body: BodyModel,
        mesh: BaseMesh,
        rasterizer: Rasterizer,
    ) -> None:
        self._track, self._jpeg, self._body, self._mesh = track, jpeg, body, mesh
        self._rasterizer = rasterizer
        self._cache: dict[int, _Drawn] = {}

    def camera(self, at: int, side_px: int) -> Camera:
        """The crop's camera at another resolution."""
        return Camera(self._track.K[at], (IMAGE_PX, IMAGE_PX)).resized((side_px, side_px))

    def jpeg(self, at: int) -> bytes:
        """The stored crop of a frame."""
        return self._jpeg[int(self._track.frame_index[at])]

    def vertices(self, at: int) -> np.ndarray:
        """(V, 3) vertices of the base mesh in camera coordinates, metres."""
        return self._drawn(at).vertices

    def raster_at(self, at: int, side_px: int) -> Raster:
        """The base mesh rasterised at another resolution."""
        return render(self._rasterizer, self.vertices(at), self._body.faces, self.camera(at, side_px))

    def __getitem__(self, at: int) -> View:
        drawn, camera = self._drawn(at), self.camera(at, MAP_PX)
        return View(
            vertices=drawn.vertices,
            camera=camera,
            raster=raster_from_face_ids(drawn.face_id, drawn.vertices, self._body.faces, camera),
            image=drawn.picture.astype(np.float32) / 255.0,
        )

    def _drawn(self, at: int) -> _Drawn:
        if at not in self._cache:
            camera = self.camera(at, IMAGE_PX)
            posed = body_from_vector(self._track.vector[at], camera, self._body)
            vertices, picture = self._mesh.vertices(posed.vertices), decode_image(self.jpeg(at))
            camera = self.camera(at, MAP_PX)
            self._cache[at] = _Drawn(
                vertices=vertices,
                face_id=self._rasterizer.face_ids(vertices, self._body.faces, camera),
                picture=cv2.resize(picture, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA),
            )
        return self._cache[at]

    def forget_before(self, pts_s: float) -> None:
        """Drops views of frames earlier than this; memory stays bounded by the widest gap."""
        for at in [at for at in self._cache if self._track.pts_s[at] < pts_s]:
            del self._cache[at]
