"""The bodies of a track as what refinement changes: rotations of joints and translations."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.skinning import JointTransforms, chain_joints
from pipeline.geometry.array_types import Floats
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation
from pipeline.refine.equation_kernels import TRANSLATION
from pipeline.refine.frame_coupling import limited
from pipeline.refine.point_kernels import place_vertices
from pipeline.refine.surface_points import heaviest_first
from schemas.conventions import JOINT_COUNT

MAX_TURN_RAD, MAX_MOVE_M = 0.1, 0.05
"""Longest step of one iteration."""


class TrackMesh:
    """The mesh of one person, whose shape is settled once: `body.vertices` in a tenth of the time."""

    def __init__(self, body: BodyModel, betas: np.ndarray) -> None:
        self.faces, self.is_closed = body.faces, is_closed(body.faces)
        self._rest, self._posedirs = body.template + body.shapedirs @ betas, body.posedirs
        self._joint, self._weight = heaviest_first(body.weights)

    def vertices(self, bodies: TrackBodies, placed: JointTransforms, at: int) -> Floats:
        """(V, 3) metres, of one frame; `placed` is where the bodies' joints are."""
        rest: Floats = self._rest
        if self._posedirs is not None:
            rest = rest + self._posedirs @ (bodies.rotation[at, 1:] - np.eye(3)).ravel()
        vertices = np.empty_like(rest)
        place_vertices(rest, self._joint, self._weight, placed.rotation[at], placed.offset[at], vertices)
        return vertices


def is_closed(faces: np.ndarray) -> bool:
    """Whether every edge of faces (F, 3) is gone along exactly once each way: a surface with an inside."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    one_way, other_way = (np.sort(a << 32 | b) for a, b in (edges.T, edges[:, ::-1].T))
    return bool((np.diff(one_way) > 0).all() and np.array_equal(one_way, other_way))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackBodies:
    """One shape and T poses, each in the coordinates of its frame's camera."""

    rotation: np.ndarray
    """(T, 24, 3, 3) of each joint about its parent's axes; the first is the global rotation."""
    translation: np.ndarray
    """(T, 3) metres."""
    betas: np.ndarray
    """(10,)."""

    def transforms(self, body: BodyModel) -> JointTransforms:
        """Where every frame's joints are, and what brings points at rest there."""
        joints = body.joint_template + body.joint_shapedirs @ self.betas
        joints = np.broadcast_to(joints, (len(self.rotation), *joints.shape))
        placed = chain_joints(self.rotation, joints, body.parents)
        move = self.translation[:, None]
        return JointTransforms(placed.rotation, placed.offset + move, placed.position + move)

    def corrections_since(self, start: TrackBodies) -> np.ndarray:
        """(T, 75) what has been added to the bodies of the start: turns in the joints' own axes, translations."""
        turned = rotvec_from_rotation(np.swapaxes(start.rotation, -1, -2) @ self.rotation)
        return np.concatenate(
            [turned.reshape(len(turned), TRANSLATION), self.translation - start.translation], axis=1
        )

    def corrected(self, step: np.ndarray) -> TrackBodies:
        """After a step (T, 75), shortened where it is too long."""
        turns = limited(step[:, :TRANSLATION].reshape(len(step), JOINT_COUNT, 3), MAX_TURN_RAD)
        return self._moved(turns, limited(step[:, TRANSLATION:], MAX_MOVE_M))

    def without_drift(self, start: TrackBodies, drift_mean: np.ndarray) -> TrackBodies:
        """The bodies whose corrections c (T, 75) since the start are c - M c, for slow means M (T, T).

        Where a body is over a second is the tracker's to say, the pictures say how frames differ: they are compared
        over a short window, and what is slower than it they hardly see.
        """
        corrections = self.corrections_since(start)
        corrections -= drift_mean @ corrections
        turns = corrections[:, :TRANSLATION].reshape(len(corrections), JOINT_COUNT, 3)
        return start._moved(turns, corrections[:, TRANSLATION:])

    def _moved(self, turns: np.ndarray, move: np.ndarray) -> TrackBodies:
        return replace(
            self,
            rotation=self.rotation @ rotation_from_rotvec(turns),
            translation=self.translation + move,
        )
