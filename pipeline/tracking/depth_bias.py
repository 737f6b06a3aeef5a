"""The mean error of depth of the landmark network's landmarks in space, along the ray through the person's hips.

It puts heads nearer and feet farther than they are, seen from the front and from behind alike. Learned on rendered
people of whom nothing is reported: `tests/accuracy/learn_depth_bias.py`.
"""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Floats

_BY_PART_M = (
    (1, -0.061), (6, -0.070), (2, -0.055), (2, -0.054), (2, -0.003), (2, -0.015), (2, -0.028),
    (2, -0.038), (2, -0.046), (2, -0.031), (2, 0.0), (2, -0.013), (2, 0.059), (2, 0.055), (2, 0.035),
)  # fmt: skip
"""Landmarks and metres: nose, eyes, ears, mouth, shoulders, elbows, wrists, knuckles of the little, the first finger
and the thumb, hips, knees, ankles, heels, toes. Positive is too far."""
DEPTH_BIAS_M = np.repeat([metres for _, metres in _BY_PART_M], [count for count, _ in _BY_PART_M])
"""(33,)."""


def without_depth_bias(world_m: Floats) -> Floats:
    """(..., 33, 3) landmarks in space in the axes of the ray, each less DEPTH_BIAS_M along it."""
    moved = world_m.copy()
    moved[..., 2] -= DEPTH_BIAS_M
    return moved
