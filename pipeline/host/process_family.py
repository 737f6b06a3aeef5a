"""Nobody is orphaned: a process ends with the one that it works for, and takes those along that it started."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

_WATCH_EVERY_S = 0.2


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
