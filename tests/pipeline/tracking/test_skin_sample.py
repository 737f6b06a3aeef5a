"""Vertices that stand for a body's skin."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.tracking.skin_sample import spread_vertices
from tests.support.toy_people import ToyBody


@pytest.fixture(scope="module", params=["toy", "open"])
def body(request):
    return ToyBody() if request.param == "toy" else BodyModel.open_body()


def strip_of_triangles(widths: np.ndarray) -> SimpleNamespace:
    """Separate triangles of height 1 and the given widths, and one vertex that no triangle uses."""
    left = np.arange(len(widths)) * 10.0
    zero = np.zeros(len(widths))
    corners = np.stack(
        [
            np.stack([left, zero, zero], -1),
            np.stack([left + widths, zero, zero], -1),
            np.stack([left, zero + 1, zero], -1),
        ],
        axis=1,
    )
    template = np.concatenate([corners.reshape(-1, 3), [[0, 0, 9.0]]])
    return SimpleNamespace(template=template, faces=np.arange(3 * len(widths)).reshape(-1, 3))


def test_vertices_are_drawn_by_the_area_around_them():
    widths = np.array([1.0, 2.0, 3.0, 6.0])
    strip, rng = strip_of_triangles(widths), np.random.default_rng(0)
    drawn = np.concatenate([spread_vertices(strip, 1, rng) for _ in range(3000)])
    counts = np.bincount(drawn, minlength=13)
    assert counts[12] == 0
    expected = np.repeat(widths / widths.sum() / 3, 3) * 3000
    # chi squared with 11 degrees of freedom: 31.3 is the 0.1 % quantile
    assert ((counts[:12] - expected) ** 2 / expected).sum() < 31.3


def test_vertices_are_distinct_sorted_and_decided_by_the_seed(body):
    def draw(seed: int, count: int) -> np.ndarray:
        return spread_vertices(body, count, np.random.default_rng(seed))

    few = draw(1, 60)
    assert len(few) == 60
    assert (np.diff(few) > 0).all()
    np.testing.assert_array_equal(few, draw(1, 60))
    assert not np.array_equal(few, draw(2, 60))
    everything = draw(1, 10**6)
    used = np.unique(body.faces)
    assert len(everything) <= len(used)
    assert len(everything) > 0.99 * len(used)


def test_the_open_bodys_surface_is_covered_evenly():
    """Half of the vertices are on head and hands, a small part of the skin; drawn by area they are few."""
    body = BodyModel.open_body()
    extremities = body.weights[:, [12, 15, 20, 21, 22, 23]].sum(axis=1) > 0.5
    drawn = spread_vertices(body, 1000, np.random.default_rng(3))
    corners = body.template[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    share_of_skin = area[extremities[body.faces].mean(axis=1) > 0.5].sum() / area.sum()
    assert abs(extremities[drawn].mean() - share_of_skin) < 0.05
