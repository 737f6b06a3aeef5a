"""Takes that are one recording under two names: a prior that learned from one has seen whom the other is of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from schemas.conventions import BETA_COUNT
from tests.accuracy.motions import Take

WINDOW, STRIDE = 24, 12
"""Frames that are compared at once, and how far apart they begin."""
LEAST_MOTION = 0.05
"""Root mean square about the window's mean: people who stand still are all alike."""
SAME = 0.15
"""Copies of a recording by two retargeting programs differ by .08 of their motion, walks of two people by .26."""
LIMBS = (
    (1, 4), (4, 7), (2, 5), (5, 8), (0, 12), (12, 15), (12, 16), (12, 17), (16, 18), (18, 20), (17, 19), (19, 21)
)  # fmt: skip
HIPS = (1, 2)


def repeats(one: Take, others: Sequence[Take]) -> list[Take]:
    """Those of `others` that hold the same recording as `one`, whatever they are called.

    Median over windows a of one take of min_b |a - b| / |a| over windows b of the other; a and b are directions of
    limbs without their means (two skeletons differ by constant turns). One take may be a part of the other.
    """
    return [other for other in others if min(_apart(one, other), _apart(other, one)) < SAME]


def _apart(one: Take, other: Take) -> float:
    """Infinite where `one` hardly moves or either is shorter than a window."""
    sought, among = _windows(one)[::STRIDE], _windows(other)
    sought = sought[np.square(sought).sum(axis=1) > LEAST_MOTION**2 * WINDOW * len(LIMBS)]
    if not len(sought) or not len(among):
        return float("inf")
    own = np.square(sought).sum(axis=1)
    squares = own[:, None] + np.square(among).sum(axis=1) - 2 * sought @ among.T
    return float(np.median(np.sqrt(np.maximum(squares.min(axis=1), 0) / own)))


def _windows(take: Take) -> np.ndarray:
    """(N, WINDOW * limbs * 3) about their means, of every window; float32."""
    limbs = _limbs(take)
    starts = np.arange(max(len(limbs) - WINDOW + 1, 0))
    windows = limbs[starts[:, None] + np.arange(WINDOW)]
    return np.asarray((windows - windows.mean(axis=1, keepdims=True)).reshape(len(starts), -1))


@cache
def _limbs(take: Take) -> np.ndarray:
    """(T, limbs * 3) unit vectors, turned about the vertical so that the hips lie along x."""
    joints = _body().joints(take.pose, np.zeros(BETA_COUNT), np.zeros((len(take.pose), 3)))
    across = joints[:, HIPS[0]] - joints[:, HIPS[1]]
    forwards = Rotation.from_euler("y", np.arctan2(across[:, 2], across[:, 0])[:, None]).as_matrix()
    limbs = np.stack([joints[:, end] - joints[:, start] for start, end in LIMBS], axis=1)
    limbs /= np.linalg.norm(limbs, axis=-1, keepdims=True)
    return np.asarray(np.einsum("tij,tkj->tki", forwards, limbs).reshape(len(limbs), -1), np.float32)


@lru_cache(maxsize=1)
def _body() -> BodyModel:
    return BodyModel.open_body()
