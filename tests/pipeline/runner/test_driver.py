"""What a run checks before it starts, and what its counters mean."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import Settings, preset
from pipeline.dataset.fingerprint import code_digest, fingerprint
from pipeline.dataset.folder import prepare_folder
from pipeline.records import ClipRef
from pipeline.runner.beam_options import pipeline_options
from pipeline.runner.progress import ProgressFile, Totals, write_note
from pipeline.runner.summary import RunSummary
from schemas.errors import DatasetError, SettingsError

CLIP = ClipRef(clip_id="c", uri="c.mp4", source_id="s")


@pytest.mark.parametrize(
    ("kept", "failed", "code"),
    [(3, 0, 0), (2, 1, 3), (0, 2, 4), (0, 0, 4)],
    ids=["well", "some", "none", "empty"],
)
def test_exit_codes(kept: int, failed: int, code: int) -> None:
    counts = dict.fromkeys(RunSummary.__dataclass_fields__, 0)
    assert RunSummary(**counts | {"units_kept": kept, "units_failed": failed}).exit_code == code


def test_a_folder_is_used_again_only_with_the_same_settings(tmp_path: Path) -> None:
    root = str(tmp_path / "dataset")
    prepare_folder(root, Settings())
    prepare_folder(root, Settings())
    with pytest.raises(DatasetError, match=r"surface_offset_m: 0\.0 -> 0\.026"):
        prepare_folder(root, preset("released"))


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(DatasetError, match="not empty"):
        prepare_folder(str(tmp_path), Settings())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_runner_that_loses_elements_is_refused() -> None:
    for runner in (["--runner=DaskRunner"], ["--runner", "DaskRunner"]):
        with pytest.raises(SettingsError, match="loses"):
            pipeline_options(1, runner)


def test_a_fingerprint_changes_with_anything_that_matters() -> None:
    settings = Settings()
    known = {fingerprint(CLIP, settings)}
    for work, chosen in (
        (replace(CLIP, focal_px=1000.0), settings),
        (replace(CLIP, start_s=1.0), settings),
        (CLIP, preset("released")),
    ):
        digest = fingerprint(work, chosen)
        assert digest not in known
        known.add(digest)
    assert fingerprint(CLIP, Settings()) in known
    assert len(code_digest()) == 64


def test_progress_files_are_whole_and_rare(tmp_path: Path) -> None:
    report = ProgressFile(str(tmp_path), "unit")
    for done in range(1, 1001):
        report("track", done, 1000)
    state = json.loads((tmp_path / "unit.json").read_text())
    assert state == {"stage": "track", "done": 1000, "total": 1000}
    assert [path.name for path in tmp_path.iterdir()] == ["unit.json"]
    ProgressFile(None, "unit")("track", 1, 1)


def test_totals_add_up_and_know_what_is_left(tmp_path: Path) -> None:
    totals = Totals(tmp_path, clips=2)
    write_note(str(tmp_path), "a.cut", {"units": 2, "finished": 1})
    totals.update()
    assert totals.line().startswith("1/2 clips cut, 1 finished before")
    write_note(str(tmp_path), "a-0.done", {"outcome": "kept", "pairs_kept": 5, "pairs_dropped": 7})
    assert totals.update() == ["a-0"]
    assert totals.line().startswith("1/2+ units, 1/2 clips cut, 1 finished before, 5 pairs kept")
    assert re.search(r"about \d+ s left$", totals.line())
    write_note(str(tmp_path), "b.cut", {"units": 2, "finished": 0})
    write_note(str(tmp_path), "a-1.done", {"outcome": "crashed", "pairs_kept": 0, "pairs_dropped": 0})
    totals.update()
    assert totals.update() == []
    assert list(tmp_path.iterdir()) == []
    assert totals.line().startswith("2/4 units, 1 finished before, 5 pairs kept, 7 dropped, 1 failed, ")
    assert totals.line().endswith("left")


def test_too_large_a_failed_share_has_its_own_exit_code() -> None:
    counts = dict.fromkeys(RunSummary.__dataclass_fields__, 0) | {"units_kept": 8, "units_failed": 2}
    assert RunSummary(**counts).exit_code_for(0.2) == 3
    assert RunSummary(**counts).exit_code_for(0.1) == 5
