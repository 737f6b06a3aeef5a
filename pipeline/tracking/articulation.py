"""The body model as torch tensors: joint transforms, landmarks without vertices, a few vertices for silhouettes.

Linear blend skinning gives vertex v = sum_j W_vj (R_j v(beta) + T_j), so a landmark x_k = sum_v L_kv v is an exact
linear function of the joint transforms:

    x_k = sum_j R_j A_kj(beta) + a_kj T_j,   a_kj = sum_v L_kv W_vj,   A_kj(beta) = sum_v L_kv W_vj v(beta)

and no vertex is needed to fit landmarks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from schemas.conventions import JOINT_COUNT


class ArticulatedBody(Protocol):
    """What tracking needs of a body model (`pipeline.body.model.BodyModel` is one). All arrays float64, metres."""

    @property
    def joint_template(self) -> np.ndarray:
        """(24, 3)."""

    @property
    def joint_shapedirs(self) -> np.ndarray:
        """(24, 3, 10)."""

    @property
    def landmark_joint_weights(self) -> np.ndarray:
        """(33, 24) a_kj."""

    @property
    def landmark_joint_template(self) -> np.ndarray:
        """(33, 24, 3) A_kj at the mean shape."""

    @property
    def landmark_joint_shapedirs(self) -> np.ndarray:
        """(33, 24, 3, 10)."""

    @property
    def template(self) -> np.ndarray:
        """(V, 3)."""

    @property
    def shapedirs(self) -> np.ndarray:
        """(V, 3, 10)."""

    @property
    def weights(self) -> np.ndarray:
        """(V, 24)."""

    @property
    def parents(self) -> np.ndarray:
        """(24,), -1 for the root."""

    @property
    def faces(self) -> np.ndarray:
        """(F, 3)."""

    def vertices(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., V, 3) of pose (..., 24, 3), betas (..., 10), translation (..., 3)."""

    def joints(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., 24, 3)."""

    def landmarks(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., 33, 3)."""


@dataclass(frozen=True, slots=True, eq=False)
class JointTransforms:
    """x' = rotation x + offset carries a point of the rest pose with a joint, about the untranslated body."""

    rotation: Tensor
    """(T, 24, 3, 3)."""
    offset: Tensor
    """(T, 24, 3)."""


class BodyTensors:
    """A body model in float32, and the vertices that stand for its surface."""

    def __init__(self, body: ArticulatedBody, surface_vertices: np.ndarray) -> None:
        self._joint_template = _tensor(body.joint_template)
        self._joint_shapedirs = _tensor(body.joint_shapedirs)
        self._landmark_weights = _tensor(body.landmark_joint_weights)
        self._landmark_template = _tensor(body.landmark_joint_template)
        self._landmark_shapedirs = _tensor(body.landmark_joint_shapedirs)
        self._template = _tensor(body.template[surface_vertices])
        self._shapedirs = _tensor(body.shapedirs[surface_vertices])
        self._weights = _tensor(body.weights[surface_vertices])
        self._levels = _levels([int(parent) for parent in body.parents])

    def transforms(self, rotations: Tensor, betas: Tensor) -> JointTransforms:
        """Forward kinematics of local rotations (T, 24, 3, 3) and one shape (10,), a level of the tree at a time."""
        joints = self._joint_template + self._joint_shapedirs @ betas
        count = len(rotations)
        rotation: list[Tensor] = [rotations[:, 0]] * JOINT_COUNT
        position: list[Tensor] = [joints[0].expand(count, 3)] * JOINT_COUNT
        for children, parents in self._levels:
            of_parent = torch.stack([rotation[parent] for parent in parents], 1)
            at_parent = torch.stack([position[parent] for parent in parents], 1)
            bones = joints[children] - joints[parents]
            of_child = of_parent @ rotations[:, children]
            at_child = at_parent + (of_parent @ bones[None, :, :, None])[..., 0]
            for slot, child in enumerate(children):
                rotation[child], position[child] = of_child[:, slot], at_child[:, slot]
        world = torch.stack(rotation, 1)
        offset = torch.stack(position, 1) - (world @ joints[None, :, :, None])[..., 0]
        return JointTransforms(world, offset)

    def landmarks(self, transforms: JointTransforms, betas: Tensor) -> Tensor:
        """(T, 33, 3) metres about the body's origin."""
        placed = self._landmark_template + self._landmark_shapedirs @ betas
        count, landmarks = len(transforms.rotation), len(placed)
        columns = transforms.rotation.permute(0, 2, 1, 3).reshape(count * 3, 3 * JOINT_COUNT)
        turned = (columns @ placed.reshape(landmarks, 3 * JOINT_COUNT).T).view(count, 3, landmarks)
        return (turned + transforms.offset.transpose(1, 2) @ self._landmark_weights.T).transpose(1, 2)

    def surface(self, transforms: JointTransforms, betas: Tensor) -> Tensor:
        """(T, S, 3) the surface vertices, metres about the body's origin."""
        rest = self._template + self._shapedirs @ betas
        count = len(transforms.rotation)
        packed = torch.cat([transforms.rotation.reshape(count, JOINT_COUNT, 9), transforms.offset], -1)
        blended = self._weights @ packed
        linear = blended[..., :9].view(count, -1, 3, 3)
        return (linear @ rest[None, :, :, None])[..., 0] + blended[..., 9:]


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """Rodrigues: R = I + sin|a| K + (1 - cos|a|) K^2 for (..., 3); smooth at zero (|a| >= 1e-6)."""
    angle = (axis_angle.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    x, y, z = (axis_angle / angle).unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).view(*axis_angle.shape[:-1], 3, 3)
    sin, cos = torch.sin(angle)[..., None], torch.cos(angle)[..., None]
    return torch.eye(3, dtype=axis_angle.dtype) + sin * cross + (1 - cos) * (cross @ cross)


def rotation_from_two_columns(columns: Tensor) -> Tensor:
    """Gram-Schmidt of the first two columns (..., 6) of a rotation (Zhou et al. 2019)."""
    first = torch.nn.functional.normalize(columns[..., :3], dim=-1)
    second = columns[..., 3:] - (first * columns[..., 3:]).sum(-1, keepdim=True) * first
    second = torch.nn.functional.normalize(second, dim=-1)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], -1)


def spread_vertices(body: ArticulatedBody, count: int, generator: torch.Generator) -> np.ndarray:
    """Indices of vertices drawn without replacement, each with the surface area around it as its chance.

    Head and hands hold more than half of the vertices and a tenth of the skin.
    """
    corners = body.template[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    around = np.bincount(body.faces.ravel(), np.repeat(area, 3), minlength=len(body.template))
    count = min(count, int((around > 0).sum()))
    return torch.multinomial(torch.from_numpy(around), count, generator=generator).sort().values.numpy()


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(np.asarray(array), dtype=torch.float32)


def _levels(parents: list[int]) -> list[tuple[list[int], list[int]]]:
    """Joints by depth below the root, each level with its parents."""
    depth = [0] * len(parents)
    for joint in range(1, len(parents)):
        depth[joint] = depth[parents[joint]] + 1
    levels = [[joint for joint in range(len(parents)) if depth[joint] == d] for d in range(1, max(depth) + 1)]
    return [(level, [parents[joint] for joint in level]) for level in levels]
