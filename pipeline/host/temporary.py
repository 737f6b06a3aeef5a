"""Temporary folders that say who owns them, so that those of a killed process are found and removed by the next.

A folder holds a lock file that its owner keeps locked (flock): the operating system lets go of the lock when the owner
ends, however it ends. So no process number and no clock decides, and a folder of a live process, of another user, or
of another container with the same process numbers is never touched.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "humandepth-"
_OWNER = ".owner"


@contextmanager
def owned_folder(purpose: str, place: str | Path | None = None) -> Iterator[Path]:
    """A new private folder in `place` (default: among the temporary files), removed at the end.

    Those that dead processes left there are removed first. Where the file system knows no locks it is never taken for
    an abandoned one.
    """
    place = Path(place or tempfile.gettempdir())
    remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{purpose}-", dir=place))
    descriptor = _locked_file(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


@contextmanager
def all_temporary_files_in(folder: Path) -> Iterator[None]:
    """Temporary files of this process, of its libraries and of processes that it starts are made in that folder."""
    before, said = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        if said is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = said


def remove_abandoned(place: str | Path) -> list[Path]:
    """Removes folders of this user's dead processes from a place, and returns them."""
    removed = []
    with suppress(OSError):
        for entry in sorted(Path(place).glob(f"{PREFIX}*")):
            with suppress(OSError):
                if _is_abandoned(entry):
                    removed.append(entry)
    return removed


def _is_abandoned(folder: Path) -> bool:
    """Whether the folder was abandoned; if so it is gone now. The lock is held meanwhile: two cleaners do not meet."""
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid():
        return False
    descriptor = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for path in folder.iterdir():  # the lock file last: what cannot be removed today is found again
            if path.name == _OWNER:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        (folder / _OWNER).unlink()
        folder.rmdir()
    finally:
        os.close(descriptor)
    return True


def _locked_file(folder: Path) -> int:
    """The descriptor of the folder's lock file, which bears its name only once it is locked."""
    early = folder / f".{uuid.uuid4().hex}"
    descriptor = os.open(early, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(early, folder / _OWNER)
    return descriptor
