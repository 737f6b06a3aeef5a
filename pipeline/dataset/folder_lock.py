"""One run at a time on a dataset folder: a lock file that says who holds it and that dies with its holder."""

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
from typing import Any

from schemas.addresses import is_remote
from schemas.errors import DatasetError
from schemas.record_files import RECORDS_PATH

LOCK_PATH = "meta/run.lock"


class RunLock:
    """Holds a folder while used as a context. Raises DatasetError when another process holds it.

    The operating system gives the lock up when its holder ends, however it ends, so on one machine no clock and no
    process id decides whether a lock is stale. A lock that another machine left in a shared folder cannot be judged
    from here: it is refused.
    """

    def __init__(self, root: str | Path) -> None:
        self._root = Path(root)
        self._descriptor = -1
        self.stale: dict[str, Any] | None = None
        """Who left the lock without releasing it, if anyone did."""

    @property
    def _path(self) -> Path:
        return self._root / LOCK_PATH

    def __enter__(self) -> RunLock:
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
        }
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

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
                holder = _holder(descriptor)
                os.close(descriptor)
                raise self._refusal(holder, "Wait for it, stop it, or give another --out folder.") from None
            if not self._is_current(descriptor):  # its holder removed it between our open and our lock
                os.close(descriptor)
                continue
            self.stale = _holder(descriptor)
            if self.stale and self.stale.get("host") != socket.gethostname():
                os.close(descriptor)
                raise self._refusal(self.stale, f"If that run has ended, delete {self._path}.")
            return descriptor

    def _is_current(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _refusal(self, holder: dict[str, Any] | None, remedy: str) -> DatasetError:
        who = holder or {}
        return DatasetError(
            f"{self._root} is in use by process {who.get('pid', 'unknown')} on {who.get('host', 'unknown')} "
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


def _holder(descriptor: int) -> dict[str, Any] | None:
    try:
        values = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return None
    return values if isinstance(values, dict) else None
