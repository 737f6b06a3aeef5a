"""Where the landmark network draws its landmarks on a body: off the points of those names, by fixed offsets.

It draws hips 26 mm higher than the open body has them, knees and ankles 13 mm higher, ears 27 mm further in. What was
learned, from whom and how: `tests/accuracy/learn_landmark_offsets.py`. On the axes of the T pose, so that they serve
every body in SMPL's layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.geometry.array_types import Floats
from schemas.conventions import JOINT_COUNT

OFFSETS_FILE = Path(__file__).parent / "data" / "landmark_offsets.npz"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LandmarkOffsets:
    """Of every landmark, fixed to a joint."""

    joint: np.ndarray
    """(33,) whose rotation turns it."""
    offset_m: np.ndarray
    """(33, 3) in the axes of the rest pose."""

    def turned(self, rotation: Floats) -> Floats:
        """(T, 33, 3) by the rotations (T, 24, 3, 3) of posed joints against the rest pose."""
        return np.asarray((rotation[:, self.joint] @ self.offset_m[..., None])[..., 0])

    def slopes(self, by_turned: Floats) -> Floats:
        """Derivative by the rotations (T, 24, 3, 3) of what has the derivative by_turned (T, 33, 3) by `turned`."""
        return np.asarray(np.einsum("kjc,tki->tjic", self.by_joint(), by_turned))

    def by_joint(self) -> Floats:
        """(33, 24, 3): each in its joint's place, as they add to a body's A_kj."""
        spread = np.zeros((len(self.joint), JOINT_COUNT, 3))
        spread[np.arange(len(self.joint)), self.joint] = self.offset_m
        return spread


@lru_cache(maxsize=1)
def learned_offsets() -> LandmarkOffsets:
    """Those that ship with the pipeline."""
    with np.load(OFFSETS_FILE, allow_pickle=False) as stored:
        return LandmarkOffsets(joint=stored["joint"], offset_m=stored["offset_m"].astype(np.float64))
