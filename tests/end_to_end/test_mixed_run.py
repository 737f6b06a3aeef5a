"""Twenty good and twenty bad films of all kinds in one run: the good ones' rows are those of a run without the bad."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from schemas.tables import TABLES
from tests.support.fast_units import fast_resources, fast_run, fast_settings, write_rows
from tests.support.film_kinds import BAD, GOOD

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every kind's file, by the clip's id."""
    folder = tmp_path_factory.mktemp("films")
    makers = {f"good-{name}": make for name, make in GOOD.items()}
    makers |= {f"bad-{name}": make for name, (make, _) in BAD.items()}
    return {clip_id: make(folder / f"{clip_id}.mp4") for clip_id, make in makers.items()}


@pytest.fixture(scope="module")
def alone(films: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The good ones in a run of their own, in this process."""
    folder = tmp_path_factory.mktemp("alone")
    clips = clips_from_arguments([str(manifest_of(films, folder, ["good"]))])
    summary = run(clips, str(folder / "out"), fast_settings(), make_resources=fast_resources)
    assert summary.exit_code_for(1.0) == 0
    return Dataset.open(folder / "out")


def manifest_of(films: dict[str, Path], folder: Path, kinds: list[str]) -> Path:
    """A manifest in which good and bad ones take turns."""
    ids = sorted(
        (clip_id for clip_id in films if clip_id.partition("-")[0] in kinds),
        key=lambda clip_id: hashlib.sha256(clip_id.encode()).digest(),
    )
    rows = [
        {"clip_id": clip_id, "source_id": f"source-{clip_id}", "uri": str(films[clip_id])} for clip_id in ids
    ]
    return write_rows(folder / "films.csv", rows)


def rows_by_clip(dataset: Dataset, table: str) -> dict[str, list[str]]:
    """A digest of every row of a table, in order, by clip."""
    digests: dict[str, list[str]] = {}
    for row in dataset.rows(table):
        digest = hashlib.sha256()
        _feed(digest, row)
        digests.setdefault(row["clip_id"], []).append(digest.hexdigest())
    return digests


def _feed(digest: Any, value: Any) -> None:
    if isinstance(value, dict):
        for name in sorted(value):
            digest.update(name.encode())
            _feed(digest, value[name])
    elif isinstance(value, list | tuple):
        digest.update(f"{len(value)} of".encode())
        for each in value:
            _feed(digest, each)
    elif isinstance(value, np.ndarray):
        digest.update(f"{value.dtype} {value.shape}".encode() + np.ascontiguousarray(value).tobytes())
    else:
        digest.update(f"{value!r};".encode())


def test_there_are_twenty_of_each_and_every_good_one_is_kept(alone: Dataset) -> None:
    assert len(GOOD) >= 20
    assert len(BAD) >= 20
    samples = Counter(row["clip_id"] for row in alone.rows("samples", ["clip_id"]))
    assert set(samples) == {f"good-{name}" for name in GOOD}
    assert len({digest for rows in rows_by_clip(alone, "samples").values() for digest in rows}) == sum(
        samples.values()
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_films_change_nothing_of_the_good_ones(
    films: dict[str, Path], alone: Dataset, tmp_path: Path, workers: int
) -> None:
    done = fast_run(
        manifest_of(films, tmp_path, ["good", "bad"]), "--out", tmp_path / "out", "--workers", str(workers)
    )
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    mixed = Dataset.open(tmp_path / "out")
    assert mixed.verify() == []
    for table in TABLES:
        found, expected = rows_by_clip(mixed, table), rows_by_clip(alone, table)
        assert {name: rows for name, rows in found.items() if name.startswith("good-")} == expected, table
    failures = [row for row in mixed.rows("failures") if row["clip_id"].startswith("bad-")]
    assert Counter(row["clip_id"] for row in failures) == {f"bad-{name}": 1 for name in BAD}
    for row in failures:
        _, reason = BAD[row["clip_id"].removeprefix("bad-")]
        assert row["reason"] == reason, row
        assert str(films[row["clip_id"]]) in row["message"], row
        assert row["remedy"].endswith("."), row
    assert not any(name.startswith("bad-") for name in rows_by_clip(mixed, "samples"))
