"""Percentiles of groups against NumPy, one group at a time."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.audit.grouping import Grouping


@pytest.mark.parametrize("count", [1, 7, 70_000])
def test_percentiles_are_those_of_numpy(count: int) -> None:
    rng = np.random.default_rng(count)
    rows = rng.integers(0, count, 500)
    values = rng.normal(size=500).round(1)  # with ties
    values[rng.uniform(size=500) < 0.2] = np.nan
    values[rows == rows[0]] = np.nan  # a group of which nothing is known
    values[1] = np.inf if rows[1] != rows[0] else np.nan
    found = Grouping(rows, count).percentiles(values, (0, 10, 50, 87.5, 100))
    for group in range(count) if count < 100 else np.unique(rows):
        known = values[(rows == group) & np.isfinite(values)]
        expected = np.percentile(known, (0, 10, 50, 87.5, 100)) if known.size else np.full(5, np.nan)
        np.testing.assert_allclose(found[group], expected, rtol=1e-12)


def test_medians_are_none_where_nothing_is_known() -> None:
    grouping = Grouping(np.array([2, 0, 2, 0]), 4)
    assert grouping.medians(np.array([1.0, np.nan, 4.0, np.inf])) == [None, None, 2.5, None]
    assert Grouping(np.empty(0, np.int64), 0).medians(np.empty(0)) == []
