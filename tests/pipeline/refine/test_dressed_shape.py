"""The dressed shape: what nodes say at vertices, how sure it is, and where it puts the surface."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.refine.dressed_shape import DressedShape, dressed
from pipeline.refine.shared_offset import OffsetPrior, OffsetSystem
from pipeline.refine.surface_points import SurfacePoints, spread_points
from pipeline.rendering.base_mesh import outward_normals
from schemas.errors import SettingsError
from schemas.settings import with_overrides


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.open_body()


@pytest.fixture(scope="module")
def points(body: BodyModel) -> SurfacePoints:
    return spread_points(body, 2000, 0.15)


def test_a_constant_is_a_constant_everywhere(body: BodyModel, points: SurfacePoints) -> None:
    flat = np.full(points.node_count, 0.02)
    offset_m, sigma_m = DressedShape(points=points, offset_m=flat, sigma_m=0.5 * flat).at_vertices(body)
    np.testing.assert_allclose(offset_m, 0.02)
    np.testing.assert_allclose(sigma_m, 0.01)


def test_vertices_take_what_lies_near_them(body: BodyModel, points: SurfacePoints) -> None:
    """A field that grows with height, given at the nodes, is that field at the vertices, to a node's spacing."""
    rest, _ = points.rest(body.template, body.faces)
    total = np.zeros(points.node_count)
    np.add.at(total, points.node.ravel(), points.node_weight.ravel())
    height = np.zeros_like(total)
    np.add.at(height, points.node.ravel(), (points.node_weight * rest[:, 1, None]).ravel())
    shape = DressedShape(points=points, offset_m=0.01 * height / total, sigma_m=total)
    offset_m, _ = shape.at_vertices(body)
    error = np.abs(offset_m - 0.01 * body.template[:, 1])
    assert np.quantile(error, 0.95) < 0.01 * 0.15
    assert np.corrcoef(offset_m, body.template[:, 1])[0, 1] > 0.98


def test_what_no_picture_shows_is_as_unsure_as_before(points: SurfacePoints) -> None:
    """And what some do is as sure as the normal equations say, written out."""
    system, rng = OffsetSystem(points), np.random.default_rng(0)
    np.testing.assert_allclose(system.uncertainty_m(0.02), 0.02)
    shown = points.node[:, 0] < points.node_count // 2
    system.square[:] = np.where(shown, rng.uniform(0, 1e4, len(shown)), 0)
    design = np.zeros((len(shown), points.node_count))
    np.put_along_axis(design, points.node, points.node_weight, axis=1)
    hessian = design.T @ (system.square[:, None] * design) + np.eye(points.node_count) / 0.02**2
    found = system.uncertainty_m(0.02)
    np.testing.assert_allclose(found, np.sqrt(np.diag(np.linalg.inv(hessian))), rtol=1e-9)
    untouched = np.setdiff1d(np.arange(points.node_count), points.node[shown].ravel())
    np.testing.assert_allclose(found[untouched], 0.02, rtol=1e-6)
    assert np.median(found) < 0.015


def test_the_offset_goes_where_it_is_expected_and_pictures_say(points: SurfacePoints) -> None:
    """One step minimises sum_q s_q^2 (o_q - z_q)^2 + sum_k ((o_k - mean) / sigma)^2, here solved as least squares."""
    prior = OffsetPrior(mean_m=0.01, sigma_m=0.02, range_m=(-1.0, 1.0))
    system, rng = OffsetSystem(points), np.random.default_rng(1)
    start = np.full(points.node_count, 0.003)
    np.testing.assert_allclose(system.solved(start, prior, 0.0), 0.01)
    weight, seen_m = rng.uniform(0, 1e4, len(points.node)), rng.normal(0.02, 0.03, len(points.node))
    design = np.zeros((len(points.node), points.node_count))
    np.put_along_axis(design, points.node, points.node_weight, axis=1)
    system.square[:], system.product[:] = weight, weight * (design @ start - seen_m)
    rows = np.concatenate([np.sqrt(weight)[:, None] * design, np.eye(points.node_count) / 0.02])
    right = np.concatenate([np.sqrt(weight) * seen_m, np.full(points.node_count, 0.01 / 0.02)])
    free = np.linalg.lstsq(rows, right, rcond=None)[0]
    np.testing.assert_allclose(system.solved(start, prior, 0.0), free, atol=1e-9)
    assert free.min() < 0.008
    assert free.max() > 0.03
    cut = system.solved(start, OffsetPrior(mean_m=0.01, sigma_m=0.02, range_m=(0.008, 0.03)), 0.0)
    np.testing.assert_allclose(cut, np.clip(free, 0.008, 0.03), atol=1e-9)


@pytest.mark.parametrize("change", ["refine.offset_range_m=[0.02,0.08]", "refine.offset_mean_m=0.1"])
def test_a_range_that_leaves_the_expectation_out_is_refused(change: str) -> None:
    with pytest.raises(SettingsError, match=r"refine\.offset_range_m.*offset_mean_m"):
        with_overrides(Settings(), [change])


def test_outlines_without_the_segmentation_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"refine\.outlines.*refine\.person=true"):
        with_overrides(Settings(), ["refine.person=false", "refine.outlines=true"])


def test_the_second_base_mesh_lies_outside_by_the_offset(body: BodyModel) -> None:
    offset_m = np.linspace(0, 0.03, len(body.template))
    moved = dressed(body.template, offset_m, body.faces)
    normals = outward_normals(body.template, body.faces)
    np.testing.assert_allclose(((moved - body.template) * normals).sum(axis=1), offset_m, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(moved - body.template, axis=1), offset_m, atol=1e-12)
