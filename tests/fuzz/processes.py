"""Reading mutants in a process of its own, so that a hang or a crash is seen from outside and ends nothing else."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

SECONDS_EACH = 30.0
"""A mutant that takes longer hangs."""
_START_S = 60.0


def read_in_a_process(module: str, folder: Path, first: int, stop: int) -> tuple[list[dict], str]:
    """Lines of `python -m module folder first stop`, and what went wrong with the process itself ("": nothing)."""
    command = [sys.executable, "-m", module, str(folder), str(first), str(stop)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str | None] = queue.Queue()
    errors: list[str] = []

    def pump() -> None:
        assert process.stdout is not None
        with process.stdout as said:
            for line in said:
                lines.put(line)
        lines.put(None)

    def drain() -> None:
        assert process.stderr is not None
        with process.stderr as said:
            errors.extend(said)

    threads = [threading.Thread(target=target, daemon=True) for target in (pump, drain)]
    for thread in threads:
        thread.start()
    rows: list[dict] = []
    try:
        while (line := lines.get(timeout=SECONDS_EACH + (_START_S if not rows else 0.0))) is not None:
            rows.append(json.loads(line))
    except queue.Empty:
        process.kill()
        process.wait()
        return rows, f"hangs: {rows[-1] if rows else 'at the start'}"
    code = process.wait()
    threads[1].join(timeout=5)
    return rows, "" if code == 0 else f"exit code {code} after {rows[-1:]}: {''.join(errors[-12:])}"


def read_all(
    module: str, folder: Path, count: int, is_done: Callable[[dict], bool]
) -> tuple[list[dict], list[str]]:
    """The finished lines of mutants 0 to `count`, and the processes that hung or crashed: each is gone on after."""
    done: list[dict] = []
    broken: list[str] = []
    first = 0
    while first < count:
        rows, problem = read_in_a_process(module, folder, first, count)
        done += filter(is_done, rows)
        if problem:
            broken.append(problem)
        first = max((row["number"] for row in rows), default=first) + 1
    return done, broken
