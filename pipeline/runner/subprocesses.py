"""Work in a child process: what hangs is ended, what crashes takes only its own unit along, and nobody is orphaned."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from pipeline.host.logs import quieten_libraries
from schemas.errors import CrashError, HumandepthError, StorageError, TimeLimitError

_START_LIMIT_S = 300.0
_WATCH_EVERY_S = 0.2
_PREPARES = "pipeline.runner.units"
"""Imported by a new child before its first call, so that no unit's time limit pays for it."""


class IsolatedProcess:
    """One child process that does one call after another; it is replaced when it dies or has to be ended."""

    def __init__(self) -> None:
        self._process: Any = None
        self._pipe: Connection | None = None

    def call(self, function: Callable[..., Any], *arguments: Any, limit_s: float) -> Any:
        """function(*arguments) in the child; all of it must be picklable.

        Raises TimeLimitError or CrashError, expected errors of the function as they are, and RuntimeError with the
        child's traceback for anything else.
        """
        if self._process is None or not self._process.is_alive():
            self._start()
        return self._exchange(function, arguments, limit_s)

    def close(self) -> None:
        """Ends the child. Closing twice is fine."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _start(self) -> None:
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        self._exchange(_prepare, (_PREPARES,), _START_LIMIT_S)

    def _exchange(self, function: Callable[..., Any], arguments: tuple[Any, ...], limit_s: float) -> Any:
        assert self._pipe is not None
        try:
            self._pipe.send((function, arguments))
            if not self._pipe.poll(limit_s):
                self.close()
                raise TimeLimitError(
                    f"not done after {limit_s:g} s, the limit of run.unit_time_limit_s.",
                    remedy="Look at the clip, or raise the limit, and run again with --retry-failed timed-out.",
                )
            kind, value, text = self._pipe.recv()
        except (EOFError, ConnectionError, BrokenPipeError):
            self._process.join(5.0)
            code = self._process.exitcode
            self.close()
            raise CrashError(
                f"the process that worked on it died ({_how_it_died(code)}).",
                remedy="Check the clip and the memory, and run again with --retry-failed crashed.",
            ) from None
        if kind == "value":
            return value
        if kind == "expected":
            raise value
        raise RuntimeError(f"a bug stopped the worker:\n{text}")


_IDLE: list[IsolatedProcess] = []


def call_isolated(function: Callable[..., Any], *arguments: Any, limit_s: float) -> Any:
    """`IsolatedProcess.call` in a child that is kept for the next call: there are as many as calls at one time."""
    try:
        process = _IDLE.pop()
    except IndexError:
        process = IsolatedProcess()
    try:
        return process.call(function, *arguments, limit_s=limit_s)
    finally:
        _IDLE.append(process)


def close_idle() -> None:
    """Ends the children that are kept."""
    while _IDLE:
        _IDLE.pop().close()


def die_with(pid: int) -> None:
    """Ends this process soon after the process `pid` has ended, however that came about."""
    if pid != os.getpid():
        threading.Thread(target=_watch, args=(pid, _birth_of(pid)), daemon=True).start()


def end_descendants() -> None:
    """Kills every process that this one started, directly or not. Linux only; elsewhere they end by `die_with`."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        fields = _stat_of(int(folder.name))
        if fields is not None:
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    open_list = list(children.get(os.getpid(), ()))
    while open_list:
        pid = open_list.pop()
        open_list += children.get(pid, ())
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def _watch(pid: int, birth: str | None) -> None:
    while birth is not None and _birth_of(pid) == birth:
        time.sleep(_WATCH_EVERY_S)
    os._exit(1)


def _birth_of(pid: int) -> str | None:
    """When a process was started, in ticks since boot: with the pid it names a process. None for one that is gone."""
    fields = _stat_of(pid)
    if fields is not None:
        return None if fields[0] in "ZX" else fields[19]
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return ""


def _stat_of(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat after the name: state, parent, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _serve(pipe: Connection, parent: int) -> None:
    quieten_libraries()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides; it ends its workers
    die_with(parent)
    while True:
        try:
            function, arguments = pipe.recv()
        except (EOFError, ConnectionError):
            return
        try:
            pipe.send(("value", function(*arguments), ""))
        except (HumandepthError, StorageError) as error:
            pipe.send(("expected", error, ""))
        except BaseException:
            pipe.send(("bug", None, traceback.format_exc()))


def _prepare(module: str) -> None:
    importlib.import_module(module)


def _how_it_died(code: int | None) -> str:
    if code is None:
        return "no exit code"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
