"""The same dataset whatever carries the run out, and what is said where an engine cannot."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.runner.driver import run
from pipeline.runner.engines import make_engine
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from tests.cluster import first_unit, portable
from tests.support.fast_units import fast_resources, fast_settings, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models
IDS = ("a", "b", "c", "d", "e", "f")


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder, IDS)
    return [folder / f"{name}.mp4" for name in IDS]


def content(root: Path) -> str:
    dataset = Dataset.open(root)
    assert dataset.verify() == []
    assert [record.outcome for record in dataset.records] == ["kept"] * len(IDS)
    return dataset.content_hash()


@pytest.fixture(scope="module")
def by_loop(films: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("loop") / "dataset"
    clips = clips_from_arguments([str(film) for film in films])
    summary = run(
        clips, str(root), fast_settings(), make_resources=fast_resources, engine=make_engine("loop")
    )
    assert summary.costs is not None
    assert summary.costs.workers == 1
    return content(root)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_of_beam(films: list[Path], by_loop: str, tmp_path: Path, workers: int) -> None:
    clips = clips_from_arguments([str(film) for film in films])
    summary = run(
        clips, str(tmp_path / "out"), fast_settings(), make_resources=fast_resources, workers=workers
    )
    assert summary.costs is not None
    assert summary.costs.workers == workers
    assert content(tmp_path / "out") == by_loop


def test_two_pools_of_beam_both_track(films: list[Path], by_loop: str, tmp_path: Path) -> None:
    """Pools and service are processes of their own; `make cluster` does the same by the command line."""
    clips = clips_from_arguments([str(film) for film in films])
    with portable.pools_and_service(tmp_path) as endpoint:
        engine = make_engine("beam", arguments=["--runner=PortableRunner", f"--job_endpoint={endpoint}"])
        root = str(tmp_path / "out")
        summary = run(clips, root, fast_settings(), make_resources=fast_resources, engine=engine)
    assert summary.costs is not None
    assert summary.costs.workers == portable.POOLS
    assert content(tmp_path / "out") == by_loop
    begun = [(tmp_path / f"starts-{pool}").read_text().split() for pool in range(portable.POOLS)]
    assert all(begun)
    assert sorted(unit[0] for units in begun for unit in units) == sorted(IDS)


def test_the_first_unit_of_many_clips_is_finished_while_the_others_wait(tmp_path: Path) -> None:
    found = first_unit.measure(tmp_path, rows=3000)
    assert found.clips_cut <= 2 * 2  # of each worker the one it was at, and the next
