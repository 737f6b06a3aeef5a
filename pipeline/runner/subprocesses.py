"""Work in a child process: what hangs is ended, what crashes takes only its own unit along, and nobody is orphaned."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from pipeline.host.loading import without_collection, without_pandas
from pipeline.host.logs import quieten_libraries
from pipeline.host.process_family import die_with
from schemas.errors import CrashError, HumandepthError, StorageError, TimeLimitError

_START_LIMIT_S = 300.0
_PREPARES = ("pipeline.runner.units", "pipeline.method.segment", "pipeline.video.shots")
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
        _stand_still_at_the_end()
        self.close()
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, os.getpid()), daemon=True)
        self._process.start()
        theirs.close()
        self._exchange(_prepare, _PREPARES, _START_LIMIT_S)

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
            _stand_still_at_the_end()
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
_ENDING = threading.Event()


def end_calls() -> None:
    """From now on no call returns: this process is about to end, and a child that dies now is nobody's crash."""
    _ENDING.set()


def _stand_still_at_the_end() -> None:
    if _ENDING.is_set():
        threading.Event().wait()


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


def _prepare(*modules: str) -> None:
    with without_collection(), without_pandas():
        for module in modules:
            importlib.import_module(module)


def _how_it_died(code: int | None) -> str:
    if code is None:
        return "no exit code"
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
