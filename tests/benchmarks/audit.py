"""Every figure of an audit of a million pairs, against a plain full read of the same table with pandas."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import numpy as np

from pipeline.audit.figures import figures_of
from pipeline.audit.scalars import read_tables
from schemas.dataset import Dataset
from tests.benchmarks.measuring import Benchmark, Call, UnavailableError

CLIPS, FRAMES = 2084, 160


def million_pairs(root: Path) -> Dataset:
    """A dataset of 1,000,320 pairs in 2,084 clips, with numbers that differ from row to row as real ones do."""
    from tests.pipeline.audit.planted import made_up, write_tables

    tables, rng = made_up([f"clip-{at}" for at in range(CLIPS)], FRAMES), np.random.default_rng(1)
    pairs = tables["pairs"]
    for name, share in (("median_baseline_m", 1.0), ("p10_baseline_m", 0.7), ("p90_baseline_m", 1.4)):
        pairs[name] = share * pairs["mean_baseline_m"]
    for name in ("target_depth_m", "parallax_px", "baseline_over_depth", "visible_fraction"):
        pairs[name] = pairs[name] * rng.uniform(0.9, 1.1, len(pairs[name]))
    pairs["photo_error"] = rng.uniform(0, 0.2, len(pairs["kept"]))
    return Dataset.open(write_tables(root, tables))


def benchmarks() -> list[Benchmark]:
    """One entry."""
    return [
        Benchmark(
            name="audit_vs_pandas",
            detail="1,000,320 pairs, 2,084 clips: read_tables + figures_of / pandas.read_parquet of `pairs` alone",
            prepare=_prepare,
            max_rounds=5,
        )
    ]


def _prepare() -> tuple[Call, Call]:
    if importlib.util.find_spec("pandas") is None:
        raise UnavailableError("pandas is not installed")
    import pandas  # type: ignore[import-untyped, import-not-found, unused-ignore]

    folder = tempfile.TemporaryDirectory()
    dataset = million_pairs(Path(folder.name))
    (path,) = dataset.shards("pairs")

    def ours() -> object:
        return folder and figures_of(read_tables(dataset))

    expected = pandas.read_parquet(path)
    assert sum(track.pairs for track in figures_of(read_tables(dataset)).tracks) == len(expected)
    del expected
    return ours, lambda: pandas.read_parquet(path)
