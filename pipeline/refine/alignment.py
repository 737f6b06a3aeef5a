"""Bodies of a track aligned to what their surface shows in the other frames: Gauss-Newton on the skeleton.

Every frame's corrections (a turn of each joint and a translation) are solved for against the appearance that the
frames around it give each surface point, all frames at once, then the appearance is made anew; coarse to fine. With
V_t(q) the logarithm of frame t's colour at surface point q, one step for frame t minimises

    w_p sum_q rho((V_t(q) - A_t(q) - B_t(q)) / s) + |turns / s_turn|^2 + |translation / s_translation|^2
        + |acceleration of turns and translations|^2 / s_acceleration^2

A_t is the mean over the other frames of a window, B_t a bias that varies slowly over the surface (light on a colour is
a bias of its logarithm), rho Geman and McClure's norm. The mean of A over a window makes this the sum over all its
pairs: sum of squared differences = count x sum of squared distances to the mean. Static lighting, one estimate for the
track, is taken out of V beforehand (`static_lighting`).

Points lie on the body's surface moved along its normals by an offset that all frames share and that varies slowly
over the surface: clothes, hair and a wrong shape. It is solved for beside the corrections and then forgotten; without
it limbs would move to explain what clothes do. The track's mean of every correction stays zero: the tracker alone
says where the body is, the pictures say how frames differ.

Source: method, section 10 (our probe), made for a whole track; see README.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import RefineSettings
from pipeline.refine.alignment_kernels import CORRECTIONS, add_normal_equations
from pipeline.refine.appearance import Appearance
from pipeline.refine.pictures import LevelPictures
from pipeline.refine.robust import robust_weight
from pipeline.refine.shared_offset import OffsetSystem
from pipeline.refine.step_solver import DAMPING, StepSolver
from pipeline.refine.surface_points import RestSurface, spread_points
from pipeline.refine.track_bodies import TrackBodies
from pipeline.refine.track_frames import TrackFrames
from pipeline.refine.visibility import Visibility
from pipeline.rendering import Rasterizer

Report = Callable[[str, int, int], None]
"""Takes the stage `refine`, how many steps of it are done, and how many there are."""


def aligned_bodies(
    start: TrackBodies,
    frames: TrackFrames,
    body: BodyModel,
    rasterizer: Rasterizer,
    settings: RefineSettings,
    report: Report | None = None,
) -> TrackBodies:
    """The bodies after all levels, coarse to fine. `report` hears of every step of all frames."""
    alignment = Alignment(start, frames, body, rasterizer, settings)
    done, total = 0, len(settings.levels_px) * settings.iterations
    for side_px in settings.levels_px:
        level = alignment.level(side_px)
        for iteration in range(settings.iterations):
            is_first_or_middle = iteration in (0, settings.iterations // 2)
            if is_first_or_middle:
                alignment.update_visibility(side_px)
            alignment.step(level, update_lighting=is_first_or_middle and settings.static_lighting)
            done += 1
            if report is not None:
                report("refine", done, total)
    return alignment.bodies


class Alignment:
    """The bodies and the offset of one track, and one step of both."""

    def __init__(
        self,
        start: TrackBodies,
        frames: TrackFrames,
        body: BodyModel,
        rasterizer: Rasterizer,
        settings: RefineSettings,
    ) -> None:
        self.bodies = start
        self._frames, self._body, self._settings = frames, body, settings
        self._surface = RestSurface.of(
            spread_points(body, settings.points, settings.node_spacing_m), body, start.betas
        )
        self._parents = np.ascontiguousarray(body.parents, np.int64)
        self._visibility = Visibility(self._surface, frames, body, rasterizer)
        self._appearance = Appearance(self._surface, frames, self._visibility, settings)
        self._solver = StepSolver(start, frames, settings)
        self._offset_m = np.zeros(self._surface.points.node_count)

    def level(self, side_px: int) -> LevelPictures:
        """The frames' pictures at one resolution, cut to the bodies as they are now."""
        boxes_px = []
        for at, camera in enumerate(self._frames.cameras):
            body_px = camera.px_from_cam(self.bodies.vertices(self._body, at))
            boxes_px.append(np.stack([np.nanmin(body_px, axis=0), np.nanmax(body_px, axis=0)]))
        return LevelPictures(self._frames.pictures, self._frames.cameras, boxes_px, side_px)

    def update_visibility(self, side_px: int) -> None:
        """Which points each frame sees, by the bodies as they are now."""
        self._visibility.update(self.bodies, side_px)

    def step(self, level: LevelPictures, *, update_lighting: bool) -> None:
        """One step of every frame and of what they share, all against the same appearance."""
        placed, count, appearance = self.bodies.transforms(self._body), len(level), self._appearance
        points, dressed = self._surface.points, self._surface.dressed(self._offset_m)
        for at in range(count):
            appearance.sample(level[at], placed, at, dressed)
        hessian, gradient = np.zeros((count, CORRECTIONS, CORRECTIONS)), np.zeros((count, CORRECTIONS))
        offset = OffsetSystem(points)
        more_bias = np.zeros_like(appearance.bias)
        for at in range(count):
            residual, offset_slope, counted = appearance.compare(at)
            more_bias[at] = appearance.node_bias(residual, counted)
            appearance.subtract(more_bias[at], residual)
            weight = self._sample_weight(residual, counted)
            slope = appearance.sample(level[at], placed, at, dressed)
            add_normal_equations(
                dressed, points.joint, points.weight, self._parents,
                placed.rotation[at], placed.offset[at], placed.position[at],
                weight, residual, slope, hessian[at], gradient[at],
            )  # fmt: skip
            offset.add(weight, residual, offset_slope)
        self.bodies = self._solver.stepped(self.bodies, hessian, gradient, placed.rotation)
        del hessian
        self._offset_m = offset.solved(self._offset_m, self._settings.offset_sigma_m, DAMPING)
        if update_lighting:  # first claim to what both could explain
            appearance.update_lighting(placed)
        else:
            appearance.bias += more_bias - more_bias.mean(axis=0)

    def _sample_weight(self, residual: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """(Q, C) weights of squared residuals."""
        settings = self._settings
        weight = robust_weight(residual.astype(np.float64), counted, settings.colour_sigma)
        return self._visibility.stride * settings.picture_weight * weight
