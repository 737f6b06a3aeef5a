"""Temporary folders: gone at the end, found again after kill -9, and never taken from anybody who lives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline.host.temporary import all_temporary_files_in, owned_folder, remove_abandoned

HOLDER = """
import sys, time
from pipeline.host.temporary import owned_folder
with owned_folder("test", sys.argv[1]) as folder:
    (folder / "deep").mkdir()
    (folder / "deep" / "data").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(600)
"""


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A process that holds a folder in `place`, and the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as said:
        return process, Path(said.readline().strip())


def test_a_folder_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    with owned_folder("a", tmp_path) as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o077 == 0
        assert remove_abandoned(tmp_path) == []  # not even its own process takes it
        (folder / "file").write_text("x")
    assert list(tmp_path.iterdir()) == []


def test_only_folders_of_the_dead_are_removed(tmp_path: Path) -> None:
    killed, dead = holder(tmp_path)
    living, alive = holder(tmp_path)
    try:
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert (dead / "deep" / "data").exists()
        with owned_folder("next", tmp_path):
            assert not dead.exists()
            assert (alive / "deep" / "data").exists()
    finally:
        living.kill()
        living.wait()
    assert remove_abandoned(tmp_path) == [alive]
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".owner").write_text("")
    place = tmp_path / "place"
    place.mkdir()
    (place / "humandepth-link").symlink_to(outside)
    (place / "humandepth-file").write_text("x")
    (place / "humandepth-unlocked").mkdir()
    (place / "humandepth-unlocked" / "data").write_text("x")
    (place / "other-program").mkdir()
    (place / "other-program" / ".owner").write_text("")
    before = sorted(place.rglob("*"))
    assert remove_abandoned(place) == []
    assert sorted(place.rglob("*")) == before
    assert (outside / ".owner").exists()
    assert remove_abandoned(tmp_path / "missing") == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_another_users_folder_is_left_alone(tmp_path: Path) -> None:
    process, folder = holder(tmp_path)
    process.kill()
    process.wait()
    os.chown(folder, 65534, 65534)
    assert remove_abandoned(tmp_path) == []
    os.chown(folder, 0, 0)
    assert remove_abandoned(tmp_path) == [folder]


def test_temporary_files_of_libraries_and_children_lie_inside(tmp_path: Path) -> None:
    before, said = tempfile.gettempdir(), os.environ.get("TMPDIR")
    with all_temporary_files_in(tmp_path):
        assert Path(tempfile.mkdtemp()).parent == tmp_path
        code = "import tempfile; print(tempfile.gettempdir())"
        found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert found.stdout.strip() == str(tmp_path)
    assert (tempfile.gettempdir(), os.environ.get("TMPDIR")) == (before, said)
