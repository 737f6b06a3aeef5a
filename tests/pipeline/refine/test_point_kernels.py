"""The refinement's kernels against finite differences, dense algebra and slow loops."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.geometry.rigid import rotvec_from_rotation
from pipeline.refine.pictures import TONE
from pipeline.refine.point_kernels import place_points, place_vertices, see_points, show_points
from pipeline.refine.static_lighting_kernels import facing_basis
from pipeline.refine.surface_points import heaviest_first, spread_points
from pipeline.refine.track_bodies import is_closed
from pipeline.rendering.compiled import CompiledRasterizer
from tests.pipeline.refine.posed_points import SIDE_PX, PosedPoints


@pytest.fixture(scope="module")
def posed() -> PosedPoints:
    return PosedPoints()


def test_spread_points_cover_the_area_evenly(posed: PosedPoints) -> None:
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


def test_visibility_by_angle_depth_and_border() -> None:
    camera = Camera(np.array([[80.0, 0, 16], [0, 80.0, 16], [0, 0, 1]]), (32, 32))
    towards, away, flat = [0, 0, -1.0], [0, 0, 1.0], [1.0, 0, -0.3]
    point = np.array([[0, 0, 2.0]] * 4 + [[0, 0, 2.02], [0.39, 0, 2.0]])
    normal = np.array([towards, away, flat, towards, towards, towards])
    inverse_depth = np.full((32, 32), 1 / 2.0)
    seen, everywhere = np.empty(6), np.ones((1, 1), np.uint8)

    def see(point: np.ndarray, normal: np.ndarray, person: np.ndarray) -> None:
        """Half of each point hangs on either of two joints that move it back from where it rests."""
        joint, weight = np.tile([1, 0], (len(point), 1)), np.full((len(point), 2), 0.5)
        turn = np.array([[0, 0, 1.0], [1.0, 0, 0], [0, 1.0, 0]])
        rest = (point - [0.3, 0.1, -0.2]) @ turn
        see_points(
            rest, normal @ turn, joint, weight, np.stack([turn, turn]),
            np.array([[0.2, 0.1, -0.2], [0.4, 0.1, -0.2]]),
            camera.lens, inverse_depth, person, 0.01, 1, 0.2, seen,
        )  # fmt: skip

    see(point, normal, everywhere)
    flat_cosine = 0.3 / np.hypot(1, 0.3)
    np.testing.assert_allclose(seen, [1, 0, 3 * (flat_cosine - 0.2), 1, 0, 0], atol=1e-12)
    inverse_depth[:] = 0  # nothing drawn there: not hidden
    see(point, normal, everywhere)
    assert seen[4] == 1
    aside = np.array([[0.1, 0, 2.0]])  # pixel (row 16, column 20) of 32: cell (4, 5) of 8
    for cell, expected in (((4, 5), 0), ((5, 4), 1), ((4, 4), 1)):
        person = np.ones((8, 8), np.uint8)
        person[cell] = 0
        see(aside, normal[:1], person)
        assert (seen[0] > 0) == expected


def test_of_a_closed_body_only_what_faces_the_camera_is_drawn() -> None:
    """Without the faces that look away a body bent at random is as deep, but for folds that are turned inside out."""
    posed, rasterizer = PosedPoints(), CompiledRasterizer()
    faces = posed.body.faces
    vertices = posed.body.vertices(rotvec_from_rotation(posed.rotation), np.zeros(10), posed.translation)
    camera = posed.camera.resized((256, 256))
    depths = [rasterizer.inverse_depth(vertices, faces, camera, is_closed=each) for each in (False, True)]
    assert is_closed(faces)
    assert (depths[0] > 0).mean() > 0.05
    assert (depths[0] != depths[1]).sum() <= 3
    np.testing.assert_allclose(depths[0], depths[1], rtol=1e-4)
    inside_out = rasterizer.inverse_depth(vertices, faces[:, ::-1], camera, is_closed=True)
    assert (inside_out < depths[0] - 0.005).mean() > 0.03


def test_what_is_closed() -> None:
    """A tetrahedron; without a face, with a face turned round, and with an edge of three faces it is none."""
    faces = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], np.int32)
    assert is_closed(faces)
    assert is_closed(np.concatenate([faces, faces + 4]))
    for not_closed in (
        faces[1:],
        np.concatenate([faces[:1, ::-1], faces[1:]]),
        np.concatenate([faces, [[0, 1, 4]]]),
    ):
        assert not is_closed(not_closed)


def test_vertices_lie_where_the_body_model_puts_them(posed: PosedPoints) -> None:
    joint, weight = heaviest_first(posed.body.weights)
    placed, vertices = posed.placed(), np.empty_like(posed.body.template)
    place_vertices(posed.body.template, joint, weight, placed.rotation[0], placed.offset[0], vertices)
    pose = rotvec_from_rotation(posed.rotation)
    np.testing.assert_allclose(
        vertices, posed.body.vertices(pose, np.zeros(10), posed.translation), atol=1e-12
    )


def test_points_and_normals_are_carried_by_their_joints(posed: PosedPoints) -> None:
    surface, placed = posed.surface, posed.placed()
    point, normal = np.empty_like(surface.rest), np.empty_like(surface.rest)
    place_points(
        surface.rest, surface.normal, surface.points.joint, surface.points.weight,
        placed.rotation[0], placed.offset[0], point, normal,
    )  # fmt: skip
    np.testing.assert_allclose(point, posed.points(), atol=1e-12)
    np.testing.assert_allclose(normal, posed.normals(), atol=1e-12)


def shown_by(
    posed: PosedPoints, picture: np.ndarray, tone: np.ndarray, bias: np.ndarray, lighting: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (C, Q), slopes along the normal (C, Q) and weights (Q,), by the kernel."""
    surface, points, placed = posed.surface, posed.surface.points, posed.placed()
    weight = np.ones(len(surface.rest), np.float32)
    weight[::5] = 0
    value, slope = np.full((2, 3, len(surface.rest)), np.nan, np.float32)
    show_points(
        surface.rest, surface.normal, points.joint, points.weight, placed.rotation[0], placed.offset[0],
        picture, tone, posed.camera.lens, points.node, points.node_weight, bias, lighting, weight, value, slope,
    )  # fmt: skip
    return value, slope, weight


def no_bias(posed: PosedPoints) -> np.ndarray:
    return np.zeros((posed.surface.points.node_count, 3), np.float32)


def test_what_points_show_of_a_linear_picture_is_exact(posed: PosedPoints) -> None:
    """On I = a u + b v + c values are the picture's, and slopes those of a point that moves along its normal."""
    v, u = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    picture = np.repeat((u + v).astype(np.uint8)[..., None], 3, axis=2)
    tone = np.arange(256, dtype=np.float32)
    value, slope, weight = shown_by(posed, picture, tone, no_bias(posed), np.zeros((8, 3)))
    assert 20 < (weight > 0).sum() <= 48
    assert np.isnan(value[:, ::5]).all(), "points without a weight are not touched"
    for sign in (0, 1e-6, -1e-6):
        shown = posed.camera.px_from_cam(posed.points() + sign * posed.normals()).sum(axis=1) - 1
        if sign == 0:
            np.testing.assert_allclose(value[1, weight > 0], shown[weight > 0], rtol=1e-5)
        elif sign > 0:
            higher = shown
    numeric = (higher - shown) / 2e-6
    np.testing.assert_allclose(slope[2, weight > 0], numeric[weight > 0], rtol=1e-3, atol=0.01)


def test_what_points_show_is_bilinear_less_bias_and_lighting(posed: PosedPoints) -> None:
    """Against numpy, between pixels of a rough picture."""
    rng = np.random.default_rng(5)
    points = posed.surface.points
    bias = rng.standard_normal((points.node_count, 3)).astype(np.float32)
    lighting = rng.standard_normal((8, 3))
    value, _, weight = shown_by(posed, posed.picture, TONE, bias, lighting)
    u, v = (posed.camera.px_from_cam(posed.points()) - 0.5).T
    column, row = np.floor([u, v]).astype(int)
    s, t = (u - column)[:, None], (v - row)[:, None]
    toned = TONE[posed.picture]
    upper = (1 - s) * toned[row, column] + s * toned[row, column + 1]
    lower = (1 - s) * toned[row + 1, column] + s * toned[row + 1, column + 1]
    basis = np.empty((len(u), 8), np.float32)
    facing_basis(posed.normals(), basis)
    slow = (points.node_weight[..., None] * bias[points.node]).sum(axis=1)
    expected = (1 - t) * upper + t * lower - slow - basis @ lighting
    np.testing.assert_allclose(value.T[weight > 0], expected[weight > 0], atol=2e-5)


def test_points_outside_the_picture_lose_their_weight(posed: PosedPoints) -> None:
    px = posed.camera.px_from_cam(posed.points())
    middle = int(np.median(px[:, 0]))
    narrow = np.ascontiguousarray(posed.picture[:, :middle])
    _, _, weight = shown_by(posed, narrow, TONE, no_bias(posed), np.zeros((8, 3)))
    np.testing.assert_array_equal(weight > 0, (px[:, 0] < middle - 2) & (np.arange(60) % 5 > 0))
