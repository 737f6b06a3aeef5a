"""Fits one body to all frames of a track at once: pose and place per frame, one shape, by Adam on one thread."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from pipeline.config import TrackingSettings
from pipeline.geometry.camera import Camera
from pipeline.tracking import fit_energy as energy
from pipeline.tracking.adam import Adam
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.articulation import (
    BodyTensors,
    JointTransforms,
    rotation_from_axis_angle,
    rotation_from_two_columns,
    spread_vertices,
)
from pipeline.tracking.fit_start import HIPS, camera_from_ray, landmark_confidence, start_of
from pipeline.tracking.knots import SwingingTracks, scale_free, time_knots
from pipeline.tracking.landmark_offsets import OffsetTensors, learned_offsets
from pipeline.tracking.lifter import Lifter, lifted, lifter_of
from pipeline.tracking.people import Observations
from pipeline.tracking.pose_prior import learned_prior
from pipeline.tracking.silhouette import MASK_PX, Silhouettes
from schemas.conventions import BETA_COUNT

SURFACE_VERTICES = 1000
"""Vertices that stand for the surface in the silhouette term."""
SILHOUETTE_FRAMES = 12
"""Frames whose silhouettes are compared in one step, drawn anew each time."""
LEARNING_RATES = {"tracks": 0.03, "betas": 0.02, "log_scale": 0.005, "turns": 0.005}
WARM_UP_STEPS = 9
FLAT_SHARE = 0.3
"""Share of the steps before the learning rate falls as a cosine."""
LEAST_RATE = 0.01
TURN_SPACING_S = 1.0
"""Knots of the common turn of the lifter's landmarks."""
MIN_SIZE_SHARE = 0.3
"""A person's size in a frame counts as at least this share of the track's median (a crouching moment)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedTrack:
    """Bodies of a track in camera coordinates."""

    pose: np.ndarray
    """(T, 24, 3) axis-angles, the first the global rotation."""
    betas: np.ndarray
    """(10,) of the whole track, or (T, 10) where a frame's own shape was given."""
    translation: np.ndarray
    """(T, 3) metres."""
    energy: float = 0.0
    """What was left of it at the last step."""

    def betas_at(self, at: int) -> np.ndarray:
        """(10,) of one frame."""
        return self.betas if self.betas.ndim == 1 else self.betas[at]


def fit_track(
    body: ArticulatedBody,
    seen: Observations,
    silhouettes: Silhouettes | None,
    camera: Camera,
    settings: TrackingSettings,
    generator: torch.Generator,
    weights: energy.EnergyWeights | None = None,
) -> FittedTrack:
    """The bodies that explain a track's landmarks and silhouettes. `camera` is the full image's.

    Deterministic for a seeded generator: float32 on one thread. A single frame has no smoothness.
    """
    with _one_thread():
        problem = _Problem(
            body, seen, silhouettes, camera, settings, generator, weights or energy.EnergyWeights()
        )
        return problem.solve()


@contextmanager
def _one_thread() -> Iterator[None]:
    """More threads are four times slower on tensors this small, and reorder sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Problem:
    """Data, variables and energy of one track."""

    def __init__(
        self,
        body: ArticulatedBody,
        seen: Observations,
        silhouettes: Silhouettes | None,
        camera: Camera,
        settings: TrackingSettings,
        generator: torch.Generator,
        weights: energy.EnergyWeights,
    ) -> None:
        self._settings, self._weights, self._generator = settings, weights, generator
        self._body = BodyTensors(body, spread_vertices(body, SURFACE_VERTICES, generator))
        self._lens = _tensor(camera.lens)

        size = seen.size_px
        self._size_px = _tensor(np.maximum(size, MIN_SIZE_SHARE * np.median(size)))
        self._seen_px = _tensor(seen.xy_px)
        self._landmark_weights = _tensor(energy.landmark_weights())
        self._confidence = _tensor(energy.landmark_weights() * landmark_confidence(seen))
        world = np.einsum("tij,tkj->tki", camera_from_ray(seen, camera), seen.world_m)
        self._world_m = _tensor(world - world[:, HIPS].mean(axis=1, keepdims=True))
        self._acceleration = energy.Acceleration(seen.pts_s) if len(seen) > 2 else None
        self._prior, self._stiffness = learned_prior(), _tensor(energy.extremity_stiffness())
        self._silhouettes = None if silhouettes is None else silhouette_tensors(silhouettes)

        self._lifted = lifted_tensors(seen, camera, lifter_of(settings.lifter)) if settings.lifter else None
        if self._lifted is not None:
            world = (self._lifted.points @ self._lifted.camera_from_ray.transpose(1, 2)).double().numpy()
        self._offsets = OffsetTensors(learned_offsets()) if settings.landmark_offsets else None
        self._turn_weights = time_knots(seen.pts_s, TURN_SPACING_S)

        start = start_of(body, seen, world, camera, settings.limb_start)
        by_frame = {
            "root": _tensor(np.concatenate([start.rotation[..., 0], start.rotation[..., 1]], axis=-1)),
            "pose": _tensor(start.body_pose),
            "translation": _tensor(start.translation),
        }
        self._tracks = SwingingTracks(by_frame, seen.pts_s)
        self._betas, self._log_scale = torch.zeros(BETA_COUNT), torch.zeros(1)
        self._turns, self._lifted_scale = torch.zeros(self._turn_weights.shape[1], 3), torch.zeros(1)
        self._variables = {
            "tracks": self._tracks.parameters(),
            "betas": [self._betas],
            "log_scale": [self._log_scale, self._lifted_scale],
            "turns": [self._turns],
        }
        for variable in (each for some in self._variables.values() for each in some):
            variable.requires_grad_()

    def solve(self) -> FittedTrack:
        optimizer = Adam(self._variables, betas=(0.9, 0.95))
        coarse, fine = self._settings.iterations
        remaining = torch.zeros(())
        for step in range(coarse + fine):
            factor = _rate_factor(step, coarse + fine)
            optimizer.zero_grad()
            remaining = self._energy(is_fine=step >= coarse)
            remaining.backward()
            optimizer.step({name: rate * factor for name, rate in LEARNING_RATES.items()})
        return self._result(float(remaining.detach()))

    def _energy(self, *, is_fine: bool) -> Tensor:
        weights, betas, log_scale = self._weights, self._betas, self._log_scale
        values = self._tracks.values()
        pose, translation = values["pose"], values["translation"]
        root = rotation_from_two_columns(values["root"])
        transforms = self._body.transforms(
            torch.cat([root[:, None], rotation_from_axis_angle(pose)], 1), betas
        )
        points = self._body.landmarks(transforms, betas)
        placed = points + translation[:, None]
        seen, seen_placed = points, placed
        if self._offsets is not None:
            turned = self._offsets.turned(transforms.rotation)
            seen, seen_placed = points + turned, placed + turned
        uv = energy.project(seen_placed, self._lens)

        total = weights.landmarks * energy.landmark_term(
            uv, self._seen_px, self._size_px, self._confidence, energy.LANDMARK_SIGMA[is_fine]
        )
        world_weight = weights.world_fine if is_fine else weights.world_coarse
        scaled = self._world_m * torch.exp(log_scale)
        total = total + world_weight * energy.world_term(hip_centred(seen), scaled, self._confidence)
        total = total + self._lifter_energy(points, is_fine=is_fine)
        total = total + weights.pose_prior * self._prior.surprise(pose).mean()
        total = total + weights.extremities * energy.extremity_term(pose, self._stiffness)
        total = total + weights.hinge * energy.hinge_term(pose)
        total = total + weights.shape * betas.square().sum() + weights.world_scale * log_scale.square().sum()
        if self._acceleration is not None:
            acceleration, one = self._acceleration, scale_free(translation[:, 2])
            smooth = (
                (placed * (one * math.sqrt(weights.landmark_acceleration))).flatten(1),
                pose.flatten(1) * math.sqrt(weights.pose_acceleration),
                translation[:, 2:] * (one * math.sqrt(weights.depth_acceleration)),
            )
            total = total + acceleration.mean_square(torch.cat(smooth, 1))
        if is_fine and self._silhouettes is not None and self._settings.silhouette_weight > 0:
            drawn = torch.randperm(len(pose), generator=self._generator)[:SILHOUETTE_FRAMES]
            placed_joints = transforms.offset + translation[:, None]
            some = JointTransforms(transforms.rotation[drawn], placed_joints[drawn])
            weight = weights.silhouette * self._settings.silhouette_weight
            total = total + weight * energy.silhouette_term(
                self._body.surface(some, betas), drawn, self._silhouettes, self._size_px[drawn], self._lens
            )
        return total

    def _lifter_energy(self, points: Tensor, *, is_fine: bool) -> Tensor:
        if self._lifted is None:
            return points.new_zeros(())
        weights = self._weights
        turns = rotation_from_axis_angle(self._turn_weights @ self._turns)
        weight = self._settings.lifter_weight * (weights.lifter_fine if is_fine else weights.lifter_coarse)
        distance = energy.lifted_term(
            hip_centred(points), self._lifted, turns, self._lifted_scale, self._landmark_weights
        )
        loose = weights.lifter_turn * self._turns.square().sum(1).mean()
        return weight * distance + loose + weights.world_scale * self._lifted_scale.square().sum()

    def _result(self, remaining: float) -> FittedTrack:
        values = {name: value.detach().double() for name, value in self._tracks.values().items()}
        root = Rotation.from_matrix(rotation_from_two_columns(values["root"]).numpy()).as_rotvec()
        return FittedTrack(
            pose=np.concatenate([root[:, None], values["pose"].numpy()], axis=1),
            betas=self._betas.detach().double().numpy(),
            translation=values["translation"].numpy(),
            energy=remaining,
        )


def hip_centred(points: Tensor) -> Tensor:
    """Landmarks (T, 33, 3) about the hips."""
    return points - points[:, HIPS].mean(1, keepdim=True)


def lifted_tensors(seen: Observations, camera: Camera, network: Lifter) -> energy.LiftedTensors:
    """What the fit reads of the lifter's landmarks."""
    found = lifted(seen, camera, network)
    sigma = np.maximum(found.sigma_m, energy.LEAST_LIFTED_SIGMA_M)[..., [0, 0, 1]]
    return energy.LiftedTensors(
        points=_tensor(found.points_m),
        precision=_tensor(1 / sigma),
        camera_from_ray=_tensor(camera_from_ray(seen, camera)),
    )


def silhouette_tensors(silhouettes: Silhouettes) -> energy.SilhouetteTensors:
    """What the fit reads of silhouettes."""
    return energy.SilhouetteTensors(
        outside_px=torch.from_numpy(silhouettes.outside_px),
        cell_from_px=_tensor(silhouettes.mask_from_image * (silhouettes.outside_px.shape[-1] / MASK_PX)),
        contour_px=_tensor(silhouettes.contour_px),
        contour_weight=_tensor(silhouettes.contour_weight),
    )


def _rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, flat, cosine, never zero."""
    warm = min(1.0, step / (WARM_UP_STEPS + 1) + 0.1)
    fallen = max(0.0, step / steps - FLAT_SHARE) / (1 - FLAT_SHARE)
    return warm * 0.5 * (1 + float(np.cos(np.pi * fallen))) + LEAST_RATE


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)
