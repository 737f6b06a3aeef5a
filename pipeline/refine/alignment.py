"""Bodies of a track aligned to what their surface shows in the other frames: Gauss-Newton on the skeleton.

Every frame's corrections (a turn of each joint and a translation) are solved for against the appearance that the
frames around it give each surface point, all frames at once, then the appearance is made anew; coarse to fine. With
V_t(q) the logarithm of frame t's colour at surface point q, one step for frame t minimises

    w_p sum_q rho((V_t(q) - A_t(q) - B_t(q)) / s) + |turns / s_turn|^2 + |translation / s_translation|^2
        + |second difference of turns and translations in time|^2 / s_unrest^2

A_t is the mean over the other frames of a window, B_t a bias that varies slowly over the surface (light on a colour is
a bias of its logarithm), rho Geman and McClure's norm. The mean of A over a window makes this the sum over all its
pairs: sum of squared differences = count x sum of squared distances to the mean. Light that stands still while the body
turns is taken out of V beforehand (`light`), one for the track.

Points lie on the body's surface moved along its normals by an offset that all frames share and that varies slowly
over the surface: clothes, hair and a wrong shape. It is solved for beside the corrections and then forgotten; without
it limbs would move to explain what clothes do. The track's mean of every correction stays zero: the tracker alone
says where the body is, the pictures say how frames differ.

Source: method, section 10 (our probe), made for a whole track; see README.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.skinning import JointTransforms
from pipeline.config import RefineSettings
from pipeline.geometry.camera import Camera
from pipeline.refine.alignment_kernels import (
    CORRECTIONS,
    TRANSLATION,
    add_normal_equations,
    blend_appearance,
    place_points,
    sample_picture,
    see_points,
    subtract_field,
)
from pipeline.refine.frame_coupling import follow_each_other, relaxation, smooth_step
from pipeline.refine.light import fitted_light
from pipeline.refine.light_kernels import COEFFICIENTS, facing_basis, subtract_light
from pipeline.refine.pictures import TONE, LevelPicture, LevelPictures, PersonAt, Pictures
from pipeline.refine.robust import ROBUST_SIGMAS, robust_weight
from pipeline.refine.shared_offset import OffsetSystem
from pipeline.refine.surface_points import SurfacePoints, spread_points
from pipeline.refine.track_bodies import TrackBodies
from pipeline.rendering import Rasterizer, render
from schemas.conventions import JOINT_COUNT, MAP_PX

CHANNELS = 3
DAMPING = 0.02
"""Share of the diagonal that is added to it (Levenberg and Marquardt)."""
MIN_SUPPORT = 0.5
"""A point counts in a frame when the weights of the other frames that see it reach this."""
BIAS_PRIOR = 2.0
"""Samples' worth of weight that pulls a node's bias to zero in each iteration."""
LEAST_COSINE = 0.2
"""Surfaces seen at a flatter angle than this are not compared."""
DEPTH_TOLERANCE_M = 0.03
OUTLINE_MARGIN_PX = 2
LIGHT_STRIDE = 8
"""Every so many points one tells of the light: some 700 a frame, for eight coefficients a track."""


class Alignment:
    """The state of one track's refinement. Frames are those with pictures; T of them."""

    def __init__(
        self,
        bodies: TrackBodies,
        pictures: Pictures,
        cameras: Sequence[Camera],
        pts_s: np.ndarray,
        neighbours: np.ndarray,
        body: BodyModel,
        rasterizer: Rasterizer,
        settings: RefineSettings,
        person: PersonAt | None = None,
    ) -> None:
        """`neighbours` (T, T): the weight of frame s in the appearance that frame t is aligned to; 0 on the diagonal.

        `cameras` are those of the pictures, `pts_s` (T,) their times; `person` tells where each shows the person.
        """
        self.bodies = bodies
        self._start, self._pictures, self._cameras = bodies, pictures, cameras
        self._body, self._rasterizer, self._settings = body, rasterizer, settings
        self._person = person
        self._neighbours = neighbours
        self._neighbour = [np.flatnonzero(row) for row in neighbours]
        self._neighbour_weight = [row[row > 0] for row in neighbours]
        self._points: SurfacePoints = spread_points(body, settings.points, settings.node_spacing_m)
        self._rest, self._normal = self._points.rest(
            body.template + body.shapedirs @ bodies.betas, body.faces
        )
        self._parents = np.ascontiguousarray(body.parents, np.int64)
        frames, points = len(cameras), settings.points
        self._is_inner = follow_each_other(pts_s)
        self._relaxation = relaxation(neighbours)
        self._offset_m = np.zeros(self._points.node_count)
        self._light = np.zeros((COEFFICIENTS, CHANNELS))
        self._bias = np.zeros((frames, self._points.node_count, CHANNELS), np.float32)
        self._value = np.zeros((frames, points, CHANNELS), np.float32)
        self._depth_slope = np.zeros((frames, points, CHANNELS), np.float32)
        self._seen = np.zeros((frames, points))
        self._every = 1

    def solve(self, report: Callable[[str, int, int], None] | None = None) -> TrackBodies:
        """All levels, coarse to fine. `report` hears of every step of all frames."""
        done, total = 0, len(self._settings.levels_px) * self._settings.iterations
        for side_px in self._settings.levels_px:
            level = LevelPictures(self._pictures, self._cameras, self._body_boxes(), side_px)
            for iteration in range(self._settings.iterations):
                is_new_look = iteration in (0, self._settings.iterations // 2)
                if is_new_look:
                    self._look(min(side_px, MAP_PX))
                self._iterate(level, relight=is_new_look and self._settings.light)
                done += 1
                if report is not None:
                    report("refine", done, total)
        return self.bodies

    def _body_boxes(self) -> list[np.ndarray]:
        """(2, 2) of each frame: upper left and lower right corner of the body in its crop."""
        boxes = []
        for at, camera in enumerate(self._cameras):
            body_px = camera.px_from_cam(self.bodies.vertices(self._body, at))
            boxes.append(np.stack([np.nanmin(body_px, axis=0), np.nanmax(body_px, axis=0)]))
        return boxes

    def _look(self, side_px: int) -> None:
        """Which points each frame sees, by the naked body; of pictures below map size every second, fourth, ... one.

        Neighbours repeat each other there, and a step takes as long as it has points. Each counts for those left out.
        """
        self._every = max(1, MAP_PX // side_px)
        compared = np.arange(len(self._rest)) % self._every == 0
        points, placed = self._points, self.bodies.transforms(self._body)
        point, normal = np.empty_like(self._rest), np.empty_like(self._rest)
        for at, camera in enumerate(self._cameras):
            camera = camera.resized((side_px, side_px))
            vertices = self.bodies.vertices(self._body, at)
            depth = render(self._rasterizer, vertices, self._body.faces, camera).depth
            place_points(
                self._rest, self._normal, points.joint, points.weight,
                placed.rotation[at], placed.offset[at], point, normal,
            )  # fmt: skip
            margin = OUTLINE_MARGIN_PX if side_px == MAP_PX else 1
            see_points(
                point,
                normal,
                camera.lens,
                depth,
                self._person_at(at),
                DEPTH_TOLERANCE_M,
                margin,
                LEAST_COSINE,
                self._seen[at],
            )
            self._seen[at][~compared] = 0.0

    def _person_at(self, at: int) -> np.ndarray:
        found = self._person(at) if self._person is not None else None
        return np.ones((1, 1), np.uint8) if found is None else found

    def _iterate(self, level: LevelPictures, *, relight: bool) -> None:
        """One step of every frame and of what they share, all against the same appearance."""
        placed, count = self.bodies.transforms(self._body), len(level)
        offset_m = (self._points.node_weight * self._offset_m[self._points.node]).sum(axis=1)
        dressed = self._rest + offset_m[:, None] * self._normal
        for at in range(count):
            self._sample(level[at], placed, at, dressed)
        hessian, gradient = np.zeros((count, CORRECTIONS, CORRECTIONS)), np.zeros((count, CORRECTIONS))
        offset = OffsetSystem(self._points)
        more_bias = np.zeros_like(self._bias)
        for at in range(count):
            residual, offset_slope, counted = self._compare(at)
            more_bias[at] = self._node_bias(residual, counted)
            self._subtract(more_bias[at], residual)
            weight = self._sample_weight(residual, counted)
            slope = self._sample(level[at], placed, at, dressed)
            add_normal_equations(
                dressed, self._points.joint, self._points.weight, self._parents,
                placed.rotation[at], placed.offset[at], placed.position[at],
                weight, residual, slope, hessian[at], gradient[at],
            )  # fmt: skip
            offset.add(weight, residual, offset_slope)
        self._correct(hessian, gradient, placed.rotation)
        del hessian
        self._offset_m = offset.solved(self._offset_m, self._settings.offset_sigma_m, DAMPING)
        if relight:  # first claim to what both could explain
            self._relight(placed)
        else:
            self._bias += more_bias - more_bias.mean(axis=0)

    def _relight(self, placed: JointTransforms) -> None:
        """Adds to the light what explains the values as they were sampled, less the light of then."""
        points, few = self._points, np.s_[::LIGHT_STRIDE]
        joint, weight = (np.ascontiguousarray(each[few]) for each in (points.joint, points.weight))
        rest, facing = np.ascontiguousarray(self._rest[few]), np.ascontiguousarray(self._normal[few])
        basis = np.empty((len(self._value), len(rest), COEFFICIENTS), np.float32)
        point, normal = np.empty_like(rest), np.empty_like(rest)
        for at in range(len(self._value)):
            place_points(rest, facing, joint, weight, placed.rotation[at], placed.offset[at], point, normal)
            facing_basis(normal, basis[at])
        self._light += fitted_light(
            basis,
            self._value[:, few],
            self._seen[:, few],
            self._neighbours,
            min_support=MIN_SUPPORT,
            least_sigma=self._settings.colour_sigma,
            sample_weight=LIGHT_STRIDE * self._settings.picture_weight,
        )

    def _sample(
        self, picture: LevelPicture, placed: JointTransforms, at: int, dressed: np.ndarray
    ) -> np.ndarray:
        """Fills a frame's values, less light and bias, and slopes by the offset; returns their slopes by the point."""
        points = self._points
        point, normal = np.empty_like(dressed), np.empty_like(dressed)
        place_points(
            dressed, self._normal, points.joint, points.weight,
            placed.rotation[at], placed.offset[at], point, normal,
        )  # fmt: skip
        slope = np.zeros((len(point), CHANNELS, 3), np.float32)
        sample_picture(
            picture.picture, TONE, point, normal, self._seen[at], picture.lens,
            self._value[at], slope, self._depth_slope[at],
        )  # fmt: skip
        self._subtract(self._bias[at], self._value[at])
        subtract_light(normal, self._seen[at], self._light, self._value[at])
        return slope

    def _compare(self, at: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals V - A (Q, C), their slopes by the offset (Q, C), and how much each point counts (Q,)."""
        settings = self._settings
        appearance, appearance_slope = np.empty_like(self._value[at]), np.empty_like(self._value[at])
        support = np.empty(len(self._rest))
        blend_appearance(
            self._value, self._depth_slope, self._seen, at, self._neighbour[at], self._neighbour_weight[at],
            ROBUST_SIGMAS * settings.colour_sigma if settings.mode == "pairs" else 0.0,
            appearance, appearance_slope, support,
        )  # fmt: skip
        counted = np.where(support > MIN_SUPPORT, self._seen[at], 0.0)
        return self._value[at] - appearance, self._depth_slope[at] - appearance_slope, counted

    def _node_bias(self, residual: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """(K, C) the weighted mean residual around each node, drawn to zero where little is seen."""
        node, share = self._points.node.ravel(), (counted[:, None] * self._points.node_weight)
        count = self._points.node_count
        total = np.bincount(node, share.ravel(), count) + BIAS_PRIOR
        sums = [
            np.bincount(node, (share * residual[:, channel, None]).ravel(), count)
            for channel in range(CHANNELS)
        ]
        return (np.stack(sums, axis=1) / total[:, None]).astype(np.float32)

    def _subtract(self, nodes: np.ndarray, values: np.ndarray) -> None:
        """Takes a field given at nodes (K, C) from values at points (Q, C)."""
        subtract_field(self._points.node, self._points.node_weight, nodes, values)

    def _sample_weight(self, residual: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """(Q, C) weights of squared residuals."""
        settings = self._settings
        weight = robust_weight(residual.astype(np.float64), counted, settings.colour_sigma)
        return self._every * settings.picture_weight * weight

    def _correct(self, hessian: np.ndarray, gradient: np.ndarray, joint_axes: np.ndarray) -> None:
        """Solves every frame's step in the joints' own axes and applies it."""
        settings = self._settings
        axes = np.eye(CORRECTIONS)
        for at, turned in enumerate(joint_axes):  # in place: 45 kB a frame
            for joint in range(JOINT_COUNT):
                place = slice(3 * joint, 3 * joint + 3)
                axes[place, place] = turned[joint]
            hessian[at] = axes.T @ hessian[at] @ axes
            gradient[at] = np.einsum("ji,j->i", axes, gradient[at])
        so_far = self.bodies.corrections_since(self._start)
        stiffness = np.full(CORRECTIONS, settings.turn_sigma_rad**-2.0)
        stiffness[TRANSLATION:] = settings.translation_sigma_m**-2.0
        diagonal = np.arange(CORRECTIONS)
        hessian[:, diagonal, diagonal] *= 1.0 + DAMPING
        hessian[:, diagonal, diagonal] += stiffness
        calm = np.full(CORRECTIONS, settings.turn_unrest_sigma_rad**-2.0)
        calm[TRANSLATION:] = settings.translation_unrest_sigma_m**-2.0
        step = -self._relaxation * smooth_step(
            hessian, gradient + stiffness * so_far, so_far, calm, self._is_inner
        )
        self.bodies = self.bodies.corrected(step)
