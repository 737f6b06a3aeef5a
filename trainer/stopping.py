"""Ending a run on SIGTERM with exit code 143, wherever it is, and never waiting without limit.

A run is interrupted at once where nothing is lost by it (imports, reading, waiting for a loader, validation). A step of
the optimiser and the writing of a checkpoint are finished first. Where neither happens in time, because a call into a
library does not come back, a thread ends the process: the checkpoint written last is whole.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from schemas.errors import HumandepthError

EXIT_CODE = 143
"""128 + SIGTERM, what shells report of a process that SIGTERM ended."""
GRACE_S = 5.0
"""From SIGTERM to the end, outside of steps and checkpoints: `docker stop` kills after 10 s."""
STEP_GRACE_S = 30.0
"""For the end of a step, which takes ten seconds where a large network trains on a CPU; Kubernetes kills after 30 s."""
SAVE_GRACE_S = 60.0
_LOOK_EVERY_S = 0.2
_WATCH_ENDS = 0
"""No signal has this number."""


class StoppedError(HumandepthError):
    """The run was told to stop (SIGTERM) and has left its last checkpoint."""

    reason = "stopped"
    retryable = True
    exit_code = EXIT_CODE


class SigtermInterrupt(BaseException):
    """SIGTERM came where the run can be left at once. No Exception: code that turns those into others lets it pass."""


class Stopping:
    """What SIGTERM does to a run. `told` says whether it came."""

    def __init__(self) -> None:
        self.told = False
        self._told_s = float("inf")
        self._is_interruptible = True
        self._since_s, self._grace_s = time.monotonic(), GRACE_S
        self._limit: tuple[float, str] | None = None

    @contextmanager
    def finishing(self, grace_s: float) -> Iterator[None]:
        """What happens inside is finished before the run ends, if that takes no longer than `grace_s`."""
        before = self._is_interruptible, self._grace_s
        self._is_interruptible, self._grace_s, self._since_s = False, grace_s, time.monotonic()
        try:
            yield
        finally:
            self._is_interruptible, self._grace_s = before
            self._since_s = time.monotonic()

    @contextmanager
    def interrupted(self, is_on: bool = True) -> Iterator[None]:
        """Inside, SIGTERM raises SigtermInterrupt, at once if it came before; unless `is_on` is false."""
        before, self._is_interruptible = self._is_interruptible, is_on
        try:
            if is_on and self.told:
                raise SigtermInterrupt
            yield
        finally:
            self._is_interruptible = before

    @contextmanager
    def limited(self, limit_s: float, message: str) -> Iterator[None]:
        """What happens inside ends the process with exit code 1 and a message where it takes longer than `limit_s`.

        For calls that read in this process: one that does not come back cannot be interrupted in any other way.
        """
        before, self._limit = self._limit, (time.monotonic() + limit_s, message)
        try:
            yield
        finally:
            self._limit = before

    def note(self, number: int, frame: FrameType | None) -> None:
        """The signal's handler."""
        if not self.told:
            self.told, self._told_s = True, time.monotonic()
            if self._is_interruptible:
                raise SigtermInterrupt

    def watch(self, wakeup_fd: int) -> None:
        """Of the thread: ends the process when its time is up; returns when it reads _WATCH_ENDS."""
        while True:
            if select.select([wakeup_fd], [], [], _LOOK_EVERY_S)[0]:
                signals = os.read(wakeup_fd, 64)
                if _WATCH_ENDS in signals:
                    return
                # Python's own handler runs between two bytecodes, perhaps never: this is written at once.
                if signal.SIGTERM in signals:
                    self._told_s = min(self._told_s, time.monotonic())
            now = time.monotonic()
            if now > max(self._told_s, self._since_s) + self._grace_s:
                _end(
                    EXIT_CODE,
                    "stopped by SIGTERM; the checkpoint written last is whole. Continue with --resume.",
                )
            limit = self._limit
            if limit is not None and now > limit[0]:
                _end(1, limit[1])


def _end(code: int, message: str) -> None:
    print(f"error: {message}", file=sys.stderr, flush=True)
    os._exit(code)


@contextmanager
def sigterm_stops() -> Iterator[Stopping]:
    """SIGTERM ends what happens in the context as `Stopping` says; outside of the main thread it is left alone.

    Interruptions leave the context as StoppedError.
    """
    stopping = Stopping()
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    is_ours = threading.current_thread() is threading.main_thread()
    if is_ours:
        handler_before = signal.signal(signal.SIGTERM, stopping.note)
        wakeup_before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=stopping.watch, args=(reading,), daemon=True)
    watcher.start()
    try:
        yield stopping
    except SigtermInterrupt:
        raise StoppedError("stopped by SIGTERM.", remedy="Run it again.") from None
    except ImportError as error:
        if not stopping.told:
            raise
        # A library has caught the interrupt in the middle of an import, and cannot be imported again.
        raise StoppedError("stopped by SIGTERM.", remedy="Run it again.") from error
    finally:
        if is_ours:
            signal.set_wakeup_fd(wakeup_before)
            signal.signal(signal.SIGTERM, handler_before)
        os.write(writing, bytes([_WATCH_ENDS]))
        watcher.join()
        os.close(writing)
        os.close(reading)
