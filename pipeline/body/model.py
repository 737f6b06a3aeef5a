"""A body: pose, shape and place to vertices, joints and landmarks. Needs numpy alone.

Axes of the rest pose: x to the body's left, y up, z to the front, metres (see `pipeline.body.smpl_layout`).

Landmarks are the points that the landmark network draws, which is what pictures are compared with. They lie up to 30 mm
off the points of those names (`pipeline.body.landmark_offsets`); `BodyModel.as_named` is the body that has these.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from pipeline.body.body_file import BodyArrays, check_sha256, read_body
from pipeline.body.landmark_offsets import LandmarkOffsets, learned_offsets
from pipeline.body.skinning import JointTransforms, chain_joints, skin_vertices
from pipeline.geometry.array_types import Floats
from pipeline.geometry.rigid import rotation_from_rotvec
from schemas.conventions import BETA_COUNT, JOINT_COUNT
from schemas.errors import AssetError

_DATA = Path(__file__).parent / "data"
_CHUNK_BYTES = 4 << 20
"""What the transforms blended for each vertex may take at a time: a few frames, which stay in the cache."""


class BodyModel:
    """SMPL's formula (Loper et al. 2015) on the arrays of one file.

        v(beta)        = template + shapedirs beta
        J(beta)        = joint_regressor v(beta)
        v(beta, theta) = LBS(v(beta) + posedirs vec(R(theta)[1:] - I), J(beta), theta, weights) + translation

    The global rotation, the first of theta, turns the body about its pelvis joint, and the translation is added
    after it: where the pelvis lies at the rest pose's origin, as the open body's mean shape has it, it ends up at
    the translation. A file without posedirs (the open body) has no pose blend shapes.

    All arrays are float64 in metres and read-only; names and shapes as in `tracking.articulated_body.ArticulatedBody`.
    """

    template: np.ndarray
    """(V, 3) the mean shape in the T pose."""
    shapedirs: np.ndarray
    """(V, 3, 10) metres per unit of beta."""
    joint_regressor: np.ndarray
    """(24, V)."""
    weights: np.ndarray
    """(V, 24), rows that sum to one."""
    parents: np.ndarray
    """(24,) int64, -1 for the root."""
    faces: np.ndarray
    """(F, 3) int32, counter-clockwise from outside."""
    posedirs: np.ndarray | None
    """(V, 3, 207)."""
    landmark_regressor: np.ndarray | None
    """(33, V) of the points that landmarks are named for, without `landmark_offsets`."""
    landmark_offsets: LandmarkOffsets | None
    """From there to what the network draws; None where landmarks are as they are named."""
    kind: str
    """`smpl`, `smplh`, `smplx` or `open`."""
    joint_template: np.ndarray
    """(24, 3) joints of the mean shape."""
    joint_shapedirs: np.ndarray
    """(24, 3, 10)."""

    def __init__(
        self, arrays: BodyArrays, name: str = "body", landmark_offsets: LandmarkOffsets | None = None
    ) -> None:
        self._name, self.kind, self.landmark_offsets = name, arrays.kind, landmark_offsets
        self.template, self.shapedirs = arrays.template, arrays.shapedirs
        self.joint_regressor, self.weights = arrays.joint_regressor, arrays.weights
        self.parents, self.faces = arrays.parents, arrays.faces
        self.posedirs, self.landmark_regressor = arrays.posedirs, arrays.landmark_regressor
        self.joint_template = self.joint_regressor @ self.template
        self.joint_shapedirs = np.einsum("jv,vcb->jcb", self.joint_regressor, self.shapedirs, optimize=True)
        self._landmark_joints = None if self.landmark_regressor is None else self._spread_landmarks()
        for array in (*vars(self).values(), *(self._landmark_joints or ())):
            if isinstance(array, np.ndarray):
                array.flags.writeable = False

    @classmethod
    def load(cls, path: Path | str) -> BodyModel:
        """A body from an SMPL-layout .npz (see `body_file.read_body`); AssetError says what is wrong with a file."""
        return cls(read_body(Path(path)), str(path), learned_offsets())

    @classmethod
    def open_body(cls) -> BodyModel:
        """The shipped body, one and the same object per process; AssetError if its file is not what was shipped."""
        return _shipped_body(_DATA)

    @cached_property
    def as_named(self) -> BodyModel:
        """This body with landmarks at the points that they are named for: joints' middles, eyes, the toes' tips."""
        named = copy.copy(self)
        named.landmark_offsets = None
        named._landmark_joints = None if self.landmark_regressor is None else named._spread_landmarks()
        return named

    @property
    def vertex_count(self) -> int:
        """V."""
        return len(self.template)

    @property
    def shape_space(self) -> str:
        """Whose betas it takes: `smpl` (SMPL-H's are the same), `smplx` or `open`."""
        return "smpl" if self.kind == "smplh" else self.kind

    @property
    def landmark_joint_weights(self) -> np.ndarray:
        """(33, 24) a_kj = sum_v L_kv W_vj."""
        return self._landmarks_by_joint()[0]

    @property
    def landmark_joint_template(self) -> np.ndarray:
        """(33, 24, 3) A_kj = sum_v L_kv W_vj v at the mean shape, and the offset d_k where j carries it."""
        return self._landmarks_by_joint()[1]

    @property
    def landmark_joint_shapedirs(self) -> np.ndarray:
        """(33, 24, 3, 10) dA_kj / dbeta."""
        return self._landmarks_by_joint()[2]

    def vertices(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., V, 3) metres, of pose (..., 24, 3) axis-angles, betas (..., 10), translation (..., 3) metres.

        Leading shapes broadcast. Frames go through in chunks, so that only the result grows with their number.
        """
        return self._by_chunks(self._skin, self.vertex_count, pose, betas, translation)

    def joints(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., 24, 3) metres; arguments as for `vertices`."""
        return self._by_chunks(self._place_joints, JOINT_COUNT, pose, betas, translation)

    def landmarks(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., 33, 3) metres, landmark_regressor @ vertices + G_j(k) d_k; arguments as for `vertices`.

        G_j are the joints' rotations, d_k the `landmark_offsets`, each carried by a joint j(k). Without pose blend
        shapes they come straight from the joints, x_k = sum_j G_j A_kj(beta) + a_kj offset_j.
        """
        regressor = self._require_landmarks()
        return self._by_chunks(self._place_landmarks, len(regressor), pose, betas, translation)

    def _by_chunks(
        self,
        place: Callable[[Floats, Floats], Floats],
        points: int,
        pose: Floats,
        betas: Floats,
        translation: Floats,
    ) -> Floats:
        """place(rotation (T, 24, 3, 3), betas (T, 10)) -> (T, points, 3) over flattened leading shapes."""
        pose = _checked("pose", pose, (JOINT_COUNT, 3))
        betas = _checked("betas", betas, (BETA_COUNT,))
        translation = _checked("translation", translation, (3,))
        leading = np.broadcast_shapes(pose.shape[:-2], betas.shape[:-1], translation.shape[:-1])
        pose = np.broadcast_to(pose, (*leading, JOINT_COUNT, 3)).reshape(-1, JOINT_COUNT, 3)
        betas = np.broadcast_to(betas, (*leading, BETA_COUNT)).reshape(-1, BETA_COUNT)
        placed = np.empty((len(pose), points, 3))
        step = max(1, _CHUNK_BYTES // (self.vertex_count * 12 * 8))
        for start in range(0, len(pose), step):
            chunk = slice(start, start + step)
            placed[chunk] = place(rotation_from_rotvec(pose[chunk]), betas[chunk])
        return placed.reshape(*leading, points, 3) + translation[..., None, :]

    def _transforms(self, rotation: np.ndarray, betas: np.ndarray) -> JointTransforms:
        joints = self.joint_template + np.einsum("jcb,tb->tjc", self.joint_shapedirs, betas)
        return chain_joints(rotation, joints, self.parents)

    def _place_joints(self, rotation: np.ndarray, betas: np.ndarray) -> np.ndarray:
        return self._transforms(rotation, betas).position

    def _skin(self, rotation: np.ndarray, betas: np.ndarray) -> np.ndarray:
        rest = self.template + _combine(self.shapedirs, betas)
        if self.posedirs is not None:
            rest += _combine(self.posedirs, (rotation[:, 1:] - np.eye(3)).reshape(len(rotation), -1))
        return skin_vertices(rest, self.weights, self._transforms(rotation, betas))

    def _place_landmarks(self, rotation: Floats, betas: Floats) -> Floats:
        if self.posedirs is not None:
            named = np.asarray(self._require_landmarks() @ self._skin(rotation, betas))
            if self.landmark_offsets is None:
                return named
            return named + self.landmark_offsets.turned(self._transforms(rotation, betas).rotation)
        weights, template, shapedirs = self._landmarks_by_joint()
        moved = self._transforms(rotation, betas)
        rest = template + np.einsum("kjcb,tb->tkjc", shapedirs, betas)
        return np.asarray(np.einsum("tjrc,tkjc->tkr", moved.rotation, rest) + weights @ moved.offset)

    def _spread_landmarks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The landmarks' share in each joint: a (33, 24), A (33, 24, 3), dA/dbeta (33, 24, 3, 10)."""
        regressor = self._require_landmarks()
        share = regressor[:, None, :] * self.weights.T  # (33, 24, V)
        template = share @ self.template
        shapedirs = share @ self.shapedirs.reshape(self.vertex_count, -1)
        if self.landmark_offsets is not None:
            template = template + self.landmark_offsets.by_joint()
        return share.sum(axis=-1), template, shapedirs.reshape(*template.shape, BETA_COUNT)

    def _landmarks_by_joint(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if self._landmark_joints is None:
            raise self._no_landmarks()
        return self._landmark_joints

    def _require_landmarks(self) -> np.ndarray:
        if self.landmark_regressor is None:
            raise self._no_landmarks()
        return self.landmark_regressor

    def _no_landmarks(self) -> AssetError:
        return AssetError(
            f"{self._name}: landmark_regressor: found none, expected (33, {self.vertex_count}).",
            remedy="Add the key landmark_regressor (rows sum to one, BlazePose's 33 points) to the file, "
            "or use the open body, which has one.",
        )


@lru_cache(maxsize=1)
def _shipped_body(folder: Path) -> BodyModel:
    path = open_body_path(folder)
    check_sha256(path, folder / "open_body.json")
    return BodyModel(replace(read_body(path), kind="open"), str(path), learned_offsets())


def open_body_path(folder: Path = _DATA) -> Path:
    """Where the shipped body's file lies."""
    return folder / "open_body.npz"


def _combine(directions: Floats, coefficients: Floats) -> Floats:
    """(T, V, 3) = directions (V, 3, C) times coefficients (T, C)."""
    count = directions.shape[-1]
    return (coefficients @ directions.reshape(-1, count).T).reshape(len(coefficients), -1, 3)


def _checked(name: str, array: np.ndarray, trailing: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(array, dtype=np.float64)
    if array.shape[-len(trailing) :] != trailing:
        wanted = ", ".join(map(str, trailing))
        raise ValueError(f"{name} must have shape (..., {wanted}), got {array.shape}")
    return array
