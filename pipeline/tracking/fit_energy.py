"""What the fit of a track minimises: weights and scales of its terms, whose sums are compiled (`term_kernels`).

rho(r; s) = r^2 / (1 + r^2 / s^2) is Geman-McClure's robust square, h the person's size in pixels. Every term is a mean
over frames, and accelerations are per squared 1/30 s of presentation time, so that the weights mean the same at every
frame rate and track length.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from schemas.conventions import JOINT_COUNT, LANDMARK_COUNT

UNIT_TIME_S = 1 / 30
"""The time in which accelerations are counted."""
MAX_GAP_S = 0.2
"""Frames further apart than this are not tied by smoothness."""
NEAREST_Z_M = 0.1


@dataclass(frozen=True, kw_only=True)
class EnergyWeights:
    """Weights of the terms (measured: shared recipe of the landmark tracker)."""

    landmarks: float = 2000.0
    """2-D distance of landmarks, in person sizes."""
    world_coarse: float = 40.0
    """3-D distance to the network's world landmarks in metres, while the fit finds the pose ..."""
    world_fine: float = 10.0
    """... and while it refines: those landmarks err by 100 mm themselves."""
    world_turn: float = 2.0
    """Turns of a second of all landmarks in space of each of `WORLD_PARTS` together, radians: the network's mean turn
    of a film is off by 5 degrees about x, 7 about y (standard deviations)."""
    lifter_coarse: float = 1.0
    """Distance to the lifter's landmarks, in their standard deviations, while the fit finds the pose ..."""
    lifter_fine: float = 0.15
    """... and while it refines; both times the setting `tracking.lifter_weight`."""
    lifter_turn: float = 5.0
    """Turns of all of the lifter's landmarks of a second together, radians."""
    pose_prior: float = 0.15
    """Of `PosePrior.surprise`. With .1 joints of rendered people are .7 mm worse, with .2 as good, but the picture is
    fitted worse."""
    extremities: float = 1.0
    """Turns of toes and hands, which the prior does not know, away from the T-pose."""
    hinge: float = 10.0
    """Knees and elbows bent the wrong way or too far, radians."""
    shape: float = 0.02
    world_scale: float = 100.0
    """Log scale of the world landmarks: nothing else says how large somebody is. With 5 bodies
    fitted at 60 and at 24 frames a second were a fifth further apart, and joints no more exact."""
    landmark_acceleration: float = 130.0
    """With 100 joints of rendered people are as exact and bodies of the demo clip accelerate by 3 to 5 % more."""
    pose_acceleration: float = 3.0
    depth_acceleration: float = 2000.0
    silhouette: float = 20000.0
    """Times the setting `tracking.silhouette_weight`."""


LANDMARK_SIGMA = (0.2, 0.05)
"""Scale of rho for 2-D landmarks in person sizes: coarse, fine."""
WORLD_SIGMA_M = 0.3
OUTSIDE_SIGMA = 0.03
INSIDE_SIGMA = 0.04

HINGES = np.array([3 * 3, 3 * 4, 3 * 17 + 1, 3 * 18 + 1])
"""Knees (about x) and elbows (about y), left and right: places in the body pose (joint - 1), laid out in one line."""
HINGE_SIGNS = np.array([1.0, 1.0, -1.0, 1.0])
LARGEST_HINGE_RAD = np.array([2.5, 2.5, 2.6, 2.6])
"""They bend from 0 to this, elbows about -y left and +y right."""
TOES, HANDS = (10, 11), (22, 23)


WORLD_PARTS = (range(25), (23, 24, *range(25, 33)))
"""Head, trunk and arms; legs. The landmark network leans each as a whole, mostly towards the picture's plane."""


def part_shares() -> np.ndarray:
    """(2, 33) how much of each landmark belongs to each of WORLD_PARTS; what is in both, the hips, to each by half."""
    shares = np.zeros((len(WORLD_PARTS), LANDMARK_COUNT))
    for share, part in zip(shares, WORLD_PARTS, strict=True):
        share[list(part)] = 1.0
    return np.asarray(shares / shares.sum(axis=0))


def landmark_weights() -> np.ndarray:
    """(33,) how much each landmark counts: limbs full, face little, fingers some (its regressors are less exact)."""
    weight = np.ones(LANDMARK_COUNT)
    weight[1:7], weight[9:11], weight[[0, 7, 8]] = 0.15, 0.2, 0.5
    weight[17:23], weight[29:33], weight[[11, 12, 23, 24]] = 0.35, 0.7, 1.2
    return weight


def extremity_stiffness() -> np.ndarray:
    """(23, 3) stiffness of each axis of each joint below the root: toes and hands only."""
    weight = np.zeros((JOINT_COUNT - 1, 3))
    weight[[joint - 1 for joint in TOES]] = (1.0, 4.0, 4.0)
    weight[[joint - 1 for joint in HANDS]] = 4.0
    return weight


class Acceleration:
    """Second differences in presentation time, per squared 1/30 s.

        a_i = 2 ((x_{i+1} - x_i) / d_i - (x_i - x_{i-1}) / d_{i-1}) / (d_{i-1} + d_i),   d in units of 1/30 s

    Triples that span a gap count nothing.
    """

    def __init__(self, pts_s: np.ndarray) -> None:
        steps = np.diff(pts_s) / UNIT_TIME_S
        before, after = steps[:-1], steps[1:]
        self.tied = np.maximum(before, after) * UNIT_TIME_S <= MAX_GAP_S
        share = np.where(self.tied, (before + after) / 2, 0.0)
        factors = 2 / (before * (before + after)), -2 / (before * after), 2 / (after * (before + after))
        self._before, self._at, self._after = (_column(each) for each in factors)
        self.times = np.stack([*factors, share / max(share.sum(), 1e-12)], axis=1)
        """(T-2, 4): what x_{i-1}, x_i and x_{i+1} are multiplied by, and the triple's share of the time."""

    def of(self, values: np.ndarray) -> np.ndarray:
        """(T-2, N) accelerations of values (T, ...)."""
        flat = values.reshape(len(values), -1)
        return np.asarray(self._before * flat[:-2] + self._at * flat[1:-1] + self._after * flat[2:])


def _column(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None]
