"""Which surface points each frame of a track sees, and how far from its outline they lie."""

from __future__ import annotations

import numpy as np

from pipeline.body.skinning import JointTransforms
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
        self.outline_m = np.full_like(self.weight, np.nan)
        """(T, Q) metres along the normals to the person's outline; NaN for points that do not lie on the rim, and
        where nobody looked."""
        self._cameras: dict[int, list[Camera]] = {}

    def update(
        self,
        bodies: TrackBodies,
        placed: JointTransforms,
        side_px: int,
        *,
        most_outline_m: float | None = None,
    ) -> None:
        """Draws the bodies, without what they wear, at pictures of side_px, or at map size if that is less.

        Of pictures below map size every second, fourth, ... point is compared: neighbours repeat each other there,
        and a step takes as long as it has points. Outlines are looked for up to `most_outline_m` off the skin; None:
        not at all.
        """
        side_px = min(side_px, MAP_PX)
        self.stride = max(1, MAP_PX // side_px)
        surface = self.surface = self._whole.every(self.stride)
        points = surface.points
        self.weight = np.zeros((len(self._frames), self.surface.count), np.float32)
        self.outline_m = np.full_like(self.weight, np.nan)
        if side_px not in self._cameras:
            self._cameras[side_px] = [each.resized((side_px, side_px)) for each in self._frames.cameras]
        for at, camera in enumerate(self._cameras[side_px]):
            vertices = self._mesh.vertices(bodies, placed, at)
            inverse_depth = self._rasterizer.inverse_depth(
                vertices, self._mesh.faces, camera, is_closed=self._mesh.is_closed
            )
            margin_px = OUTLINE_MARGIN_PX if side_px == MAP_PX else 1
            person = self._frames.person_at(at)
            see_points(
                surface.rest, surface.normal, points.joint, points.weight, placed.rotation[at], placed.offset[at],
                camera.lens, inverse_depth, person, DEPTH_TOLERANCE_M, margin_px, LEAST_COSINE, self.weight[at],
            )  # fmt: skip
            if most_outline_m is not None:
                reach_outline(
                    surface.rest, surface.normal, points.joint, points.weight, placed.rotation[at], placed.offset[at],
                    camera.lens, inverse_depth, person, MOST_COSINE, LEAST_M, most_outline_m, self.outline_m[at],
                )  # fmt: skip
