"""Arms and legs of the fit's start: along the network's landmarks in space, bent about their hinges.

A limb that starts elsewhere ends in the wrong minimum: its thigh or upper arm turned about itself with the hinge
kept, the next segment mirrored in depth. From the landmarks the fit ends where it does from the true pose: on 18
scenes of motion capture it leaves as much of its energy (13.2, from hanging arms and straight legs 14.0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.array_types import Floats
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation, skew
from pipeline.tracking.articulated_body import ArticulatedBody

STRAIGHT_SINE = 0.15
"""Segments that enclose less than this (sine; 9 degrees) do not show their hinge's axis: it is blended with the one
that the limb has before, swung along."""
SHORTEST_M = 1e-3
_TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Limb:
    """Two segments with a hinge between them."""

    joints: tuple[int, int, int]
    """The body's: where the first segment begins, the hinge, where the second ends."""
    landmarks: tuple[int, int, int]
    """The network's at the same places."""
    hinge: tuple[float, float, float]
    """Axis of the T-pose about which the hinge bends forwards: along first x second segment where it is bent."""


LIMBS = (
    Limb(joints=(1, 4, 7), landmarks=(23, 25, 27), hinge=(1, 0, 0)),
    Limb(joints=(2, 5, 8), landmarks=(24, 26, 28), hinge=(1, 0, 0)),
    Limb(joints=(16, 18, 20), landmarks=(11, 13, 15), hinge=(0, -1, 0)),
    Limb(joints=(17, 19, 21), landmarks=(12, 14, 16), hinge=(0, 1, 0)),
)
"""Left leg, right leg, left arm, right arm."""


def limbs_along(
    body: ArticulatedBody, trunk: np.ndarray, body_pose: np.ndarray, world_m: np.ndarray
) -> np.ndarray:
    """(T, 23, 3) the pose with the segments of all limbs along those of landmarks world_m (T, 33, 3) in camera axes.

    trunk (T, 3, 3) is the rotation of all that the limbs hang on: the root's of a straight spine. With segments along
    u and v, G = [u a u x a] [r h r x h]' turns the rest direction r onto u (onto v for the second segment) and the
    hinge's axis h onto a = u x v / |u x v|. A limb whose landmarks coincide in a frame stays as it is there.
    """
    pose = body_pose.copy()
    for limb in LIMBS:
        first, middle, last = (body.joint_template[joint] for joint in limb.joints)
        a, b, c = (world_m[:, mark] for mark in limb.landmarks)
        rest, hinge = (_unit(middle - first), _unit(last - middle)), np.array(limb.hinge, float)
        along = _unit(b - a), _unit(c - b)
        before = trunk @ rotation_from_rotvec(body_pose[:, limb.joints[0] - 1])
        axis = _hinge_axes(*along, _swung(before @ rest[0], along[0], before @ hinge))
        upper, lower = (
            _frames(way, axis) @ np.swapaxes(_frames(still, hinge), -1, -2) for way, still in zip(along, rest)
        )
        shown = (np.linalg.norm([b - a, c - b], axis=-1) > SHORTEST_M).all(axis=0)
        pose[shown, limb.joints[0] - 1] = rotvec_from_rotation(np.swapaxes(trunk, 1, 2) @ upper)[shown]
        pose[shown, limb.joints[1] - 1] = rotvec_from_rotation(np.swapaxes(upper, 1, 2) @ lower)[shown]
    return pose


def _hinge_axes(u: Floats, v: Floats, before: Floats) -> Floats:
    """(T, 3) u x v, normalised; towards `before` where u and v are nearly parallel."""
    across = np.cross(u, v)
    share: Floats = np.clip(np.linalg.norm(across, axis=-1, keepdims=True) / STRAIGHT_SINE, 0, 1)
    return np.asarray(share * _unit(across) + (1 - share) * before)


def _swung(u: np.ndarray, v: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Vectors (T, 3) turned by the smallest rotations that take unit vectors u to v. Opposite ones: not turned far."""
    cross = skew(np.cross(u, v))
    cosine = (u * v).sum(axis=-1)[:, None, None]
    turn = np.eye(3) + cross + cross @ cross / np.maximum(1 + cosine, _TINY)
    return np.asarray((turn @ vectors[..., None])[..., 0])


def _frames(way: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations with columns way, axis (its part at right angles to it, normalised), way x axis."""
    axis = _unit(axis - (axis * way).sum(axis=-1, keepdims=True) * way)
    return np.stack([way, axis, np.cross(way, axis)], axis=-1)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY))
