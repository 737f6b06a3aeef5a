"""The bodies of a track as a fit moves them: joints, landmarks and skin of all frames, and the way back of slopes.

Linear blend skinning gives vertex v = sum_j W_vj (R_j v(beta) + T_j), so a landmark x_k = sum_v L_kv v is an exact
linear function of the joint transforms,

    x_k = sum_j R_j A_kj(beta) + a_kj T_j,   a_kj = sum_v L_kv W_vj,   A_kj(beta) = sum_v L_kv W_vj v(beta)

and no vertex is needed to fit landmarks. Everything is float32, about the untranslated body, in arrays that are used
again in every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.geometry.array_types import Singles
from pipeline.geometry.kinematics import (
    fill_rotation_slopes,
    fill_rotations,
    fill_transform_slopes,
    fill_transforms,
)
from pipeline.tracking.articulated_body import ArticulatedBody
from pipeline.tracking.posing_kernels import (
    add_point_slopes,
    fill_points,
    fill_two_column_rotations,
    fill_two_column_slopes,
)
from pipeline.tracking.term_kernels import PLACE, POSE
from schemas.conventions import BETA_COUNT, JOINT_COUNT, LANDMARK_COUNT

REAL = np.float32


@dataclass(frozen=True, slots=True, eq=False)
class PointTerms:
    """P points that are sums over joints, x_p = sum_j (R_j A_pj(beta) + a_pj T_j): the E terms that are not zero."""

    count: int
    """P."""
    template: np.ndarray
    """(E, 3) A at the mean shape."""
    shapedirs: np.ndarray
    """(3 E, 10)."""
    weight: np.ndarray
    """(E,) a."""
    point: np.ndarray
    """(E,) the point each belongs to."""
    first: np.ndarray
    """(25,): joint j has those from first[j] to first[j + 1] - 1."""

    @classmethod
    def of(cls, weight: np.ndarray, template: np.ndarray, shapedirs: np.ndarray) -> PointTerms:
        """Of a (P, 24), A (P, 24, 3) and its derivatives by the shape (P, 24, 3, 10)."""
        is_term = (weight != 0) | template.any(axis=-1) | shapedirs.any(axis=(-2, -1))
        point, joint = np.nonzero(is_term)
        return cls._sorted(
            len(weight), joint, template[point, joint], shapedirs[point, joint], weight[point, joint], point
        )

    @classmethod
    def _sorted(
        cls,
        count: int,
        joint: np.ndarray,
        template: np.ndarray,
        shapedirs: np.ndarray,
        weight: np.ndarray,
        point: np.ndarray,
    ) -> PointTerms:
        order = np.argsort(joint, kind="stable")
        first = np.searchsorted(joint[order], np.arange(JOINT_COUNT + 1))
        template, shapedirs, weight = (
            np.ascontiguousarray(each[order], REAL) for each in (template, shapedirs, weight)
        )
        point = np.ascontiguousarray(point[order])
        return cls(count, template, shapedirs.reshape(-1, BETA_COUNT), weight, point, first)

    def rest(self, betas: Singles) -> Singles:
        """(E, 3) A of a shape."""
        return self.template + (self.shapedirs @ betas).reshape(-1, 3)


class PosedTrack:
    """T frames of one body. `values` (T, 78) are their variables: two columns of the global rotation, axis-angles of
    23 joints, translation (which moves nothing in here)."""

    def __init__(
        self,
        body: ArticulatedBody,
        frame_count: int,
        surface_vertices: np.ndarray,
    ) -> None:
        self._parents = np.asarray(body.parents, np.int64)
        self._joint_template, self._joint_shapedirs = (
            np.asarray(each, REAL)
            for each in (body.joint_template, body.joint_shapedirs.reshape(-1, BETA_COUNT))
        )
        self._landmarks = PointTerms.of(
            body.landmark_joint_weights, body.landmark_joint_template, body.landmark_joint_shapedirs
        )
        weights = body.weights[surface_vertices]
        self._surface = PointTerms.of(
            weights,
            weights[..., None] * body.template[surface_vertices][:, None],
            weights[..., None, None] * body.shapedirs[surface_vertices][:, None],
        )
        self._frames = np.arange(frame_count)
        self._axis_angle = np.zeros((frame_count, JOINT_COUNT, 3), REAL)
        self._local, self.rotation, self.by_rotation, self._by_local = (
            np.zeros((frame_count, JOINT_COUNT, 3, 3), REAL) for _ in range(4)
        )
        self.offset, self.by_offset, self._by_axis_angle = (
            np.zeros((frame_count, JOINT_COUNT, 3), REAL) for _ in range(3)
        )
        self.points, self.by_points = (np.zeros((frame_count, LANDMARK_COUNT, 3), REAL) for _ in range(2))
        """Landmarks (T, 33, 3), and what a number changes with them: `by_` everywhere."""

    def pose(self, values: np.ndarray, betas: np.ndarray) -> None:
        """Joints and landmarks of values (T, 78) and a shape (10,); slopes begin at zero."""
        self._betas = betas
        self._axis_angle[:, 1:] = values[:, POSE:PLACE].reshape(len(values), -1, 3)
        fill_rotations(self._axis_angle.reshape(-1, 3), self._local.reshape(-1, 3, 3))
        self._root = np.empty((len(values), 3, 3), REAL)
        fill_two_column_rotations(values, self._root)
        self._local[:, 0] = self._root
        self._joints = self._joint_template + (self._joint_shapedirs @ betas).reshape(-1, 3)
        fill_transforms(self._local, self._joints, self._parents, self.rotation, self.offset)
        self._by_betas = np.zeros(len(betas), REAL)
        for slope in (self.by_rotation, self.by_offset, self.by_points):
            slope[:] = 0
        self._fill(self._landmarks, self._frames, self.points)

    def surface(self, frames: np.ndarray) -> np.ndarray:
        """(N, S, 3) the surface vertices of some frames (N,)."""
        points = np.empty((len(frames), self._surface.count, 3), REAL)
        self._fill(self._surface, frames, points)
        return points

    def add_surface_slopes(self, frames: np.ndarray, by_surface: np.ndarray) -> None:
        """Passes on the slopes (N, S, 3) of what `surface` gave."""
        self._pass_on(self._surface, frames, by_surface)

    def add_slopes(self, values: Singles, by_values: Singles) -> Singles:
        """Passes on all slopes to those by the values (T, 78), and returns those by the shape (10,)."""
        self._pass_on(self._landmarks, self._frames, self.by_points)
        by_joints = np.zeros_like(self._joints)
        fill_transform_slopes(
            self._local, self._joints, self._parents, self.rotation, self.by_rotation, self.by_offset,
            self._by_local, by_joints,
        )  # fmt: skip
        fill_rotation_slopes(
            self._axis_angle.reshape(-1, 3), self._by_local.reshape(-1, 3, 3),
            self._by_axis_angle.reshape(-1, 3),
        )  # fmt: skip
        by_columns = np.empty((len(values), POSE), REAL)
        by_root = np.ascontiguousarray(self._by_local[:, 0])
        fill_two_column_slopes(values, self._root, by_root, by_columns)
        by_values[:, :POSE] += by_columns
        by_values[:, POSE:PLACE] += self._by_axis_angle[:, 1:].reshape(len(values), -1)
        return np.asarray(self._by_betas + by_joints.ravel() @ self._joint_shapedirs)

    def _fill(self, terms: PointTerms, frames: np.ndarray, points: np.ndarray) -> None:
        fill_points(
            self.rotation, self.offset, frames, terms.rest(self._betas), terms.weight, terms.point, terms.first,
            points,
        )  # fmt: skip

    def _pass_on(self, terms: PointTerms, frames: np.ndarray, by_points: np.ndarray) -> None:
        by_rest = np.zeros_like(terms.template)
        add_point_slopes(
            self.rotation, frames, terms.rest(self._betas), terms.weight, terms.point, terms.first, by_points,
            self.by_rotation, self.by_offset, by_rest,
        )  # fmt: skip
        self._by_betas += by_rest.ravel() @ terms.shapedirs
