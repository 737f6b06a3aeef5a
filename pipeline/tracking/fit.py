"""Fits one body to all frames of a track at once: pose and place per frame, one shape, by Adam on one thread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.config import TrackingSettings
from pipeline.geometry.camera import Camera
from pipeline.tracking.adam import Adam
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.fit_energy import EnergyWeights
from pipeline.tracking.fit_start import Start, start_of
from pipeline.tracking.knots import SwingingTracks
from pipeline.tracking.people import Observations
from pipeline.tracking.pose_prior import PosePrior
from pipeline.tracking.posing_kernels import fill_two_column_rotations
from pipeline.tracking.silhouette import Silhouettes
from pipeline.tracking.term_kernels import PLACE, POSE
from pipeline.tracking.track_energy import Shared, TrackEnergy

LEARNING_RATES = {"tracks": 0.03, "betas": 0.02, "log_scale": 0.005, "turns": 0.005}
WARM_UP_STEPS = 9
FLAT_SHARE = 0.3
"""Share of the steps before the learning rate falls as a cosine."""
LEAST_RATE = 0.01


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
    rng: np.random.Generator,
    weights: EnergyWeights | None = None,
    start: Start | None = None,
    prior: PosePrior | None = None,
) -> FittedTrack:
    """The bodies that explain a track's landmarks and silhouettes. `camera` is the full image's.

    Begins at `start`, or at `start_of` where none is given; `prior` judges poses, or the one that ships. `rng` draws
    what silhouettes are compared at: the same draws give the same bodies, in float32. A single frame has no
    smoothness.
    """
    energy = TrackEnergy(body, seen, silhouettes, camera, settings, rng, weights or EnergyWeights(), prior)
    start = start or start_of(body, seen, energy.world_m, camera, settings.limb_start)
    return _Problem(start, seen, settings, energy).solve()


class _Problem:
    """Variables and energy of one track."""

    def __init__(
        self,
        start: Start,
        seen: Observations,
        settings: TrackingSettings,
        energy: TrackEnergy,
    ) -> None:
        self._settings, self._energy = settings, energy
        columns = np.concatenate([start.rotation[..., 0], start.rotation[..., 1]], axis=-1)
        own = [columns, start.body_pose.reshape(len(seen), -1), start.translation]
        self._tracks = SwingingTracks(np.concatenate(own, axis=1), seen.pts_s)
        self._shared = Shared.zeros(energy.turn_weights.shape[1])
        shared = self._shared
        self._variables = {
            "tracks": self._tracks.parameters(),
            "betas": [shared.betas],
            "log_scale": [shared.log_scale, shared.lifted_scale],
            "turns": [shared.turns, shared.world_turns],
        }

    def solve(self) -> FittedTrack:
        optimizer = Adam(self._variables, betas=(0.9, 0.95))
        coarse, fine = self._settings.iterations
        remaining = 0.0
        for step in range(coarse + fine):
            factor = _rate_factor(step, coarse + fine)
            remaining, by_values, by_shared = self._energy.value_and_slopes(
                self._tracks.values(), self._shared, is_fine=step >= coarse
            )
            gradients = {
                "tracks": self._tracks.slopes(by_values),
                "betas": [by_shared.betas],
                "log_scale": [by_shared.log_scale, by_shared.lifted_scale],
                "turns": [by_shared.turns, by_shared.world_turns],
            }
            optimizer.step(gradients, {name: rate * factor for name, rate in LEARNING_RATES.items()})
        return self._result(remaining)

    def _result(self, remaining: float) -> FittedTrack:
        values = self._tracks.values().astype(np.float64)
        matrix = np.empty((len(values), 3, 3))
        fill_two_column_rotations(values, matrix)
        root = Rotation.from_matrix(matrix).as_rotvec()
        pose = values[:, POSE:PLACE].reshape(len(values), -1, 3)
        return FittedTrack(
            pose=np.concatenate([root[:, None], pose], axis=1),
            betas=self._shared.betas.astype(np.float64),
            translation=values[:, PLACE:].copy(),
            energy=remaining,
        )


def _rate_factor(step: int, steps: int) -> float:
    """Linear warm-up, flat, cosine, never zero."""
    warm = min(1.0, step / (WARM_UP_STEPS + 1) + 0.1)
    fallen = max(0.0, step / steps - FLAT_SHARE) / (1 - FLAT_SHARE)
    return warm * 0.5 * (1 + float(np.cos(np.pi * fallen))) + LEAST_RATE
