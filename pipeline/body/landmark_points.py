"""The 33 landmarks of the BlazePose topology as weighted means of a body's vertices."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.body.skeleton import Skeleton
from pipeline.body.smpl_layout import LANDMARK_NAMES, mirrored_names
from pipeline.geometry.array_types import Floats, Integers

_KNUCKLE_BONES = {"pinky": "finger5-1", "index": "finger2-1", "thumb": "finger1-2"}
_FACE_OFFSETS_M = {
    "eye_inner": ("left_eye", (-0.015, 0.0, 0.004)),
    "eye_outer": ("left_eye", (0.017, 0.0, -0.006)),
    "mouth": ("nose", (0.024, -0.043, -0.022)),
}
"""Left landmark <- a keypoint of Anny's and where it lies from there at the mean shape."""
_FACE_VERTICES = 8
_KNUCKLE_VERTICES = 24
"""Skin all around a knuckle, so that the mean lies inside the finger."""


def landmark_weights(
    keypoints: Mapping[str, Floats],
    vertices: Floats,
    bone_heads: Floats,
    skeleton: Skeleton,
    mirror: Integers,
) -> Floats:
    """(33, V) rows that sum to one, mirror-symmetric: landmarks = weights @ vertices.

    keypoints are Anny's, by COCO name; vertices (V, 3) and bone_heads (B, 3) are the mean body in the T pose.
    """
    weights = np.zeros((len(LANDMARK_NAMES), len(vertices)))
    for row, name in enumerate(LANDMARK_NAMES):
        part = name.removeprefix("left_")
        if name in keypoints:
            weights[row] = keypoints[name]
        elif name.startswith("right_"):
            continue
        elif part == "foot_index":
            weights[row] = 0.6 * keypoints["left_big_toe"] + 0.4 * keypoints["left_small_toe"]
        elif part in _KNUCKLE_BONES:
            knuckle = bone_heads[skeleton.index(f"{_KNUCKLE_BONES[part]}.L")]
            weights[row] = _nearest(vertices, knuckle, _KNUCKLE_VERTICES)
        else:
            origin, offset = _FACE_OFFSETS_M[part]
            weights[row] = _nearest(vertices, keypoints[origin] @ vertices + offset, _FACE_VERTICES)
    for row, image in enumerate(mirrored_names(LANDMARK_NAMES)):
        if not weights[row].any():
            weights[row] = weights[image][mirror]
    return np.asarray((weights + weights[mirrored_names(LANDMARK_NAMES)][:, mirror]) / 2)


def _nearest(vertices: np.ndarray, point: np.ndarray, count: int) -> np.ndarray:
    chosen = np.argsort(np.linalg.norm(vertices - point, axis=1), kind="stable")[:count]
    weights = np.zeros(len(vertices))
    weights[chosen] = 1 / count
    return weights
