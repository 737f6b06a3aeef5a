"""Points spread over the body's surface, which every frame of a track is compared at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.skinning import JointTransforms
from pipeline.geometry.array_types import Floats
from pipeline.refine.point_kernels import place_points
from pipeline.rendering.base_mesh import outward_normals

NORMAL_WEIGHT_M = 0.08
"""Opposite normals count as this far apart, so that the two sides of a limb do not share a node."""
NEAREST_NODES = 4


@dataclass(frozen=True, slots=True, eq=False)
class SurfacePoints:
    """Q material points: fixed in the body, whatever its pose."""

    face: np.ndarray
    """(Q,) int64, the triangle each lies on."""
    barycentric: np.ndarray
    """(Q, 3) float64 weights of its corners."""
    joint: np.ndarray
    """(Q, I) int64: the joints each hangs on, heaviest first; padded with weight 0."""
    weight: np.ndarray
    """(Q, I) float64 skinning weights, rows that sum to one."""
    node: np.ndarray
    """(Q, 4) int64: the nodes of the coarse fields around it."""
    node_weight: np.ndarray
    """(Q, 4) float64, rows that sum to one."""
    node_count: int

    @property
    def part(self) -> np.ndarray:
        """(Q,) the joint each hangs on most."""
        return self.joint[:, 0]

    def rest(self, rest_vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and unit normals (Q, 3) on a rest shape (V, 3), metres."""
        corners = faces[self.face]
        normals = outward_normals(rest_vertices, faces)
        point = np.einsum("qk,qkc->qc", self.barycentric, rest_vertices[corners])
        normal = np.einsum("qk,qkc->qc", self.barycentric, normals[corners])
        return point, normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, slots=True, eq=False)
class RestSurface:
    """The points on one person's rest shape."""

    points: SurfacePoints
    rest: Floats
    """(Q, 3) metres, on the skin."""
    normal: Floats
    """(Q, 3) outward, of length one."""

    @classmethod
    def of(cls, points: SurfacePoints, body: BodyModel, betas: np.ndarray) -> RestSurface:
        """The surface of the shape that betas (10,) give."""
        return cls(points, *points.rest(body.template + body.shapedirs @ betas, body.faces))

    @property
    def count(self) -> int:
        """Q."""
        return len(self.rest)

    def every(self, stride: int) -> RestSurface:
        """Every so many points, about the same nodes."""
        if stride == 1:
            return self
        points, few = self.points, np.s_[::stride]
        of_few = SurfacePoints(
            face=np.ascontiguousarray(points.face[few]),
            barycentric=np.ascontiguousarray(points.barycentric[few]),
            joint=np.ascontiguousarray(points.joint[few]),
            weight=np.ascontiguousarray(points.weight[few]),
            node=np.ascontiguousarray(points.node[few]),
            node_weight=np.ascontiguousarray(points.node_weight[few]),
            node_count=points.node_count,
        )
        return RestSurface(
            of_few, np.ascontiguousarray(self.rest[few]), np.ascontiguousarray(self.normal[few])
        )

    def dressed(self, offset_m: Floats) -> Floats:
        """(Q, 3) points moved along their normals by an offset given at the nodes, (K,) metres."""
        offset_m = (self.points.node_weight * offset_m[self.points.node]).sum(axis=1)
        return self.rest + offset_m[:, None] * self.normal

    def posed(self, rest: np.ndarray, placed: JointTransforms, at: int) -> tuple[np.ndarray, np.ndarray]:
        """Points (Q, 3) of the rest shape and the normals, carried along by the joints of one frame."""
        point, normal = np.empty_like(rest), np.empty_like(rest)
        place_points(
            rest, self.normal, self.points.joint, self.points.weight,
            placed.rotation[at], placed.offset[at], point, normal,
        )  # fmt: skip
        return point, normal


@lru_cache(maxsize=4)
def spread_points(body: BodyModel, count: int, node_spacing_m: float) -> SurfacePoints:
    """`count` points of equal area on the mean shape, and a node about every `node_spacing_m` of it.

    Point i lies at the share (i + 0.5) / count of the faces' cumulated area, inside its face where the plastic
    sequence (Roberts 2018) puts it: even, and the same every time. Nodes are points in farthest-point order.
    """
    corners = body.template[body.faces]
    area = 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    cumulated = np.cumsum(area)
    face = np.searchsorted(cumulated, (np.arange(count) + 0.5) / count * cumulated[-1])
    s, t = ((np.arange(count)[:, None] + 1) * [0.7548776662466927, 0.5698402909980532] % 1.0).T
    s, t = np.where(s + t > 1, 1 - s, s), np.where(s + t > 1, 1 - t, t)
    barycentric = np.stack([1 - s - t, s, t], axis=1)
    joint, weight = heaviest_first(np.einsum("qk,qkj->qj", barycentric, body.weights[body.faces[face]]))
    placed = SurfacePoints(face, barycentric, joint, weight, joint, weight, 0)
    point, normal = placed.rest(body.template, body.faces)
    node, node_weight, node_count = _nodes(
        np.concatenate([point, 0.5 * NORMAL_WEIGHT_M * normal], axis=1),
        max(1, round(float(cumulated[-1]) / node_spacing_m**2)),
    )
    return SurfacePoints(face, barycentric, joint, weight, node, node_weight, node_count)


def heaviest_first(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The joints of weights (Q, J) that count, heaviest first: (Q, I) joints and their weights."""
    width = int((weights > 0).sum(axis=1).max())
    joint = np.argsort(-weights, axis=1, kind="stable")[:, :width]
    return np.ascontiguousarray(joint), np.take_along_axis(weights, joint, axis=1)


def _nodes(places: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Farthest-point nodes among places (Q, 6); per point the nearest four and weights exp(-d^2 / 2 s^2)."""
    count = min(count, len(places))
    distance = np.linalg.norm(places - places[0], axis=1)
    chosen = [0]
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    squares = ((places[:, None] - places[chosen][None]) ** 2).sum(axis=-1)
    nearest = np.argsort(squares, axis=1, kind="stable")[:, :NEAREST_NODES]
    square = np.take_along_axis(squares, nearest, axis=1)
    spacing = np.sqrt(np.median(square[:, -1]))
    weight = np.exp(-2 * (square - square[:, :1]) / spacing**2)
    return np.ascontiguousarray(nearest), weight / weight.sum(axis=1, keepdims=True), count
