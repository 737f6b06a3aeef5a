"""Which surface points each frame of a track sees."""

from __future__ import annotations

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.refine.alignment_kernels import see_points
from pipeline.refine.surface_points import RestSurface
from pipeline.refine.track_bodies import TrackBodies
from pipeline.refine.track_frames import TrackFrames
from pipeline.rendering import Rasterizer, render
from schemas.conventions import MAP_PX

LEAST_COSINE = 0.2
"""Surfaces seen at a flatter angle than this are not compared."""
DEPTH_TOLERANCE_M = 0.03
OUTLINE_MARGIN_PX = 2
"""At map size; 1 below it."""


class Visibility:
    """The weight of every point in every frame: 0 where it is hidden, up to 1 where it faces the camera."""

    def __init__(
        self, surface: RestSurface, frames: TrackFrames, body: BodyModel, rasterizer: Rasterizer
    ) -> None:
        self._surface, self._frames, self._body, self._rasterizer = surface, frames, body, rasterizer
        self.weight = np.zeros((len(frames), surface.count))
        """(T, Q)."""
        self.stride = 1
        """One point in so many is compared, and counts for those left out."""

    def update(self, bodies: TrackBodies, side_px: int) -> None:
        """Draws the bodies, without what they wear, at pictures of side_px, or at map size if that is less.

        Of pictures below map size every second, fourth, ... point is compared: neighbours repeat each other there,
        and a step takes as long as it has points.
        """
        side_px = min(side_px, MAP_PX)
        self.stride = max(1, MAP_PX // side_px)
        left_out = np.arange(self._surface.count) % self.stride != 0
        placed = bodies.transforms(self._body)
        for at, camera in enumerate(self._frames.cameras):
            camera = camera.resized((side_px, side_px))
            depth = render(self._rasterizer, bodies.vertices(self._body, at), self._body.faces, camera).depth
            point, normal = self._surface.posed(self._surface.rest, placed, at)
            margin_px = OUTLINE_MARGIN_PX if side_px == MAP_PX else 1
            see_points(
                point, normal, camera.lens, depth, self._frames.person_at(at),
                DEPTH_TOLERANCE_M, margin_px, LEAST_COSINE, self.weight[at],
            )  # fmt: skip
            self.weight[at, left_out] = 0.0
