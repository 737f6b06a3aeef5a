"""Mutated clips: no crash, no hang, no success without frames, and errors that name the file and a remedy.

`make fuzz` reads 500 of them, `make test` 50.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fuzz.films import write_films
from tests.fuzz.mutants import mutant
from tests.fuzz.processes import read_all, read_in_a_process

MUTANTS = int(os.environ.get("FUZZ_MUTANTS", "50"))
READING = "tests.fuzz.reading"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A piece of the demo clip and small ones of other codecs and containers."""
    place = tmp_path_factory.mktemp("fuzz")
    write_films(place)
    return place


def test_no_mutant_crashes_hangs_or_succeeds_silently(folder: Path) -> None:
    done, broken = read_all(READING, folder, MUTANTS, lambda row: "outcome" in row)
    assert not broken, "\n".join(broken)
    assert len(done) == MUTANTS
    outcomes = {row["outcome"] for row in done}
    assert outcomes <= {"read", "undecodable", "bad-source", "nothing-kept"}, outcomes
    assert {"read", "undecodable"} <= outcomes, "mutants that are all alike test nothing"
    assert all(row["frames"] > 0 for row in done if row["outcome"] == "read")
    print({outcome: sum(row["outcome"] == outcome for row in done) for outcome in sorted(outcomes)})
    print("slowest", max(row["seconds"] for row in done))


def test_a_process_that_crashes_is_seen(folder: Path, tmp_path: Path) -> None:
    rows, problem = read_in_a_process(
        READING, tmp_path, 0, 1
    )  # no clips to mutate: an error that nobody expects
    assert not rows
    assert "exit code 1" in problem


def test_mutants_are_their_number(folder: Path) -> None:
    clips = [path.read_bytes() for path in sorted(folder.glob("clip-*"))]
    assert mutant(clips, 17) == mutant(clips, 17)
    assert len({mutant(clips, number)[1] for number in range(40)}) == 40
    assert all(mutant(clips, number)[1] != clips[number % len(clips)] for number in range(40))
