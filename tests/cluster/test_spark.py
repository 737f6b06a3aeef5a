"""Six units on a local cluster of Spark, an executor killed on the way: the content of a plain loop, one redone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schemas.dataset import Dataset
from tests.cluster import Unavailable, loop, spark
from tests.support.fast_units import STARTS, fast_command, write_clips

IDS = ("a", "b", "c", "d", "e", "f")


@pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" in os.environ,
    reason="Spark's three Java processes fit ill beside other tests: make cluster, or pytest without -n, runs it",
)
def test_spark_and_a_killed_executor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_clips(tmp_path / "clips", IDS)
    films = [tmp_path / "clips" / f"{name}.mp4" for name in IDS]
    monkeypatch.setenv(STARTS, str(tmp_path / "starts"))
    (tmp_path / "spark").mkdir()
    try:
        root = spark.run_dataset(films, tmp_path / "spark", fast_command, kill_after=2)
    except Unavailable as error:
        pytest.skip(str(error))
    begun = (tmp_path / "starts").read_text().split()
    assert len(IDS) <= len(begun) <= len(IDS) + 1  # an executor has one core, so it loses one unit
    dataset = Dataset.open(root)
    assert dataset.verify() == []
    assert len(dataset.records) == len(IDS)
    plain = loop.run_dataset(films, tmp_path / "loop", fast_command)
    assert dataset.content_hash() == Dataset.open(plain).content_hash()
