"""From the pictures' normal equations to one step of every frame's bodies: priors, damping, coupling in time."""

from __future__ import annotations

import numpy as np

from pipeline.config import RefineSettings
from pipeline.refine.equation_kernels import CORRECTIONS, TRANSLATION
from pipeline.refine.frame_coupling import (
    acceleration_precision,
    drift_mean,
    follow_each_other,
    relaxation,
    smooth_step,
)
from pipeline.refine.track_bodies import TrackBodies
from pipeline.refine.track_frames import TrackFrames

DAMPING = 0.02
"""Share of the diagonal that is added to it (Levenberg and Marquardt)."""


class StepSolver:
    """Solves for the corrections of all frames at once, about the bodies of the start."""

    def __init__(self, start: TrackBodies, frames: TrackFrames, settings: RefineSettings) -> None:
        self._start = start
        self._is_inner = follow_each_other(frames.pts_s)
        self._relaxation = relaxation(frames.neighbours)
        self._drift_mean = drift_mean(frames.pts_s, frames.neighbours, settings.drift_window_s)
        self._stiffness = np.full(CORRECTIONS, settings.rotation_sigma_rad**-2.0)
        self._stiffness[TRANSLATION:] = settings.translation_sigma_m**-2.0
        sigma = np.full(CORRECTIONS, settings.rotation_acceleration_sigma_rad_s2)
        sigma[TRANSLATION:] = settings.translation_acceleration_sigma_m_s2
        self._acceleration_precision = acceleration_precision(frames.pts_s, sigma)

    def stepped(self, bodies: TrackBodies, hessian: np.ndarray, gradient: np.ndarray) -> TrackBodies:
        """The bodies after one step: hessian (T, 75, 75), which is overwritten, and gradient (T, 75)."""
        so_far = bodies.corrections_since(self._start)
        diagonal = np.arange(CORRECTIONS)
        hessian[:, diagonal, diagonal] *= 1.0 + DAMPING
        hessian[:, diagonal, diagonal] += self._stiffness
        step = smooth_step(
            hessian,
            gradient + self._stiffness * so_far,
            so_far,
            self._acceleration_precision,
            self._is_inner,
        )
        moved = bodies.corrected(-self._relaxation * step)
        return moved.without_drift(self._start, self._drift_mean)
