"""SMPL-H and SMPL-X as bodies of 24 joints: with hands and face at rest they are the same surface in every pose.

Joints 0 to 21 are SMPL's own in both. A joint beyond them that is never turned moves rigidly with the nearest ancestor
among those, so its skinning weight may be given to any joint that does too: fingers go to the layout's hand (a child
of the wrist), jaw and eyes to the head. Pose blend shapes are linear in R - I, which is 0 for a joint at rest, so
those of jaw, eyes and fingers contribute nothing and are left out; those of joints 1 to 21 are kept, and the two hand
joints have none. At rest means the pose 0: flat hands, as smplx has with `flat_hand_mean=True`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pipeline.body.smpl_layout import JOINT_PARENTS
from schemas.conventions import JOINT_COUNT
from schemas.errors import AssetError

KEPT_JOINTS = 22
"""Joints that SMPL, SMPL-H and SMPL-X have in common, with one tree."""
_HEAD, _WRISTS, _HANDS = 15, (20, 21), (22, 23)
_FINGERS = 4
"""A hand's children of the wrist come as index, middle, little, ring finger, thumb; the hand lies between the four."""


def merged_joints(source: Path, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of an SMPL-H or SMPL-X file (52 or 55 joints) as those of a body of 24.

    weights (V, J) -> (V, 24), summed; J_regressor (J, V) -> (24, V), the hands' rows the mean of their four fingers'
    first joints; posedirs (V, 3, 9 (J - 1)) -> (V, 3, 207); kintree_table (2, 24). Everything else stays.
    Raises AssetError where the tree is not SMPL's with hands (and a face) beyond it.
    """
    table = raw["kintree_table"].astype(np.int64)
    parents, count = table[0], table.shape[1]
    if tuple(parents[1:KEPT_JOINTS]) != JOINT_PARENTS[1:KEPT_JOINTS]:
        raise AssetError(
            f"{source}: kintree_table: found parents {parents.tolist()}, expected SMPL's {list(JOINT_PARENTS)} up to "
            "the wrists.",
            remedy="Give the file as its makers ship it.",
        )
    goes_to = np.array([_place(source, joint, parents) for joint in range(count)])
    weights = np.zeros((len(raw["weights"]), JOINT_COUNT))
    np.add.at(weights.T, goes_to, np.asarray(raw["weights"], np.float64).T)
    regressor = np.zeros((JOINT_COUNT, raw["J_regressor"].shape[1]))
    regressor[:KEPT_JOINTS] = raw["J_regressor"][:KEPT_JOINTS]
    for wrist, hand in zip(_WRISTS, _HANDS, strict=True):
        fingers = np.flatnonzero(parents == wrist)[:_FINGERS]
        regressor[hand] = raw["J_regressor"][fingers].mean(axis=0)
    posedirs = np.zeros((*raw["posedirs"].shape[:2], 9 * (JOINT_COUNT - 1)), raw["posedirs"].dtype)
    posedirs[..., : 9 * (KEPT_JOINTS - 1)] = raw["posedirs"][..., : 9 * (KEPT_JOINTS - 1)]
    return dict(raw) | {
        "weights": weights,
        "J_regressor": regressor,
        "posedirs": posedirs,
        "kintree_table": np.array([JOINT_PARENTS, range(JOINT_COUNT)]),
    }


def _place(source: Path, joint: int, parents: np.ndarray) -> int:
    """The joint of the 24 that carries what a joint carries."""
    ancestor = joint
    for _ in range(len(parents)):
        if ancestor < KEPT_JOINTS:
            break
        ancestor = int(parents[ancestor])
    places = {_HEAD: _HEAD, **dict(zip(_WRISTS, _HANDS, strict=True))}
    if joint < KEPT_JOINTS:
        return joint
    if ancestor not in places:
        raise AssetError(
            f"{source}: kintree_table: joint {joint} hangs on joint {ancestor}, expected head or wrists.",
            remedy="Give the file as its makers ship it.",
        )
    return places[ancestor]
