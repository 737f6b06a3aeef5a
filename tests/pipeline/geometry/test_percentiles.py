"""Percentiles are numpy's."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.percentiles import percentiles


@pytest.mark.parametrize("count", [*range(1, 30), 1000, 8431])
def test_percentiles_are_numpys_to_the_last_bit(count: int) -> None:
    """Of numbers all over, of equal ones, and of one that is far from all others."""
    rng = np.random.default_rng(count)
    values, percents = rng.gamma(2.0, 0.3, count), (0.0, 10.0, 50.0, 77.7, 90.0, 100.0)
    far = values.copy()
    far[-1] = 1e12
    for each in (values, np.round(values, 1), np.full(count, 0.3), -values, far):
        assert percentiles(each, percents) == np.percentile(each, percents).tolist()
