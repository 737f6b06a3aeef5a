"""Every kind of bad clip through the real command: a typed row in `failures`, no trace of it elsewhere, others kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline.dataset.verification import verify
from pipeline.records import ClipRef
from pipeline.runner.driver import run
from schemas.dataset import Dataset
from schemas.errors import SourceError
from tests.support.bad_clips import KINDS
from tests.support.fast_units import (
    fast_command,
    fast_resources,
    fast_run,
    fast_settings,
    write_clips,
    write_rows,
)

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models

EXPECTED = {
    "encrypted": ("undecodable", "is encrypted"),
    "huge-header": ("undecodable", "more than 67 million pixels"),
    "huge-pictures": ("undecodable", "more than 67 million pixels"),
    "backwards": ("undecodable", "no increasing presentation time"),
    "picture": ("undecodable", "cannot be opened"),
    "loop-of-links": ("bad-source", "in a circle"),
    "sound": ("undecodable", "only audio"),
    "zero-frames": ("undecodable", "no frames"),
}


def rows_of(manifest: Path, *more: tuple[str, Path]) -> Path:
    """A manifest of its clips and some more."""
    whole = [
        {"clip_id": name, "source_id": f"source-{name}", "uri": str(manifest.parent / f"{name}.mp4")}
        for name in ("a", "b")
    ]
    bad = [{"clip_id": name, "source_id": name, "uri": str(path)} for name, path in more]
    return write_rows(manifest.with_name("all.csv"), [whole[0], *bad, whole[1]])


def clips_with_samples(root: Path) -> set[str]:
    return {row["clip_id"] for row in Dataset.open(root).rows("samples", ["clip_id"])}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of two good clips, a and b."""
    return write_clips(tmp_path_factory.mktemp("good"), ["a", "b"])


def test_every_kind_is_a_failure_that_says_why(good: Path, tmp_path: Path) -> None:
    """Among them a good clip with the wrong ending, which decides nothing."""
    renamed = Path(shutil.copy(good.with_name("a.mp4"), tmp_path / "renamed.avi"))
    bad = [(name, make(tmp_path / f"{name}.mp4")) for name, make in KINDS.items()]
    done = fast_run(rows_of(good, *bad, ("renamed", renamed)), "--out", tmp_path / "out")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    failures = {row["clip_id"]: row for row in Dataset.open(tmp_path / "out").rows("failures")}
    assert set(failures) == set(EXPECTED) == set(KINDS)
    for name, (reason, words) in EXPECTED.items():
        assert failures[name]["reason"] == reason, failures[name]
        assert words in failures[name]["message"], failures[name]
        assert str(tmp_path / f"{name}.mp4") in failures[name]["message"]
        assert failures[name]["remedy"]
    assert clips_with_samples(tmp_path / "out") == {"a", "b", "renamed"}
    assert verify(str(tmp_path / "out"), render=0).problems == []


def without_privilege(command: list[str]) -> list[str]:
    """The command as somebody whom permission bits stop: root only when it gives up its right to ignore them."""
    if os.geteuid() != 0:
        return command
    if shutil.which("setpriv") is None:
        pytest.skip("root may read everything, and setpriv (util-linux) is not here")
    rights = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}", *command]


def test_what_may_not_be_read_is_named(good: Path, tmp_path: Path) -> None:
    """A file, and a folder among others: links that loop are walked once, nothing is skipped in silence."""
    folder, locked = tmp_path / "clips", tmp_path / "clips" / "locked"
    locked.mkdir(parents=True)
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(good.with_name(name), folder / name)
    shutil.copy(good.with_name("a.mp4"), locked / "hidden.mp4")
    (folder / "again").symlink_to(folder)
    (folder / "b.mp4").chmod(0)
    locked.chmod(0)
    try:
        done = subprocess.run(
            without_privilege(fast_command("run", folder, "--out", tmp_path / "out")),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    finally:
        locked.chmod(0o700)
    assert done.returncode == 3, done.stdout + done.stderr
    failures = {Path(row["uri"]).name: row for row in Dataset.open(tmp_path / "out").rows("failures")}
    assert set(failures) == {"b.mp4", "locked"}
    for row in failures.values():
        assert row["reason"] == "bad-source"
        assert "no permission" in row["message"]
    assert len(clips_with_samples(tmp_path / "out")) == 1


@pytest.mark.parametrize("clip_id", ["../outside", "/etc/x"])
def test_an_id_that_leads_out_is_refused_before_any_work(good: Path, tmp_path: Path, clip_id: str) -> None:
    manifest = rows_of(good, (clip_id, good.with_name("a.mp4")))
    done = fast_run(manifest, "--out", tmp_path / "deep" / "out")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert f"row 2: the id {clip_id!r} is not allowed" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", ["clip_id", "source_id"])
def test_an_id_that_leads_out_is_refused_by_the_runner_too(good: Path, tmp_path: Path, field: str) -> None:
    names = {"clip_id": "a", "source_id": "a"} | {field: "../../outside"}
    clip = ClipRef(uri=str(good.with_name("a.mp4")), **names)
    with pytest.raises(SourceError, match="not allowed"):
        run([clip], str(tmp_path / "deep" / "out"), fast_settings(), make_resources=fast_resources)
    assert not list(tmp_path.iterdir())
