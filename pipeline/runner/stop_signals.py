"""How a run ends early: a signal to the driver."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pipeline.dataset.folder_lock import RunLock
from pipeline.dataset.storage import spool_folder
from pipeline.host.process_family import end_descendants
from pipeline.runner.subprocesses import end_calls


@contextmanager
def stop_signals(root: str, lock: RunLock | None, temporary: Path) -> Iterator[None]:
    """SIGINT and SIGTERM drop the units at work, which leave nothing, and end the process with 128 + signal.

    Nothing else can tidy up then: the `temporary` folder goes too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    terminal = sys.stderr

    def stop(number: int, frame: FrameType | None) -> None:
        sys.stderr = io.StringIO()  # threads complain of children that are gone
        end_calls()
        end_descendants()
        if lock is not None and lock.alone:  # what runs of shards leave is found by the next one
            shutil.rmtree(spool_folder(root), ignore_errors=True)
        shutil.rmtree(temporary, ignore_errors=True)
        if lock is not None:
            lock.release()
        name = signal.Signals(number).name
        print(
            f"stopped by {name}: finished units are kept, run the same command again to go on.",
            file=terminal,
            flush=True,
        )
        os._exit(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
