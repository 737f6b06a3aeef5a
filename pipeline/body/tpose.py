"""Anny's rest pose into SMPL's T pose, so that a shape space built afterwards holds no pose."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from pipeline.body.skeleton import Skeleton
from pipeline.geometry.array_types import Floats
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation

_CLAVICLE_UP_DEG = 8.0
_FINGER_STRAIGHTENING = 0.8
"""Share of the natural curl that is taken out; straight fingers look like a rake."""
_FOREARM_TWIST = (0.25, 0.75)
"""How much of the hand's turn about the forearm its two bones take."""
_LEG_OUTWARDS = 0.02
"""Feet stand a touch wider than hips: sideways per metre of leg."""
_UP, _FRONT = np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, 1.0])

Head = Callable[[str], np.ndarray]
"""Where a bone of one side begins, (3,) metres."""


def t_pose(
    vertices: np.ndarray, heads: np.ndarray, bone_weights: np.ndarray, skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """One body's vertices (V, 3) and bone heads (B, 3) moved into the T pose by linear blend skinning.

    p_b = p_parent + D_parent (h_b - h_parent) with D_b the turn of each bone in the rest axes; then
    v' = sum_b W_vb (D_b (v - h_b) + p_b).
    """
    turns = _bone_turns(heads, skeleton)
    turn = np.empty((len(heads), 3, 3))
    posed = np.empty_like(heads)
    for bone, (name, parent) in enumerate(zip(skeleton.names, skeleton.parents)):
        if parent < 0:
            turn[bone], posed[bone] = turns.get(name, np.eye(3)), heads[bone]
        else:
            turn[bone] = turns.get(name, turn[parent])
            posed[bone] = posed[parent] + turn[parent] @ (heads[bone] - heads[parent])
    offset = posed - (turn @ heads[..., None])[..., 0]
    blended = (bone_weights @ turn.reshape(len(heads), 9)).reshape(-1, 3, 3)
    return (blended @ vertices[..., None])[..., 0] + bone_weights @ offset, posed


def _bone_turns(heads: np.ndarray, skeleton: Skeleton) -> dict[str, np.ndarray]:
    """World turns (3, 3) of the bones that move on their own; every other bone follows its parent."""
    turns: dict[str, np.ndarray] = {}
    for side, sign in (("L", 1.0), ("R", -1.0)):

        def head(stem: str, side: str = side) -> Floats:
            return np.asarray(heads[skeleton.index(f"{stem}.{side}")])

        moved = _arm_turns(head, sign) | _leg_turns(head, sign)
        turns |= {f"{stem}.{side}": matrix for stem, matrix in moved.items()}
        toes = (name for name in skeleton.names if name.startswith("toe") and name.endswith(side))
        turns |= dict.fromkeys(toes, np.eye(3))
    return turns


def _arm_turns(head: Head, sign: float) -> dict[str, np.ndarray]:
    """Upper arm and forearm onto +-x about a kept elbow hinge, palm down, its twist shared by the forearm's bones."""
    shoulder, elbow, wrist = head("upperarm01"), head("lowerarm01"), head("wrist")
    outwards = np.array([sign, 0.0, 0.0])
    hinge = np.cross(elbow - shoulder, wrist - elbow)  # flexing carries the forearm to the front
    straight = _frame(outwards, np.cross(outwards, _FRONT))
    upper = straight @ _frame(elbow - shoulder, hinge).T
    lower = straight @ _frame(wrist - elbow, hinge).T
    middle_knuckle = (head("finger3-1") + head("finger4-1")) / 2
    palm = _frame(outwards, _FRONT) @ _frame(middle_knuckle - wrist, head("finger2-1") - head("finger5-1")).T
    twist = rotvec_from_rotation(palm @ lower.T) @ outwards
    near, far = (rotation_from_rotvec(outwards * twist * share) @ lower for share in _FOREARM_TWIST)
    clavicle = rotation_from_rotvec(np.array([0.0, 0.0, sign * np.radians(_CLAVICLE_UP_DEG)]))
    turns = {
        "clavicle": clavicle, "shoulder01": clavicle, "upperarm01": upper, "upperarm02": upper,
        "lowerarm01": near, "lowerarm02": far, "wrist": palm,
    }  # fmt: skip
    for finger in (2, 3, 4, 5):
        turns |= _finger_turns(head, finger, sign, palm)
    return turns


def _finger_turns(head: Head, finger: int, sign: float, palm: np.ndarray) -> dict[str, np.ndarray]:
    """Phalanges most of the way onto a line outwards, slightly down, fanned as their knuckles are."""
    bones = [f"finger{finger}-{phalanx}" for phalanx in (1, 2, 3)]
    knuckle = head(bones[0]) - head("wrist")
    fan = (palm @ knuckle)[2] / np.linalg.norm(knuckle)
    wanted = np.array([sign, -0.12, 0.6 * fan])
    turns = {}
    for bone, following in pairwise(bones):
        phalanx = palm @ (head(following) - head(bone))
        axis = np.cross(phalanx, wanted)
        angle = np.arctan2(np.linalg.norm(axis), phalanx @ wanted)
        rotvec = axis / np.linalg.norm(axis) * angle * _FINGER_STRAIGHTENING
        turns[bone] = rotation_from_rotvec(rotvec) @ palm
    turns[bones[2]] = turns[bones[1]]
    return turns


def _leg_turns(head: Head, sign: float) -> dict[str, np.ndarray]:
    """The leg swings as one piece, hip to ankle straight down, and keeps its natural knee; feet stay flat."""
    down = np.array([sign * _LEG_OUTWARDS, -1.0, 0.0])
    swing = _frame(down, _FRONT) @ _frame(head("foot") - head("upperleg01"), _FRONT).T
    leg = dict.fromkeys(("upperleg01", "upperleg02", "lowerleg01", "lowerleg02"), swing)
    return leg | {"foot": np.eye(3)}


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3, 3) with columns first, second made orthogonal to it, and their cross product, all of length one."""
    first = first / np.linalg.norm(first)
    second = second - first * (first @ second)
    second = second / np.linalg.norm(second)
    return np.stack([first, second, np.cross(first, second)], axis=1)
