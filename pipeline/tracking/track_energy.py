"""The energy of one track and its derivatives by all variables: what the fit goes down.

One compiled pass after the other, without a graph: in a fit's tens of thousands of small tensor operations the calls
took twice as long as the sums. `tests/support/torch_energy.py` is the same in torch, term by term.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.config import TrackingSettings
from pipeline.geometry.camera import Camera
from pipeline.geometry.kinematics import fill_rotation_slopes, fill_rotations
from pipeline.geometry.outline_kernel import fill_silhouette_slopes
from pipeline.tracking import fit_energy as energy
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.depth_bias import without_depth_bias
from pipeline.tracking.fit_start import HIPS, camera_from_ray, landmark_confidence
from pipeline.tracking.knots import time_knots
from pipeline.tracking.lifter import lifter_of
from pipeline.tracking.lifter_term import LiftedTrack, lifted_slopes
from pipeline.tracking.people import Observations
from pipeline.tracking.pose_prior import PosePrior, learned_prior
from pipeline.tracking.posed_track import REAL, PosedTrack
from pipeline.tracking.silhouette import MASK_PX, Silhouettes
from pipeline.tracking.skin_sample import spread_vertices
from pipeline.tracking.term_kernels import (
    PLACE,
    POSE,
    add_landmark_slopes,
    add_posture_slopes,
    add_smoothness_slopes,
    add_world_slopes,
)
from schemas.conventions import BETA_COUNT

SURFACE_VERTICES = 1000
"""Vertices that stand for the surface in the silhouette term."""
SILHOUETTE_FRAMES = 12
"""Frames whose silhouettes are compared in one step, drawn anew each time."""
TURN_SPACING_S = 1.0
"""Knots of the common turns of landmarks in space."""
MIN_SIZE_SHARE = 0.3
"""A person's size in a frame counts as at least this share of the track's median (a crouching moment)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shared:
    """Variables that all frames of a track share, or slopes by them; float32."""

    betas: np.ndarray
    """(10,)."""
    log_scale: np.ndarray
    """(1,) of the world landmarks ..."""
    lifted_scale: np.ndarray
    """(1,) ... and of the lifter's."""
    turns: np.ndarray
    """(K, 3) of the lifter's landmarks, at knots in time ..."""
    world_turns: np.ndarray
    """(2, K, 3) ... and of the two `WORLD_PARTS` of the network's."""

    @classmethod
    def zeros(cls, knot_count: int) -> Shared:
        """The mean shape, and everything as it was seen."""
        return cls(
            betas=np.zeros(BETA_COUNT, REAL),
            log_scale=np.zeros(1, REAL),
            lifted_scale=np.zeros(1, REAL),
            turns=np.zeros((knot_count, 3), REAL),
            world_turns=np.zeros((len(energy.WORLD_PARTS), knot_count, 3), REAL),
        )


class TrackEnergy:
    """What a track's frames show, and how far bodies are from it."""

    def __init__(
        self,
        body: ArticulatedBody,
        seen: Observations,
        silhouettes: Silhouettes | None,
        camera: Camera,
        settings: TrackingSettings,
        rng: np.random.Generator,
        weights: energy.EnergyWeights,
        prior: PosePrior | None = None,
    ) -> None:
        """`camera` is the full image's; `rng` draws what silhouettes are compared at; `prior`: else the learned one."""
        self._settings, self._weights, self._rng = settings, weights, rng
        surface = spread_vertices(body, SURFACE_VERTICES, rng)
        self._posed = PosedTrack(body, len(seen), surface)
        self._offsets = body.landmark_offsets
        self._lens = camera.lens.astype(REAL)
        self._size_px = np.maximum(seen.size_px, MIN_SIZE_SHARE * np.median(seen.size_px)).astype(REAL)
        self._seen_px = seen.xy_px.astype(REAL)
        self._confidence = (energy.landmark_weights() * landmark_confidence(seen)).astype(REAL)
        self._part_weights = energy.part_shares()[:, None].astype(REAL) * self._confidence
        axes = camera_from_ray(seen, camera)
        along_ray = without_depth_bias(seen.world_m) if settings.depth_bias else seen.world_m
        self.world_m = np.einsum("tij,tkj->tki", axes, along_ray)
        """(T, 33, 3) landmarks in space in the camera's axes: the network's, or the lifter's where there is one."""
        self._world_m = (self.world_m - self.world_m[:, HIPS].mean(axis=1, keepdims=True)).astype(REAL)
        times = energy.Acceleration(seen.pts_s).times if len(seen) > 2 else np.zeros((0, 4))
        self._times = times.astype(REAL)
        self._prior, self._stiffness = prior or learned_prior(), energy.extremity_stiffness().ravel()
        self._outlines = None if silhouettes is None else _Outlines.of(silhouettes)
        self.turn_weights = time_knots(seen.pts_s, TURN_SPACING_S)
        """(T, K) from the knots of the turns to frames."""
        self._lifted = (
            LiftedTrack.of(seen, axes, camera, lifter_of(settings.lifter)) if settings.lifter else None
        )
        if self._lifted is not None:
            self.world_m = self._lifted.in_camera_axes().astype(np.float64)

    def value_and_slopes(
        self, values: np.ndarray, shared: Shared, *, is_fine: bool
    ) -> tuple[float, np.ndarray, Shared]:
        """The energy of values (T, 78), see `PosedTrack`, and its derivatives by them and by what frames share."""
        weights, posed = self._weights, self._posed
        by_values, by_shared = np.zeros_like(values), Shared.zeros(len(shared.turns))
        posed.pose(values, shared.betas)
        total = self._seen_value(values, shared, by_values, by_shared, is_fine=is_fine)
        total += self._lifted_value(shared, by_shared, is_fine=is_fine)
        total += self._prior.add_slopes(values, POSE, weights.pose_prior, by_values)
        total += add_posture_slopes(
            values, self._stiffness, energy.HINGES, energy.HINGE_SIGNS, energy.LARGEST_HINGE_RAD,
            (weights.extremities, weights.hinge), by_values,
        )  # fmt: skip
        if self._times[:, 3].any():
            smooth = weights.landmark_acceleration, weights.pose_acceleration, weights.depth_acceleration
            total += add_smoothness_slopes(
                posed.points, values, self._times, smooth, posed.by_points, by_values
            )
        if is_fine and self._outlines is not None and self._settings.silhouette_weight > 0:
            total += self._silhouette_value(values, by_values)
        by_shared.betas[:] += posed.add_slopes(values, by_values)
        for weight, variable, slope in (
            (weights.shape, shared.betas, by_shared.betas),
            (weights.world_scale, shared.log_scale, by_shared.log_scale),
        ):
            total += weight * float(variable @ variable)
            slope += 2 * weight * variable
        return total, by_values, by_shared

    def _seen_value(
        self, values: np.ndarray, shared: Shared, by_values: np.ndarray, by_shared: Shared, *, is_fine: bool
    ) -> float:
        """Landmarks in the picture and in space."""
        weights, posed = self._weights, self._posed
        value = add_landmark_slopes(
            posed.points, values, self._lens, energy.NEAREST_Z_M, self._seen_px, self._size_px, self._confidence,
            energy.LANDMARK_SIGMA[is_fine], weights.landmarks, posed.by_points, by_values,
        )  # fmt: skip
        return value + self._world_value(shared, by_shared, is_fine=is_fine)

    def _world_value(self, shared: Shared, by_shared: Shared, *, is_fine: bool) -> float:
        """Landmarks in space of each of `WORLD_PARTS`, which turn together as the landmark network leans."""
        weights, posed, value = self._weights, self._posed, 0.0
        world = weights.world_fine if is_fine else weights.world_coarse
        loose = weights.world_turn / len(self.turn_weights.T)
        for part, turns in enumerate(shared.world_turns):
            angles = self.turn_weights @ turns
            rotation, by_rotation = np.empty((2, *angles.shape, 3), REAL)
            fill_rotations(angles, rotation)
            by_rotation[:] = 0.0
            value += add_world_slopes(
                posed.points, shared.log_scale, rotation, self._world_m, self._part_weights[part],
                (HIPS[0], HIPS[1]), energy.WORLD_SIGMA_M, world, posed.by_points, by_shared.log_scale, by_rotation,
            )  # fmt: skip
            by_angles = np.empty_like(angles)
            fill_rotation_slopes(angles, by_rotation, by_angles)
            by_shared.world_turns[part] = self.turn_weights.T @ by_angles + 2 * loose * turns
            value += loose * float(np.square(turns).sum())
        return value

    def _silhouette_value(self, values: np.ndarray, by_values: np.ndarray) -> float:
        """Silhouettes of some frames."""
        assert self._outlines is not None
        drawn = self._rng.permutation(len(values))[:SILHOUETTE_FRAMES]
        surface = self._posed.surface(drawn) + values[drawn, None, PLACE:]
        slope = np.empty_like(surface)
        outlines, weight = self._outlines, self._weights.silhouette * self._settings.silhouette_weight
        value = fill_silhouette_slopes(
            surface, self._lens, energy.NEAREST_Z_M, drawn, self._size_px[drawn], outlines.outside_px,
            outlines.cell_from_px, outlines.contour_px, outlines.contour_weight,
            (energy.OUTSIDE_SIGMA, energy.INSIDE_SIGMA), slope,
        )  # fmt: skip
        slope *= REAL(weight)
        self._posed.add_surface_slopes(drawn, slope)
        by_values[drawn, PLACE:] += np.ones(slope.shape[1], REAL) @ slope  # a tenth of the time of `sum`
        return weight * value

    def _lifted_value(self, shared: Shared, by_shared: Shared, *, is_fine: bool) -> float:
        """The lifter's landmarks, where there is one; they are the points that they are named for."""
        if self._lifted is None:
            return 0.0
        weights, posed, turns, scale = self._weights, self._posed, shared.turns, shared.lifted_scale
        offsets, named = self._offsets, posed.points
        if offsets is not None:
            named = named - offsets.turned(posed.rotation.astype(np.float64)).astype(REAL)
        weight = self._settings.lifter_weight * (weights.lifter_fine if is_fine else weights.lifter_coarse)
        value, slopes = lifted_slopes(
            named, self._lifted, turns, self.turn_weights, scale, energy.landmark_weights().astype(REAL)
        )
        by_named = weight * slopes.by_points
        posed.by_points += by_named
        if offsets is not None:
            posed.by_rotation -= offsets.slopes(by_named.astype(np.float64)).astype(REAL)
        by_shared.turns[:] = weight * slopes.by_turns + 2 * weights.lifter_turn / len(turns) * turns
        by_shared.lifted_scale[:] = weight * slopes.by_scale + 2 * weights.world_scale * scale
        loose = weights.lifter_turn * float(np.square(turns).sum()) / len(turns)
        return weight * value + loose + weights.world_scale * float(scale @ scale)


@dataclass(frozen=True, slots=True, eq=False)
class _Outlines:
    """What the fit reads of `Silhouettes` of T frames; float32."""

    outside_px: np.ndarray
    """(T, M, M) distances to the mask."""
    cell_from_px: np.ndarray
    """(T, 2, 3)."""
    contour_px: np.ndarray
    """(T, C, 2)."""
    contour_weight: np.ndarray
    """(T, C)."""

    @classmethod
    def of(cls, silhouettes: Silhouettes) -> _Outlines:
        """Their arrays; the maps' own, not copies."""
        cell_from_px = silhouettes.mask_from_image * (silhouettes.outside_px.shape[-1] / MASK_PX)
        return cls(
            silhouettes.outside_px,
            cell_from_px.astype(REAL),
            silhouettes.contour_px.astype(REAL),
            silhouettes.contour_weight.astype(REAL),
        )
