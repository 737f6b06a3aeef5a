"""The frames of one track, ready for pairing: posed body, camera, raster and picture at map size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.body.model import BodyModel
from pipeline.geometry.array_types import Bytes
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface
from pipeline.method.map_pictures import MapPictures, map_picture
from pipeline.method.pair_fields import PairFields
from pipeline.method.resources import Resources
from pipeline.records import Misalignment, RenderedFrame, Track, TrackSurface
from pipeline.refine.dressed_shape import dressed
from pipeline.video.crops import decode_image
from schemas.conventions import IMAGE_PX, MAP_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE


def body_from_vector(vector: NDArray[np.float64], camera: Camera, body: BodyModel) -> PosedSurface:
    """Poses the body of an 85-vector in the camera coordinates of its crop (float64, metres)."""
    vertices = body.vertices(
        vector[VECTOR_POSE].reshape(-1, 3),
        vector[VECTOR_BETAS],
        translation_from_weak_perspective(vector[VECTOR_CAMERA], camera),
    )
    return PosedSurface(vertices=vertices, faces=body.faces, camera=camera)


def base_vertices(
    body_vertices: NDArray[np.float64], surface: TrackSurface | None, resources: Resources
) -> NDArray[np.float64]:
    """The base mesh (V, 3) of a posed body (V, 3) of a track with that dressed shape, metres.

    v + o n with `rendering.base_surface=dressed`, o the shape's offset and n the outward normal of the posed skin; the
    skin itself with `body` and where the track has no shape. Then what the settings of the mesh do to it.
    """
    if surface is not None and resources.settings.rendering.base_surface == "dressed":
        body_vertices = dressed(body_vertices, surface.offset_m, resources.body.faces)
    return resources.mesh.vertices(body_vertices)


class RenderedFrames:
    """Frames of one track by their position in it: rendered on first use, dropped once no target needs them."""

    def __init__(
        self,
        track: Track,
        crops: dict[int, bytes],
        resources: Resources,
        pictures: MapPictures | None = None,
    ) -> None:
        self.track = track
        self.fields = PairFields()
        self._crops, self._resources = crops, resources
        self._pictures = MapPictures(0) if pictures is None else pictures
        self._cache: dict[int, RenderedFrame] = {}
        self._misalignment: dict[tuple[int, int], Misalignment] = {}

    def camera(self, at: int, side_px: int) -> Camera:
        """The crop's camera at another resolution."""
        return Camera(self.track.K[at], (IMAGE_PX, IMAGE_PX)).resized((side_px, side_px))

    def crop(self, at: int) -> bytes:
        """The stored crop of a frame, a JPEG."""
        return self._crops[int(self.track.frame_index[at])]

    def surface(self, at: int) -> PosedSurface:
        """The base mesh of a frame, in front of its crop's camera at MAP_PX."""
        return self.reference(at).surface

    def depth_at(self, at: int, side_px: int) -> NDArray[np.float64]:
        """The base depth (side_px, side_px) at another resolution, metres."""
        surface = self.surface(at)
        return self._drawn(surface.vertices, surface.faces, self.camera(at, side_px)).depth

    def _drawn(
        self, vertices: NDArray[np.float64], faces: NDArray[np.int32], camera: Camera
    ) -> RenderedSurface:
        face_id = self._resources.rasterizer.face_ids(vertices, faces, camera)
        return RenderedSurface(vertices=vertices, faces=faces, camera=camera, face_id=face_id)

    def __getitem__(self, at: int) -> RenderedFrame:
        """A frame as a target. What is made of it for its pairs, ten times what is kept of it, goes when it goes."""
        kept = self.reference(at)
        return replace(kept, surface=replace(kept.surface))

    def reference(self, at: int) -> RenderedFrame:
        """A frame as it is kept: for what asks neither for the raster of its surface nor for what is made of it."""
        if at not in self._cache:
            body, camera = self._resources.body, self.camera(at, MAP_PX)
            posed = body_from_vector(self.track.vector[at], self.camera(at, IMAGE_PX), body)
            vertices = base_vertices(posed.vertices, self.track.surface, self._resources)
            self._cache[at] = RenderedFrame(
                surface=self._drawn(vertices, posed.faces, camera),
                picture=self._picture(at),
            )
        return self._cache[at]

    def _picture(self, at: int) -> Bytes:
        kept = self._pictures.take(self.track.person_index, int(self.track.frame_index[at]))
        return map_picture(decode_image(self.crop(at))) if kept is None else kept

    def misalignment(self, one: int, other: int) -> Misalignment | None:
        """What was noted of two frames, in either order; None where nothing was."""
        return self._misalignment.get((min(one, other), max(one, other)))

    def note_misalignment(self, one: int, other: int, found: Misalignment) -> None:
        """Keeps what the pictures of two frames say of their bodies for the pair the other way round."""
        self._misalignment[min(one, other), max(one, other)] = found

    def forget_before(self, pts_s: float) -> None:
        """Drops what is earlier than this; memory stays bounded by the widest gap."""
        for at in [at for at in self._cache if self.track.pts_s[at] < pts_s]:
            del self._cache[at]
        for pair in [pair for pair in self._misalignment if self.track.pts_s[pair[0]] < pts_s]:
            del self._misalignment[pair]
