"""Child processes: results, expected errors, bugs, crashes and hangs, each as what it is."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator

import pytest

from pipeline.host import process_family
from pipeline.runner.subprocesses import IsolatedProcess
from schemas.errors import CrashError, DecodeError, StorageError, TimeLimitError


@pytest.fixture(scope="module")
def child() -> Iterator[IsolatedProcess]:
    process = IsolatedProcess()
    yield process
    process.close()


def fail(kind: str) -> None:
    if kind == "bug":
        raise ZeroDivisionError("planted")
    if kind == "segfault":
        ctypes.string_at(0)
    if kind == "expected":
        raise DecodeError("x.mp4 is broken.", remedy="Mend it.")
    raise StorageError("full.", remedy="Free some.")


def test_a_child_is_kept_and_replaced(child: IsolatedProcess) -> None:
    first = child.call(os.getpid, limit_s=20)
    assert first != os.getpid()
    with pytest.raises(DecodeError, match=r"x.mp4 is broken. Mend it."):
        child.call(fail, "expected", limit_s=20)
    with pytest.raises(StorageError, match="full"):
        child.call(fail, "storage", limit_s=20)
    with pytest.raises(RuntimeError, match=r"(?s)test_subprocesses.py.*ZeroDivisionError: planted"):
        child.call(fail, "bug", limit_s=20)
    assert child.call(os.getpid, limit_s=20) == first
    with pytest.raises(CrashError, match="SIGSEGV"):
        child.call(fail, "segfault", limit_s=20)
    second = child.call(os.getpid, limit_s=20)
    assert second != first
    begin_s = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"0\.3 s"):
        child.call(time.sleep, 60, limit_s=0.3)
    assert time.monotonic() - begin_s < 10
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_process_is_known_by_pid_and_birth() -> None:
    assert process_family._birth_of(os.getpid()) == process_family._birth_of(os.getpid())
    assert process_family._birth_of(2**22 + 1) is None
