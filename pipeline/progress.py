"""Progress of a run: workers leave small files, the driver's thread draws them. Nothing is drawn from a worker."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_STAGES = {
    "track": "finding people",
    "fit": "fitting bodies",
    "crop": "cutting crops",
    "render": "motion and maps",
}
_WRITE_EVERY_S = 0.25
_LINE_EVERY_S = 15.0


class ProgressFile:
    """The `Report` of one unit: rewrites one small file, at most four times a second."""

    def __init__(self, folder: str | None, unit_id: str) -> None:
        self._path = Path(folder) / f"{unit_id}.json" if folder else None
        self._written_s = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Says how far a stage is; cheap enough to be called for every frame."""
        now = time.monotonic()
        if self._path is None or (done < total and now - self._written_s < _WRITE_EVERY_S):
            return
        self._written_s = now
        temporary = self._path.with_suffix(f".{os.getpid()}")
        temporary.write_text(json.dumps({"stage": stage, "done": done, "total": total}))
        os.replace(temporary, self._path)


class ProgressDisplay:
    """Bars on a terminal, a plain line per stage and every fifteen seconds elsewhere. Used as a context."""

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not sys.stderr.isatty(),
        )
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._said: dict[str, tuple[str, float]] = {}

    def __enter__(self) -> ProgressDisplay:
        self._bars.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._draw()
        self._bars.stop()

    def _poll(self) -> None:
        while not self._stop.wait(0.5):
            self._draw()

    def _draw(self) -> None:
        for path in sorted(self._folder.glob("*.json")):
            try:
                state = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            if sys.stderr.isatty():
                self._bar(path.stem, **state)
            else:
                self._line(path.stem, **state)

    def _bar(self, unit: str, stage: str, done: int, total: int) -> None:
        key = (unit, stage)
        if key not in self._tasks:
            self._tasks[key] = self._bars.add_task(f"{unit}  {_STAGES.get(stage, stage)}", total=total)
        self._bars.update(self._tasks[key], completed=done, total=total)

    def _line(self, unit: str, stage: str, done: int, total: int) -> None:
        said_stage, said_s = self._said.get(unit, ("", 0.0))
        now = time.monotonic()
        if stage != said_stage or now - said_s > _LINE_EVERY_S:
            self._said[unit] = (stage, now)
            print(f"{unit}: {_STAGES.get(stage, stage)} {done}/{total}", file=sys.stderr, flush=True)
