"""The fingerprint: all that makes rows counts, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.dataset import fingerprint as fingerprints
from pipeline.dataset.fingerprint import (
    LIBRARIES,
    ROOT,
    ROW_MAKING,
    code_digest,
    fingerprint,
    library_versions,
)
from pipeline.records import ClipRef
from pipeline.studio.true_resources import true_resources
from pipeline.studio.true_tracker import BodyJitter
from tests.test_architecture import imported_files, relative

CLIP = ClipRef(clip_id="c", source_id="s", uri="c.mp4", licence="", focal_px=None, start_s=None, end_s=None)
WITHOUT_NUMBERS = {
    "pipeline/assets.py": "the files' digests count",
    "pipeline/host": "memory, temporary folders and a place for kernels",
    "schemas/addresses.py": "where files lie",
    "schemas/array_files.py": "reading",
    "schemas/dataset.py": "names of files and documents",
    "schemas/documents.py": "names of files and documents",
    "schemas/exports.py": "where names are imported from",
    "schemas/places.py": "names of files and documents",
    "schemas/shard.py": "reading",
    "schemas/work_record.py": "what is recorded of a unit",
}
"""Imported by the method, and no number of a row depends on it."""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the code."""
    for package in ("pipeline", "schemas"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    code_digest.cache_clear()
    library_versions.cache_clear()


def digest_of(tree: Path) -> str:
    code_digest.cache_clear()
    return code_digest(ROW_MAKING, tree)


@pytest.mark.parametrize(
    "place",
    [
        "pipeline/commands/doctor.py", "pipeline/runner/driver.py", "pipeline/audit/report.py",
        "pipeline/dataset/forgetting.py", "pipeline/host/logs.py", "schemas/places.py",
    ],
)  # fmt: skip
def test_a_changed_message_elsewhere_leaves_units_finished(tree: Path, place: str) -> None:
    before = digest_of(tree)
    assert before == code_digest()
    (tree / place).write_text((tree / place).read_text() + "\n# another word\n")
    assert digest_of(tree) == before


@pytest.mark.parametrize(
    "place",
    [
        "pipeline/geometry/motion.py",
        "pipeline/method/samples.py",
        "pipeline/config/bodies.py",
        "schemas/column.py",
    ],
)
def test_changed_row_making_code_makes_units_again(tree: Path, place: str) -> None:
    before = digest_of(tree)
    (tree / place).write_text((tree / place).read_text() + "\n# another word\n")
    assert digest_of(tree) != before


def test_a_file_that_appears_or_is_renamed_counts(tree: Path) -> None:
    before = digest_of(tree)
    (tree / "pipeline/refine/misalignment.py").rename(tree / "pipeline/refine/agreement.py")
    assert digest_of(tree) != before


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_another_version_of_a_library_makes_units_again(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = fingerprint(CLIP, Settings())
    changed = library_versions() | {library: "999.0"}
    monkeypatch.setattr(fingerprints, "library_versions", lambda: changed)
    assert fingerprint(CLIP, Settings()) != before


def test_every_core_library_is_found_installed() -> None:
    missing = {name for name, found in library_versions().items() if not found}
    assert missing <= {"ONNX Runtime"}


def test_all_that_the_method_imports_counts() -> None:
    todo, seen = [ROOT / "pipeline/method/segment.py"], set()
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            todo += imported_files(path)
    uncounted = {
        relative(path)
        for path in seen
        if path.name != "__init__.py" and not any(relative(path).startswith(place) for place in ROW_MAKING)
    }
    assert {path for path in uncounted if not path.startswith(tuple(WITHOUT_NUMBERS))} == set()


def test_bodies_that_are_known_count_with_their_code_and_jitter(tmp_path: Path) -> None:
    def made_by(jitter: BodyJitter, studio: Path) -> str:
        return fingerprint(CLIP, Settings(), partial(true_resources, studio=studio, jitter=jitter))

    exact = BodyJitter(shift_cm=0.0, turn_deg=0.0, is_common=False, seed=0)
    assert made_by(exact, tmp_path) != fingerprint(CLIP, Settings())
    assert made_by(exact, tmp_path) == made_by(exact, tmp_path / "moved")
    assert made_by(replace(exact, shift_cm=2.0), tmp_path) != made_by(exact, tmp_path)
