"""One run at a time on a dataset folder, or one run a shard: lock files that say who holds them, and die with him.

A whole run holds `meta/run.lock`. The run of a shard holds `meta/shards/I-of-N.lock` (`shard_lock.py`). Between them
stands `meta/shards.lock`, which shards at work share, and which whoever puts the folder in order has for himself.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.host.slurm import has_ended, job_facts
from schemas.addresses import is_remote
from schemas.errors import DatasetError
from schemas.record_files import RECORDS_PATH

LOCK_PATH = "meta/run.lock"
SHARED_LOCK_PATH = "meta/shards.lock"
WAIT = "Wait for it, stop it, or give another --out folder."


class HolderFile:
    """A locked file that says who holds it. Raises DatasetError when another process does.

    The operating system gives the lock up when its holder ends, however it ends, so on one machine no clock and no
    process id decides whether a lock is stale. A lock that another machine left in a shared folder cannot be judged
    from here: it is refused, except where it is of a Slurm job that has ended.
    """

    def __init__(self, root: str | Path, relative: str) -> None:
        self._root, self._path = Path(root), Path(root) / relative
        self._descriptor = -1
        self.stale: dict[str, Any] | None = None
        """Who left the lock without releasing it, if anyone did."""

    def take(self) -> None:
        """Takes the lock, or raises DatasetError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._locked()
        except OSError as error:
            raise DatasetError(
                f"{self._root} cannot be written: {error.strerror or error}.",
                remedy="Check the folder's rights and its disk, or give another --out folder.",
            ) from error
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S"),
        } | job_facts()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)

    def release(self) -> None:
        """Gives the folder free. Releasing twice is fine."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _locked(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = holder_of(descriptor)
                os.close(descriptor)
                raise refusal(self._root, holder, WAIT) from None
            if not self._is_current(descriptor):  # its holder removed it between our open and our lock
                os.close(descriptor)
                continue
            self.stale = holder_of(descriptor)
            if self.stale and self.stale.get("host") != socket.gethostname() and not has_ended(self.stale):
                os.close(descriptor)
                raise refusal(self._root, self.stale, f"If that run has ended, delete {self._path}.")
            return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False


class RunLock:
    """Holds a whole folder while used as a context. Raises DatasetError when another process is at work on it."""

    alone = True

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._holder = HolderFile(root, LOCK_PATH)
        self._shared = -1

    @property
    def stale(self) -> dict[str, Any] | None:
        """Who left the lock without releasing it, if anyone did."""
        return self._holder.stale

    def __enter__(self) -> Self:
        self._holder.take()
        self._shared = opened(self._root / SHARED_LOCK_PATH, create=False)
        if self._shared >= 0 and not locked(self._shared, fcntl.LOCK_EX):
            self.release()
            raise DatasetError(f"{self._root} is in use by runs of shards.", remedy=WAIT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Gives the folder free. Releasing twice is fine."""
        if self._shared >= 0:
            os.close(self._shared)
            self._shared = -1
        self._holder.release()

    def share(self) -> None:
        """A whole run shares its folder with nobody."""

    def regain(self) -> bool:
        """Whether the folder is this run's alone: always."""
        return True


def opened(path: Path, *, create: bool) -> int:
    """A descriptor of a lock file; -1 where there is none and none is to be made."""
    try:
        return os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        return -1


def locked(descriptor: int, kind: int) -> bool:
    """Whether the lock is of this kind now. Where it is not, the one that was held before is gone too."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def refusal(root: Path, holder: dict[str, Any] | None, remedy: str) -> DatasetError:
    """The error of a folder that this holder of a lock is at work on."""
    who = holder or {}
    return DatasetError(
        f"{root} is in use by process {who.get('pid', 'unknown')} on {who.get('host', 'unknown')} "
        f"since {who.get('started', 'unknown')}.",
        remedy=remedy,
    )


def require_local(root: str) -> None:
    """Raises DatasetError for a bucket: nothing there can be locked, and another run may be writing into it."""
    if is_remote(root):
        raise DatasetError(
            f"{root} is in a bucket, where files are neither put together nor taken out.",
            remedy="Copy the dataset to a disk, do it there, and copy the result back.",
        )


@contextmanager
def publishing(root: str | Path, *, alone: bool = False) -> Iterator[None]:
    """While records of units are written: many processes at a time, or one `alone`, which the others wait for.

    Where a file system has no such locks nothing is held, and OSError is raised for the one that has to be alone.
    """
    folder = Path(root) / RECORDS_PATH
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        except OSError:
            if alone:
                raise
        yield
    finally:
        os.close(descriptor)


def holder_of(descriptor: int) -> dict[str, Any] | None:
    """What a lock file says of its holder; None where it says nothing."""
    try:
        values = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
