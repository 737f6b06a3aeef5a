"""Where the landmark network sees its landmarks on a body: off those that the body's file names, by a fixed offset.

It draws hips 26 mm higher, knees 13 and ankles 13 mm, ears 27 mm further in. What was learned, from whom and how:
`tests/accuracy/learn_landmark_offsets.py`. Within 2 mm the same without two of the people.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.tracking.articulated_body import ArticulatedBody

OFFSETS_FILE = Path(__file__).parents[1] / "body" / "data" / "landmark_offsets.npz"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LandmarkOffsets:
    """Of every landmark, fixed to a joint."""

    joint: np.ndarray
    """(33,) whose rotation turns it."""
    offset_m: np.ndarray
    """(33, 3) in the axes of the rest pose."""

    def turned(self, body: ArticulatedBody, pose: np.ndarray) -> np.ndarray:
        """(T, 33, 3) offsets of posed bodies (T, 24, 3)."""
        local = rotation_from_rotvec(pose)
        turned = np.empty_like(local)
        for joint, parent in enumerate(body.parents):
            turned[:, joint] = local[:, joint] if parent < 0 else turned[:, parent] @ local[:, joint]
        return np.asarray((turned[:, self.joint] @ self.offset_m[..., None])[..., 0])


@lru_cache(maxsize=1)
def learned_offsets() -> LandmarkOffsets:
    """Those that ship with the pipeline."""
    with np.load(OFFSETS_FILE, allow_pickle=False) as stored:
        return LandmarkOffsets(joint=stored["joint"], offset_m=stored["offset_m"].astype(np.float64))
