"""Percentiles are numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.percentiles import fill_order, fill_weighted_percentiles, percentiles


@pytest.mark.parametrize("count", [*range(1, 30), 1000, 8431])
def test_percentiles_are_numpys_to_the_last_bit(count: int) -> None:
    """Of numbers all over, of equal ones, and of one that is far from all others."""
    rng = np.random.default_rng(count)
    values, percents = rng.gamma(2.0, 0.3, count), (0.0, 10.0, 50.0, 77.7, 90.0, 100.0)
    far = values.copy()
    far[-1] = 1e12
    for each in (values, np.round(values, 1), np.full(count, 0.3), -values, far):
        assert percentiles(each, percents) == np.percentile(each, percents).tolist()


@pytest.mark.parametrize("count", [1, 2, 3, 50, 2000])
def test_the_order_is_that_of_a_stable_sort(count: int) -> None:
    rng = np.random.default_rng(count)
    values, order = rng.gamma(2.0, 0.3, count), np.empty(count, np.int64)
    far = values.copy()
    far[0] = 1e12  # all others fall into one bucket
    for each in (values, np.round(values, 1), np.full(count, 0.3), -values, far):
        fill_order(each, order)
        np.testing.assert_array_equal(order, np.argsort(each, kind="stable"))


@pytest.mark.parametrize("count", [1, 2, 7, 2000])
def test_weighted_percentiles_lie_between_midpoints_of_the_weights(count: int) -> None:
    rng = np.random.default_rng(count)
    values, weight = rng.gamma(2.0, 0.3, count), rng.uniform(0.01, 3.0, count)
    shares, found = np.array([0.0, 0.1, 0.5, 0.9, 1.0]), np.empty(5)
    fill_weighted_percentiles(values, weight, shares, found)
    order = np.argsort(values)
    midpoint = np.cumsum(weight[order]) - 0.5 * weight[order]
    expected = np.interp(shares, midpoint / weight.sum(), values[order])
    np.testing.assert_allclose(found, expected, rtol=1e-12)
