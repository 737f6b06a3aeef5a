"""Processes that share a variable of their environment: all that a test has started, whoever their parents are now."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def processes_with(name: str, value: str) -> Iterator[int]:
    """The numbers of the processes, but for this one."""
    wanted = f"{name}={value}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0") and int(path.parent.name) != os.getpid():
                yield int(path.parent.name)


def end_processes_with(name: str, value: str, limit_s: float = 10.0) -> None:
    """Ends them, gently first. Raises AssertionError where some are left."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in list(processes_with(name, value)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline and any(processes_with(name, value)):
            time.sleep(0.1)
    left = list(processes_with(name, value))
    assert not left, f"processes with {name}={value} are left: {left}"
