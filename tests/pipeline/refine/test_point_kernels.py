"""The refinement's kernels against finite differences, dense algebra and slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.body.skinning import chain_joints
from pipeline.geometry.camera import Camera
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.refine.alignment_kernels import (
    CORRECTIONS,
    TRANSLATION,
    add_normal_equations,
    blend_appearance,
    place_points,
    point_jacobian,
    sample_picture,
    see_points,
    subtract_field,
)
from pipeline.refine.surface_points import SurfacePoints, spread_points

LINEAR = np.arange(256, dtype=np.float32)


class Posed:
    """Points on the open body in one random pose."""

    def __init__(self, count: int = 60) -> None:
        rng = np.random.default_rng(1)
        self.body = BodyModel.open_body()
        self.points: SurfacePoints = spread_points(self.body, count, 0.5)
        self.rest, self.normal = self.points.rest(self.body.template, self.body.faces)
        self.rotation = rotation_from_rotvec(0.4 * rng.standard_normal((24, 3)))
        self.translation = np.array([0.1, -0.2, 4.0])
        self.parents = np.array(self.body.parents, np.int64)

    def transforms(self, corrections: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rotation, offset and position of the joints after world turns about each joint, applied root last."""
        rotation, translation = self.rotation, self.translation + corrections[TRANSLATION:]
        placed = chain_joints(rotation[None], self.body.joint_template[None], self.body.parents)
        local = rotation.copy()
        for joint in range(24):
            axes = placed.rotation[0, joint]  # exp(G w') G = G exp(w') where w = G w'
            local[joint] = local[joint] @ rotation_from_rotvec(
                axes.T @ corrections[3 * joint : 3 * joint + 3]
            )
        moved = chain_joints(local[None], self.body.joint_template[None], self.body.parents)
        return moved.rotation[0], moved.offset[0] + translation, moved.position[0] + translation

    def place(self, corrections: np.ndarray) -> np.ndarray:
        """(Q, 3)."""
        rotation, offset, _ = self.transforms(corrections)
        point, normal = np.empty_like(self.rest), np.empty_like(self.rest)
        place_points(
            self.rest, self.normal, self.points.joint, self.points.weight, rotation, offset, point, normal
        )
        return point

    def jacobian(self) -> np.ndarray:
        """(Q, 3, 75) by the kernel."""
        jacobian = np.empty((len(self.rest), 3, CORRECTIONS))
        point_jacobian(
            self.rest,
            self.points.joint,
            self.points.weight,
            self.parents,
            *self.transforms(np.zeros(CORRECTIONS)),
            jacobian,
        )
        return jacobian


@pytest.fixture(scope="module")
def posed() -> Posed:
    return Posed()


def test_points_lie_where_the_body_model_puts_them(posed: Posed) -> None:
    """A point at a corner moves with that vertex; inside a face skinning blends weights, not corners."""
    body = posed.body
    corners = SurfacePoints(
        posed.points.face, np.tile([1.0, 0, 0], (60, 1)), posed.points.joint, posed.points.weight,
        posed.points.node, posed.points.node_weight, posed.points.node_count,
    )  # fmt: skip
    vertex = body.faces[corners.face, 0]
    order = np.argsort(-body.weights[vertex], axis=1)
    rest = body.template[vertex]
    rotation, offset, _ = posed.transforms(np.zeros(CORRECTIONS))
    point, normal = np.empty_like(rest), np.empty_like(rest)
    place_points(
        rest, posed.normal, order, np.take_along_axis(body.weights[vertex], order, axis=1),
        rotation, offset, point, normal,
    )  # fmt: skip
    from pipeline.geometry.rigid import rotvec_from_rotation

    whole = body.vertices(rotvec_from_rotation(posed.rotation), np.zeros(10), posed.translation)
    np.testing.assert_allclose(point, whole[vertex], atol=1e-12)


def test_spread_points_cover_the_area_evenly(posed: Posed) -> None:
    points = spread_points(posed.body, 2000, 0.12)
    corners = posed.body.template[posed.body.faces]
    area = 0.5 * np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    legs = np.isin(posed.body.weights[posed.body.faces[:, 0]].argmax(axis=1), (1, 2, 4, 5))
    assert legs[points.face].mean() == pytest.approx(area[legs].sum() / area.sum(), abs=0.005)
    np.testing.assert_allclose(points.barycentric.sum(axis=1), 1)
    assert points.barycentric.min() >= 0
    np.testing.assert_allclose(points.weight.sum(axis=1), 1)
    np.testing.assert_allclose(points.node_weight.sum(axis=1), 1)
    assert points.node_count == round(area.sum() / 0.12**2)
    assert set(points.node.ravel()) == set(range(points.node_count))


def test_the_jacobian_is_that_of_the_skeleton(posed: Posed) -> None:
    jacobian, step = posed.jacobian(), 1e-5
    for correction in range(CORRECTIONS):
        move = np.zeros(CORRECTIONS)
        move[correction] = step
        numeric = (posed.place(move) - posed.place(-move)) / (2 * step)
        np.testing.assert_allclose(jacobian[:, :, correction], numeric, atol=1e-8, err_msg=str(correction))


def test_normal_equations_are_those_of_the_dense_jacobian(posed: Posed) -> None:
    rng = np.random.default_rng(2)
    count = len(posed.rest)
    weight, residual = rng.uniform(0, 1, (count, 3)), rng.standard_normal((count, 3))
    weight[::7] = 0
    slope = rng.standard_normal((count, 3, 3))
    hessian, gradient = np.zeros((CORRECTIONS, CORRECTIONS)), np.zeros(CORRECTIONS)
    add_normal_equations(
        posed.rest, posed.points.joint, posed.points.weight, posed.parents,
        *posed.transforms(np.zeros(CORRECTIONS)), weight, residual, slope, hessian, gradient,
    )  # fmt: skip
    rows = np.einsum("qcx,qxp->qcp", slope, posed.jacobian()).reshape(-1, CORRECTIONS)
    np.testing.assert_allclose(hessian, rows.T @ (weight.reshape(-1, 1) * rows), atol=1e-9)
    np.testing.assert_allclose(gradient, rows.T @ (weight * residual).ravel(), atol=1e-9)


def test_slopes_of_a_linear_picture_are_exact() -> None:
    """On I = a u + b v + c the slopes by x, y, z are those of a projected point, and values are the picture's."""
    camera = Camera(np.array([[80.0, 0, 20], [0, 90.0, 16], [0, 0, 1]]), (32, 40))
    v, u = np.mgrid[0:32, 0:40]
    picture = (2 * u + 3 * v).astype(np.uint8)[..., None]
    rng = np.random.default_rng(3)
    point = camera.cam_from_px(rng.uniform(4, 28, (50, 2)), rng.uniform(1, 3, 50))
    seen, value, slope = np.ones(50), np.zeros((50, 1)), np.zeros((50, 1, 3))
    normal, along = rng.standard_normal((50, 3)), np.zeros((50, 1))
    sample_picture(picture, LINEAR, point, normal, seen, camera.lens, value, slope, along)

    def shown(point: np.ndarray) -> np.ndarray:
        return camera.px_from_cam(point) @ [2.0, 3.0] - 2.5

    np.testing.assert_allclose(value[:, 0], shown(point), atol=1e-5)
    for axis in range(3):
        move = 1e-6 * np.eye(3)[axis]
        numeric = (shown(point + move) - shown(point - move)) / 2e-6
        np.testing.assert_allclose(slope[:, 0, axis], numeric, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(along[:, 0], (slope[:, 0] * normal).sum(axis=1))


def test_a_field_at_nodes_is_taken_from_values_at_points(posed: Posed) -> None:
    points, rng = posed.points, np.random.default_rng(6)
    field, value = rng.standard_normal((points.node_count, 3)), rng.standard_normal((60, 3))
    expected = value - np.einsum("qn,qnc->qc", points.node_weight, field[points.node])
    subtract_field(points.node, points.node_weight, field, value)
    np.testing.assert_allclose(value, expected, atol=1e-12)


def test_points_outside_the_picture_lose_their_weight() -> None:
    camera = Camera(np.array([[80.0, 0, 16], [0, 80.0, 16], [0, 0, 1]]), (32, 32))
    point = np.array([[0, 0, 1.0], [0.2, 0, 1.0], [0, 0, -1.0]])
    seen = np.ones(3)
    sample_picture(
        np.zeros((32, 32, 1), np.uint8), LINEAR, point, np.zeros((3, 3)), seen, camera.lens,
        np.zeros((3, 1)), np.zeros((3, 1, 3)), np.zeros((3, 1)),
    )  # fmt: skip
    assert seen.tolist() == [1, 0, 0]


def test_visibility_by_angle_depth_and_border() -> None:
    camera = Camera(np.array([[80.0, 0, 16], [0, 80.0, 16], [0, 0, 1]]), (32, 32))
    towards, away, flat = [0, 0, -1.0], [0, 0, 1.0], [1.0, 0, -0.3]
    point = np.array([[0, 0, 2.0]] * 4 + [[0, 0, 2.02], [0.39, 0, 2.0]])
    normal = np.array([towards, away, flat, towards, towards, towards])
    depth = np.full((32, 32), 2.0)
    seen, everywhere = np.empty(6), np.ones((1, 1), np.uint8)
    see_points(point, normal, camera.lens, depth, everywhere, 0.01, 1, 0.2, seen)
    flat_cosine = 0.3 / np.hypot(1, 0.3)
    np.testing.assert_allclose(seen, [1, 0, 3 * (flat_cosine - 0.2), 1, 0, 0], atol=1e-12)
    depth[:] = 0  # nothing drawn there: not hidden
    see_points(point, normal, camera.lens, depth, everywhere, 0.01, 1, 0.2, seen)
    assert seen[4] == 1
    aside = np.array([[0.1, 0, 2.0]])  # pixel (row 16, column 20) of 32: cell (4, 5) of 8
    for cell, expected in (((4, 5), 0), ((5, 4), 1), ((4, 4), 1)):
        person = np.ones((8, 8), np.uint8)
        person[cell] = 0
        see_points(aside, normal[:1], camera.lens, depth, person, 0.01, 1, 0.2, seen)
        assert (seen[0] > 0) == expected


@pytest.mark.parametrize("scale", [0.0, 0.3])
def test_appearance_is_the_weighted_mean_of_the_neighbours(scale: float) -> None:
    rng = np.random.default_rng(4)
    value, slope = rng.standard_normal((2, 4, 9, 3))
    seen = rng.uniform(0, 1, (4, 9)) * (rng.uniform(size=(4, 9)) > 0.3)
    neighbour, weight = np.array([0, 2, 3]), np.array([0.5, 1.0, 0.2])
    found, found_slope, support = np.empty((9, 3)), np.empty((9, 3)), np.empty(9)
    blend_appearance(value, slope, seen, 1, neighbour, weight, scale, found, found_slope, support)
    for q in range(9):
        w = weight * seen[neighbour, q] * (seen[1, q] > 0)
        if scale:
            square = ((value[1, q] - value[neighbour, q]) ** 2).mean(axis=1)
            w = w / (1 + square / scale**2) ** 2
        assert support[q] == pytest.approx(w.sum())
        if w.sum() > 0:
            np.testing.assert_allclose(found[q], w @ value[neighbour, q] / w.sum())
            np.testing.assert_allclose(found_slope[q], w @ slope[neighbour, q] / w.sum())
        else:
            assert not found[q].any()
