"""What an executor does and reports, without Spark's Java: bugs are told once, finished units are not made again."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pyspark", reason="pip install 'humandepth[spark]'")

from pyspark.accumulators import Accumulator

from pipeline.records import ClipRef, Segment
from pipeline.runner import spark_tasks
from pipeline.runner.progress import read_note
from pipeline.runner.spark_tasks import Reports, ReportsParam, Tasks
from pipeline.runner.steps import Steps
from pipeline.runner.tally import Tally
from pipeline.runner.units import UnitWork
from pipeline.video.source import clips_from_arguments
from schemas.dataset import RECORDS_PATH
from schemas.errors import StorageError
from tests.support.fast_units import STARTS, fast_resources, fast_settings, write_clips


class FailingSteps(Steps):
    """Steps of which every one fails in the same way."""

    def cut(self, clip: ClipRef) -> tuple[tuple[Segment, ...], Tally]:
        if clip.clip_id == "full":
            raise StorageError("the disk is full.", remedy="Free some space.")
        raise ZeroDivisionError("a bug that was planted")


def tasks_of(steps: Steps, param: ReportsParam, **options: bool) -> Tasks:
    return Tasks(steps, Accumulator(-1, Reports(notes={}), param), **({"shares_files": False} | options))


@pytest.mark.parametrize(
    ("clip_id", "kind", "says"),
    [("full", StorageError, r"the disk is full\. Free"), ("bug", RuntimeError, r"(?s)Traceback.*planted")],
)
def test_what_ends_a_run_is_told_to_the_driver_and_not_tried_again(
    clip_id: str, kind: type[Exception], says: str, tmp_path: Path
) -> None:
    steps = FailingSteps(work=UnitWork(settings=fast_settings(), root=str(tmp_path)))
    tasks = tasks_of(steps, pickle.loads(pickle.dumps(ReportsParam(None, None))))
    assert tasks.cut(ClipRef(clip_id=clip_id, uri="x.mp4", source_id="s")) == ((), Tally())
    told: list[Exception] = []
    driver = ReportsParam(str(tmp_path), told.append)
    driver.addInPlace(driver.zero(Reports(notes={})), tasks.reports.value)
    (error,) = told
    with pytest.raises(kind, match=says):
        raise error


def test_a_unit_whose_attempt_was_lost_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STARTS, str(tmp_path / "starts"))
    (clip,) = clips_from_arguments([str(write_clips(tmp_path / "clips", ["a"]))])
    work = UnitWork(settings=fast_settings(), root=str(tmp_path / "out"), make_resources=fast_resources)
    param, notes = ReportsParam(None, None), tmp_path / "notes"
    notes.mkdir()
    tasks = tasks_of(Steps(work=replace(work, progress_folder=str(notes))), param)
    (segment,), _ = tasks.cut(clip)
    first = tasks.unit(segment)
    assert list(notes.iterdir()) == []  # the driver's folder is not the executor's
    monkeypatch.setattr(spark_tasks, "_is_repeated", lambda: True)
    second = tasks.unit(segment)
    assert (tmp_path / "starts").read_text().split() == [segment.unit_id]
    for name in ("units-kept", "samples"):
        assert second.counts[name] == first.counts[name] > 0
    driver = ReportsParam(str(notes), lambda error: None)
    driver.addInPlace(driver.zero(Reports(notes={})), tasks.reports.value)
    assert {path.name for path in notes.iterdir()} == {"a.cut", f"{segment.unit_id}.done"}
    assert (read_note(notes / "a.cut") or {})["units"] == 1
    assert len(list((tmp_path / "out" / RECORDS_PATH).iterdir())) == 1
