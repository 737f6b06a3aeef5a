"""Normal equations by way of twists against those of a dense Jacobian; appearance and residuals against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.refine.appearance_kernels import blend_frames, compare_frame
from pipeline.refine.equation_kernels import CORRECTIONS, TWIST, add_twist_equations, carry_up
from pipeline.refine.pictures import TONE
from tests.pipeline.refine.posed_points import PosedPoints
from tests.support.robust import robust_weight


@pytest.fixture(scope="module")
def posed() -> PosedPoints:
    return PosedPoints()


def slopes_of(posed: PosedPoints) -> np.ndarray:
    """(Q, C, 3) derivatives of what is shown by the points, per metre, in numpy."""
    px, point = posed.camera.px_from_cam(posed.points()), posed.points()
    toned = TONE[posed.picture].astype(np.float64)

    def shown(px: np.ndarray) -> np.ndarray:
        u, v = (px - 0.5).T
        column, row = np.floor([u, v]).astype(int)
        s, t = (u - column)[:, None], (v - row)[:, None]
        upper = (1 - s) * toned[row, column] + s * toned[row, column + 1]
        return (1 - t) * upper + t * ((1 - s) * toned[row + 1, column] + s * toned[row + 1, column + 1])

    by_u, by_v = ((shown(px + move) - shown(px - move)) / 2 for move in ([1, 0], [0, 1]))
    fx, fy = posed.camera.lens[:2]
    x, y, z = point.T[:, :, None]
    return np.stack([fx / z * by_u, fy / z * by_v, -(fx * x * by_u + fy * y * by_v) / z**2], axis=2)


def test_normal_equations_are_those_of_the_dense_jacobian(posed: PosedPoints) -> None:
    rng, surface, placed = np.random.default_rng(2), posed.surface, posed.placed()
    count = len(surface.rest)
    weight, residual = rng.uniform(0, 1, (3, count)), rng.standard_normal((3, count))
    weight[:, ::7] = 0
    twist_hessian, twist_gradient = np.zeros((24, 24, TWIST, TWIST)), np.zeros((24, TWIST))
    origin = placed.position[0, 0]
    add_twist_equations(
        surface.rest, surface.points.joint, surface.points.weight, placed.rotation[0], placed.offset[0], origin,
        posed.picture, TONE, posed.camera.lens, weight, residual, twist_hessian, twist_gradient,
    )  # fmt: skip
    hessian, gradient = np.full((CORRECTIONS, CORRECTIONS), np.nan), np.full(CORRECTIONS, np.nan)
    carry_up(
        twist_hessian, twist_gradient, posed.parents, placed.rotation[0], placed.position[0], origin,
        hessian, gradient,
    )  # fmt: skip
    rows = np.einsum("qcx,qxp->cqp", slopes_of(posed), posed.jacobian()).reshape(-1, CORRECTIONS)
    expected = rows.T @ (weight.reshape(-1, 1) * rows)
    np.testing.assert_allclose(hessian, expected, atol=1e-6 * np.abs(expected).max())
    expected = rows.T @ (weight * residual).ravel()
    np.testing.assert_allclose(gradient, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("scale", [0.0, 0.3])
@pytest.mark.parametrize("points", [9, 700])
def test_appearance_is_the_weighted_mean_of_the_neighbours(scale: float, points: int) -> None:
    """Of fewer and of more points than are blended at a time."""
    rng = np.random.default_rng(4)
    shown = rng.standard_normal((4, 6, points)).astype(np.float32)
    seen = (rng.uniform(0, 1, (4, points)) * (rng.uniform(size=(4, points)) > 0.3)).astype(np.float32)
    neighbours = np.array([[0, 1, 0, 0], [0.5, 0, 1, 0.2], [1, 1, 0, 1], [0, 0, 0, 0]], np.float32)
    mean, support = np.empty((3, 6, points), np.float32), np.empty((3, points), np.float32)
    blend_frames(shown, seen, neighbours, 1, scale, mean, support)
    for at, frame in enumerate((1, 2, 3)):
        weight = neighbours[frame][:, None] * seen
        if scale:
            square = ((shown[frame, :3] - shown[:, :3]) ** 2).mean(axis=1)
            weight = weight / (1 + square / scale**2) ** 2
        total = weight.sum(axis=0)
        np.testing.assert_allclose(support[at], total, rtol=1e-5)
        expected = np.einsum("sq,srq->rq", weight, shown) / np.where(total > 0, total, 1)
        np.testing.assert_allclose(mean[at], expected, atol=1e-5)


@pytest.mark.parametrize("counting", [0.6, 0.61, 0.0])
def test_frames_are_compared_as_plain_numpy_says(posed: PosedPoints, counting: float) -> None:
    """Even and odd numbers of residuals, and none at all; the offset's sums are added to."""
    rng, points = np.random.default_rng(6), posed.surface.points
    shown, mean = rng.standard_normal((2, 6, 60)).astype(np.float32)
    counted = np.where(np.arange(60) < 60 * counting, rng.uniform(0.1, 1, 60), 0).astype(np.float32)
    bias, residual, weight = np.empty((points.node_count, 3)), np.empty((3, 60)), np.empty((3, 60))
    square, product = np.ones(60), np.full(60, 2.0)
    compare_frame(
        shown, mean, counted, points.node, points.node_weight, 2.0, 0.06, 0.03,
        bias, residual, weight, square, product,
    )  # fmt: skip
    share = np.zeros((60, points.node_count))
    np.add.at(share, (np.arange(60)[:, None], points.node), points.node_weight)
    difference = (shown - mean).astype(np.float64)
    counting_share = counted[:, None] * share
    expected_bias = counting_share.T @ difference[:3].T / (counting_share.sum(axis=0) + 2.0)[:, None]
    np.testing.assert_allclose(bias, expected_bias, atol=1e-6)
    expected = difference[:3] - (share @ expected_bias).T
    seen = counted > 0
    np.testing.assert_allclose(residual[:, seen], expected[:, seen], atol=1e-6)
    expected_weight = 0.03 * robust_weight(expected.T, counted.astype(np.float64), 0.06).T
    np.testing.assert_allclose(weight, expected_weight, rtol=1e-5)
    slope = difference[3:]
    np.testing.assert_allclose(square, 1 + (expected_weight * slope**2).sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(
        product, 2 + (expected_weight * slope * expected).sum(axis=0), rtol=1e-5, atol=1e-5
    )
