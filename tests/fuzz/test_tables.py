"""Mutated datasets: no crash, no hang, no bare exception, no other rows; errors name the file and a remedy.

`make fuzz` reads FUZZ_MUTANTS of them, `make test` 24. Some damage cannot be seen in a file alone: Parquet has no
checksum of its footer and of page headers. How often that happens is printed; with a completion record, whose hash of
the footer readers compare, it must not happen at all.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands import main as cli
from pipeline.dataset.compaction import compact_dataset
from pipeline.dataset.storage import publish_text
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import SPLITS_PATH, tombstone_path
from schemas.selections import Selection
from schemas.tables import TABLES
from schemas.truth import Truth
from tests.fuzz.damage import damaged_file
from tests.fuzz.processes import read_all
from tests.fuzz.table_reading import SELECTION, mutant_outcomes, sound_facts
from tests.support.fast_units import fast_resources, fast_settings, write_clips

MUTANTS = int(os.environ.get("FUZZ_MUTANTS", "24"))
ALLOWED = {"same", "error", "unseen without a record"}
PEAK_MB = 2500
"""Above it a mutant made something claim memory that the file does not hold (a sound dataset takes about 900)."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of two units, one of a clip that cannot be read, and every kind of document; as made and packed."""
    place = tmp_path_factory.mktemp("tables")
    manifest = write_clips(place, ["a", "b", "missing"])
    plain, packed = place / "dataset-plain", place / "dataset-packed"
    run(clips_from_arguments([str(manifest)]), str(plain), fast_settings(), make_resources=fast_resources)
    Selection(name=SELECTION, pairs="mean_baseline_m >= 0.3", samples="reference_count >= 1").save(plain)
    publish_text(json.dumps({"training": ["source-a"], "validation": ["source-b"]}), str(plain), SPLITS_PATH)
    publish_text(json.dumps({"source_id": "gone", "units": 1}), str(plain), tombstone_path("gone"))
    shutil.rmtree(plain / ".spool", ignore_errors=True)
    shutil.copytree(plain, packed)
    compact_dataset(str(packed))
    sound = {}
    for root in (plain, packed):
        with contextlib.redirect_stdout(io.StringIO()):
            assert cli.main(["audit", str(root), "--json", str(place / f"{root.name}-figures.json")]) == 0
        sound[root.name] = sound_facts(root)
    (place / "sound.json").write_text(json.dumps(sound))
    depth = np.pad(np.full((32, 32), 4.0, np.float32), 16)
    Truth(
        depth_m=depth, K=np.eye(3), body_depth_m=depth, part=(depth > 0).astype(np.uint8), pose="walk"
    ).save(place / "truths" / "clip.npz")
    return place


def test_no_damage_crashes_hangs_or_gives_other_rows(corpus: Path) -> None:
    done, broken = read_all("tests.fuzz.table_reading", corpus, MUTANTS, lambda row: "outcomes" in row)
    assert not broken, "\n".join(broken)
    assert len(done) == MUTANTS
    wrong = [
        f"{row['number']}: {row['path']}: {row['did']}: {who}: {outcome}: {said}"
        for row in done
        for who, (outcome, said) in row["outcomes"].items()
        if outcome not in ALLOWED
    ]
    counts = Counter((who, outcome) for row in done for who, (outcome, _) in row["outcomes"].items())
    for (who, outcome), count in sorted(counts.items()):
        print(f"{who:20s} {outcome:26s} {count}")
    print("slowest", max(row["seconds"] for row in done), "peak MB", max(row["peak_mb"] for row in done))
    assert not wrong, "\n".join(wrong)
    assert {"same", "error"} <= {outcome for _, outcome in counts}, "mutants that are all alike test nothing"
    assert max(row["peak_mb"] for row in done) < PEAK_MB


def test_every_kind_of_file_is_damaged_and_a_mutant_is_its_number(corpus: Path) -> None:
    root = corpus / "dataset-plain"
    mutants = [damaged_file(root, number) for number in range(200)]
    assert mutants[17] == damaged_file(root, 17)
    held = {name for name in TABLES if (root / name).is_dir()}
    assert held == {*TABLES} - {"surfaces"}, "bodies of the corpus are not refined"
    assert {each.path.split("/")[0] for each in mutants} == {*held, "meta"}
    assert all(each.data != (root / each.path).read_bytes() for each in mutants)


def test_a_reader_that_lets_damage_through_is_seen(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = (1, 2, 3, 9, 10, 11)
    assert all(mutant_outcomes(corpus, number)[1]["file alone"][0] in ALLOWED for number in numbers)
    monkeypatch.setattr("schemas.shard.ARROW_ERRORS", ())
    assert any(mutant_outcomes(corpus, number)[1]["file alone"][0] == "bare" for number in numbers)
