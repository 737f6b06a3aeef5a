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
over the surface: clothes, hair and a wrong shape. It is solved for beside the corrections; without it limbs would move
to explain what clothes do. `dressed_shape` is what it comes to, at the end with what outlines say (`outlines`). The
mean of every correction over a few seconds stays zero (`TrackBodies.without_drift`): the tracker says where the body
is, the pictures say how frames differ.

Source: method, section 10 (our probe), made for a whole track; see README.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.skinning import JointTransforms
from pipeline.config import RefineSettings
from pipeline.refine.appearance import Appearance, Difference
from pipeline.refine.dressed_shape import DressedShape
from pipeline.refine.equation_kernels import CORRECTIONS, TWIST, add_twist_equations, carry_up
from pipeline.refine.outlines import with_outlines
from pipeline.refine.pictures import TONE, LevelPicture, LevelPictures, TrackPictures
from pipeline.refine.shared_offset import OffsetPrior, OffsetSystem
from pipeline.refine.step_solver import DAMPING, StepSolver
from pipeline.refine.surface_points import RestSurface, spread_points
from pipeline.refine.track_bodies import TrackBodies, TrackMesh
from pipeline.refine.track_frames import TrackFrames
from pipeline.refine.visibility import Visibility
from pipeline.rendering.compiled import CompiledRasterizer
from schemas.conventions import JOINT_COUNT, MAP_PX

Report = Callable[[str, int, int], None]
"""Takes the stage `refine`, how many steps of it are done, and how many there are."""


def aligned_bodies(
    start: TrackBodies,
    frames: TrackFrames,
    body: BodyModel,
    rasterizer: CompiledRasterizer,
    settings: RefineSettings,
    report: Report | None = None,
    on_shape: Callable[[DressedShape], None] | None = None,
) -> TrackBodies:
    """The bodies after all levels, coarse to fine. `report` hears of every step of all frames, `on_shape` of the shape
    that they share, at the end."""
    alignment = Alignment(start, frames, body, rasterizer, settings)
    done, total = 0, sum(steps_at(side_px, settings) for side_px in settings.levels_px)
    for side_px in settings.levels_px:
        level = alignment.level(side_px)
        for iteration in range(steps_at(side_px, settings)):
            if iteration == 0:
                alignment.update_visibility(side_px)
            is_first_or_middle = iteration in (0, settings.iterations // 2)
            alignment.step(level, update_lighting=is_first_or_middle and settings.static_lighting)
            done += 1
            if report is not None:
                report("refine", done, total)
    if on_shape is not None:
        on_shape(alignment.dressed_shape())
    return alignment.bodies


def steps_at(side_px: int, settings: RefineSettings) -> int:
    """How many steps a level takes: one above map size, where bodies hardly move any more."""
    return settings.iterations if side_px <= MAP_PX else 1


class Alignment:
    """The bodies and the offset of one track, and one step of both."""

    def __init__(
        self,
        start: TrackBodies,
        frames: TrackFrames,
        body: BodyModel,
        rasterizer: CompiledRasterizer,
        settings: RefineSettings,
    ) -> None:
        self.bodies = start
        self._frames, self._body, self._settings = frames, body, settings
        self._surface = RestSurface.of(
            spread_points(body, settings.points, settings.node_spacing_m), body, start.betas
        )
        self._parents = np.ascontiguousarray(body.parents, np.int64)
        mesh = TrackMesh(body, start.betas)
        self._visibility = Visibility(self._surface, frames, mesh, rasterizer)
        self._pictures = TrackPictures(frames, boxes_px(start, frames, body, mesh), settings.levels_px)
        self._appearance = Appearance(frames, self._visibility, self._surface.points.node_count, settings)
        self._solver = StepSolver(start, frames, settings)
        self._offset_prior = OffsetPrior.of(settings)
        self._offset_m = np.full(self._surface.points.node_count, settings.offset_mean_m)
        self._offset_system, self._offset_before_m = OffsetSystem(self._surface.points), self._offset_m

    def dressed_shape(self) -> DressedShape:
        """How far the surface that all frames share lies off the skin, by what the last step was solved from and, if
        they are asked, by the outlines of the bodies as they are now; and how sure."""
        settings, points = self._settings, self._surface.points
        if not settings.outlines:
            sigma_m = self._offset_system.uncertainty_m(settings.offset_sigma_m)
            return DressedShape(points=points, offset_m=self._offset_m, sigma_m=sigma_m)
        placed, most_m = self.bodies.transforms(self._body), settings.offset_range_m[1]
        offset_m, sigma_m = with_outlines(
            self._offset_system,
            self._offset_before_m,
            self._visibility.outlines(self.bodies, placed, most_m),
            self._offset_prior,
            settings.outline_sigma_m,
        )
        return DressedShape(points=points, offset_m=offset_m, sigma_m=sigma_m)

    def level(self, side_px: int) -> LevelPictures:
        """The frames' pictures at one resolution."""
        return self._pictures.level(side_px)

    def update_visibility(self, side_px: int) -> None:
        """Which points each frame sees, by the bodies as they are now."""
        self._visibility.update(self.bodies, self.bodies.transforms(self._body), side_px)

    def step(self, level: LevelPictures, *, update_lighting: bool) -> None:
        """One step of every frame and of what they share, all against the same appearance."""
        placed, count = self.bodies.transforms(self._body), len(level)
        surface = self._visibility.surface
        dressed = surface.dressed(self._offset_m)
        for at in range(count):
            self._appearance.sample(at, level[at], placed, dressed)
        hessian, gradient = np.empty((count, CORRECTIONS, CORRECTIONS)), np.empty((count, CORRECTIONS))
        offset = OffsetSystem(surface.points)
        more_bias = np.empty_like(self._appearance.bias)
        for at, difference in enumerate(self._appearance.differences(offset)):
            more_bias[at] = difference.bias
            self._equations(at, level[at], placed, dressed, difference, hessian[at], gradient[at])
        self.bodies = self._solver.stepped(self.bodies, hessian, gradient)
        del hessian
        self._offset_system, self._offset_before_m = offset, self._offset_m
        self._offset_m = offset.solved(self._offset_m, self._offset_prior, DAMPING)
        if update_lighting:  # first claim to what both could explain
            self._appearance.update_lighting(placed)
        else:
            self._appearance.bias += more_bias - more_bias.mean(axis=0)

    def _equations(
        self,
        at: int,
        picture: LevelPicture,
        placed: JointTransforms,
        dressed: np.ndarray,
        difference: Difference,
        hessian: np.ndarray,
        gradient: np.ndarray,
    ) -> None:
        """Fills the normal equations (75, 75) and (75,) of a frame."""
        points, origin = self._visibility.surface.points, placed.position[at, 0]
        twist_hessian = np.zeros((JOINT_COUNT, JOINT_COUNT, TWIST, TWIST))
        twist_gradient = np.zeros((JOINT_COUNT, TWIST))
        add_twist_equations(
            dressed, points.joint, points.weight, placed.rotation[at], placed.offset[at], origin,
            picture.picture, TONE, picture.lens, difference.weight, difference.residual,
            twist_hessian, twist_gradient,
        )  # fmt: skip
        carry_up(
            twist_hessian, twist_gradient, self._parents, placed.rotation[at], placed.position[at], origin,
            hessian, gradient,
        )  # fmt: skip


def boxes_px(bodies: TrackBodies, frames: TrackFrames, body: BodyModel, mesh: TrackMesh) -> list[np.ndarray]:
    """(2, 2) of each frame: upper left and lower right corner of the body in its crop."""
    placed, boxes = bodies.transforms(body), []
    for at, camera in enumerate(frames.cameras):
        body_px = np.ascontiguousarray(camera.px_from_cam(mesh.vertices(bodies, placed, at)).T)
        boxes.append(np.stack([np.fmin.reduce(body_px, axis=1), np.fmax.reduce(body_px, axis=1)]))
    return boxes
