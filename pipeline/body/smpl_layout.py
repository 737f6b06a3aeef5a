"""What a number in an SMPL-layout body means: joints, their tree, landmarks, and what mirrors what.

Rest axes: x to the body's left, y up, z to the front, in metres. A pose is 24 axis-angles about the rest axes of each
joint's parent; the first is the global rotation. With a global rotation of pi about x a body stands upright in camera
axes (x right, y down, z forward) and faces the camera.
"""

from __future__ import annotations

import numpy as np

JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip

JOINT_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
"""A joint's parent comes before it."""

LANDMARK_NAMES = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "left_mouth", "right_mouth", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index",
    "left_thumb", "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle",
    "left_heel", "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip
"""The BlazePose topology; pinky, index and thumb are knuckles, foot index is between the toes' tips."""


def mirrored_names(names: tuple[str, ...]) -> np.ndarray:
    """(N,) for each name the place of its mirror image: left and right swapped, the others themselves."""
    swap = {"left": "right", "right": "left"}
    sides = [name.partition("_") for name in names]
    return np.array([names.index(swap.get(side, side) + bar + rest) for side, bar, rest in sides])
