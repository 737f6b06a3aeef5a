"""People whose limbs and trunk have lengths of their own: a body in the T pose, stretched along its bones.

The open body's shapes come from sex, age, weight and height, so that thigh and upper arm follow the height within 1 %.
Of 29 men of ANSUR II (Gordon et al. 2014, US Army), given the height, sitting heights vary by 2.6 %, hip to knee by
3.8, knee to ankle by 3.0, upper arms by 2.8 and forearms by 3.8 (standard deviations).
"""

from __future__ import annotations

import numpy as np

from pipeline.body.body_file import BodyArrays
from pipeline.body.model import BodyModel
from pipeline.geometry.array_types import Floats
from schemas.conventions import JOINT_COUNT

LENGTHS = ("trunk", "thigh", "shank", "upper arm", "forearm")
"""Pelvis to neck, hip to knee, knee to ankle, shoulder to elbow, elbow to wrist."""
LENGTH_SIGMA = 0.03
"""Standard deviation of each by itself, of its logarithm: what the open body's shapes lack."""
MOST_SIGMAS = 2.0
_OF_JOINT = {
    "trunk": (3, 6, 9, 12, 13, 14), "thigh": (4, 5), "shank": (7, 8), "upper arm": (18, 19),
    "forearm": (20, 21),
}  # fmt: skip
"""Joints at the far end of the bones that a length belongs to."""
_UPWARDS = np.array([0.0, 1.0, 0.0])
"""The trunk stretches along y of the T pose and gets no wider; limbs stretch along their bones."""
_NEXT = {0: 3, 1: 4, 2: 5, 3: 6, 4: 7, 5: 8, 6: 9, 9: 12, 13: 16, 14: 17, 16: 18, 17: 19, 18: 20, 19: 21}
"""The joint at the far end of the bone that a joint's skin lies along; the skin of others moves rigidly."""


def moved_joints(joints: Floats, parents: np.ndarray, log_lengths: Floats) -> Floats:
    """(24, 3) metres by which joints (24, 3) of a T pose move where LENGTHS grow by the factors exp(log_lengths)."""
    factor = np.zeros((JOINT_COUNT, 3))
    for name, log_length in zip(LENGTHS, log_lengths, strict=True):
        for joint in _OF_JOINT[name]:
            factor[joint] += np.expm1(log_length) * (_UPWARDS if name == "trunk" else 1.0)
    moved = np.zeros((JOINT_COUNT, 3))
    for joint in range(1, JOINT_COUNT):
        parent = parents[joint]
        moved[joint] = moved[parent] + factor[joint] * (joints[joint] - joints[parent])
    return moved


def with_lengths(body: BodyModel, log_lengths: Floats) -> BodyModel:
    """The body with LENGTHS times exp(log_lengths); its shapes change it as before.

    Vertices v move by

        sum_j W_vj (m_j + s_vj (m_n(j) - m_j)),   s_vj in [0, 1] the place of v along the bone from j to n(j)

    m are the displacements of `moved_joints`, W skinning weights. Skin keeps its distance from the bone.
    """
    joints, template = body.joint_template, body.template
    moved = moved_joints(joints, body.parents, log_lengths)
    displaced = np.zeros_like(template)
    for joint in range(JOINT_COUNT):
        by = np.broadcast_to(moved[joint], template.shape)
        if joint in _NEXT:
            bone = joints[_NEXT[joint]] - joints[joint]
            share = np.clip((template - joints[joint]) @ bone / (bone @ bone), 0, 1)[:, None]
            by = by + share * (moved[_NEXT[joint]] - moved[joint])
        displaced += body.weights[:, joint, None] * by
    names = ("shapedirs", "joint_regressor", "weights", "parents", "faces", "posedirs", "landmark_regressor")
    same = {name: getattr(body, name) for name in (*names, "kind")}
    stretched = BodyModel(
        BodyArrays(template=template + displaced, **same), "own lengths", body.landmark_offsets
    )
    # The regressor, made for shapes without them, errs by up to 9 mm.
    stretched.joint_template = joints + moved
    return stretched


def drawn_lengths(rng: np.random.Generator) -> Floats:
    """(5,) logarithms of somebody's LENGTHS over those of their shape."""
    return np.asarray(LENGTH_SIGMA * np.clip(rng.standard_normal(len(LENGTHS)), -MOST_SIGMAS, MOST_SIGMAS))
