"""Which surface points each frame of a track sees, and how far from its outline they lie."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.body.skinning import JointTransforms
from pipeline.geometry.array_types import Floats
from pipeline.geometry.camera import Camera
from pipeline.refine.outline_kernel import reach_outline
from pipeline.refine.outlines import LEAST_M, MOST_COSINE
from pipeline.refine.point_kernels import see_points
from pipeline.refine.surface_points import RestSurface
from pipeline.refine.track_bodies import TrackBodies, TrackMesh
from pipeline.refine.track_frames import TrackFrames
from pipeline.rendering.compiled import CompiledRasterizer
from schemas.conventions import MAP_PX

LEAST_COSINE = 0.2
"""Surfaces seen at a flatter angle than this are not compared."""
DEPTH_TOLERANCE_M = 0.03
OUTLINE_MARGIN_PX = 2
"""At map size; 1 below it."""


class Visibility:
    """The weight of every compared point in every frame: 0 where it is hidden, up to 1 where it faces the camera."""

    def __init__(
        self, surface: RestSurface, frames: TrackFrames, mesh: TrackMesh, rasterizer: CompiledRasterizer
    ) -> None:
        self._whole, self._frames, self._mesh, self._rasterizer = surface, frames, mesh, rasterizer
        self.stride = 1
        """One point in so many is compared, and counts for those left out."""
        self.surface = surface
        """The Q points that are compared."""
        self.weight = np.zeros((len(frames), surface.count), np.float32)
        """(T, Q)."""
        self._side_px = MAP_PX
        self._cameras: dict[int, list[Camera]] = {}

    def update(self, bodies: TrackBodies, placed: JointTransforms, side_px: int) -> None:
        """Draws the bodies, without what they wear, at pictures of side_px, or at map size if that is less.

        Of pictures below map size every second, fourth, ... point is compared: neighbours repeat each other there,
        and a step takes as long as it has points.
        """
        self._side_px = min(side_px, MAP_PX)
        self.stride = max(1, MAP_PX // self._side_px)
        surface = self.surface = self._whole.every(self.stride)
        points = surface.points
        self.weight = np.zeros((len(self._frames), surface.count), np.float32)
        margin_px = OUTLINE_MARGIN_PX if self._side_px == MAP_PX else 1
        for at, (camera, inverse_depth) in enumerate(self._drawn(bodies, placed)):
            see_points(
                surface.rest, surface.normal, points.joint, points.weight, placed.rotation[at], placed.offset[at],
                camera.lens, inverse_depth, self._frames.person_at(at), DEPTH_TOLERANCE_M, margin_px, LEAST_COSINE,
                self.weight[at],
            )  # fmt: skip

    def outlines(self, bodies: TrackBodies, placed: JointTransforms, most_m: float) -> np.ndarray:
        """(T, Q) metres along the normals of the compared points to the person's outline, `most_m` at the most; NaN for
        points that do not lie on the rim of the bodies, and where nobody knows the person."""
        surface, points = self.surface, self.surface.points
        way_m = np.empty((len(self._frames), surface.count), np.float32)
        for at, (camera, inverse_depth) in enumerate(self._drawn(bodies, placed)):
            reach_outline(
                surface.rest, surface.normal, points.joint, points.weight, placed.rotation[at], placed.offset[at],
                camera.lens, inverse_depth, self._frames.person_at(at), MOST_COSINE, LEAST_M, most_m, way_m[at],
            )  # fmt: skip
        return way_m

    def _drawn(self, bodies: TrackBodies, placed: JointTransforms) -> Iterator[tuple[Camera, Floats]]:
        """Each frame's camera at the size of the last update, and its picture of inverse depths."""
        side_px = self._side_px
        if side_px not in self._cameras:
            self._cameras[side_px] = [each.resized((side_px, side_px)) for each in self._frames.cameras]
        for at, camera in enumerate(self._cameras[side_px]):
            vertices = self._mesh.vertices(bodies, placed, at)
            yield (
                camera,
                self._rasterizer.inverse_depth(
                    vertices, self._mesh.faces, camera, is_closed=self._mesh.is_closed
                ),
            )
