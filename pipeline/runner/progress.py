"""Progress of a run: workers leave small files, the driver's thread draws them. Nothing is drawn from a worker."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
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
    "refine": "refining bodies",
    "render": "motion and maps",
}
_WRITE_EVERY_S = 0.25
_LINE_EVERY_S = 15.0


class ProgressFile:
    """The `ProgressCallback` of one unit: rewrites one small file, at most four times a second."""

    def __init__(self, folder: str | None, unit_id: str) -> None:
        self._path = Path(folder) / f"{unit_id}.json" if folder else None
        self._written_s = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Says how far a stage is; cheap enough to be called for every frame."""
        now = time.monotonic()
        if self._path is None or (done < total and now - self._written_s < _WRITE_EVERY_S):
            return
        self._written_s = now
        write_note(str(self._path.parent), self._path.name, {"stage": stage, "done": done, "total": total})


def write_note(folder: str | None, name: str, values: Mapping[str, object]) -> None:
    """A small JSON file for the driver, whole or not at all. Progress is never worth failing for."""
    if folder is None:
        return
    final = Path(folder) / name
    temporary = final.with_name(f".{name}.{os.getpid()}")
    with suppress(OSError):
        temporary.write_text(json.dumps(values))
        os.replace(temporary, final)


def read_note(path: Path) -> dict[str, object] | None:
    """What `write_note` left, or None."""
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


class Totals:
    """What the workers' notes add up to. A note that was read is removed: a run may leave hundreds of thousands."""

    def __init__(self, folder: Path, clips: int) -> None:
        self._folder, self._clips = folder, clips
        self._begin_s = time.monotonic()
        self._sums: Counter[str] = Counter()

    def update(self) -> list[str]:
        """Reads the notes that are new, and returns the names of the units that they say are done."""
        done = []
        for path in self._notes():
            note = read_note(path)
            if note is None:
                continue
            path.unlink(missing_ok=True)
            if path.suffix == ".cut":
                self._sums.update(cut=1, units=_whole(note, "units"), finished=_whole(note, "finished"))
                continue
            done.append(path.stem)
            self._sums.update(
                done=1,
                failed=int(note.get("outcome") != "kept"),
                pairs_kept=_whole(note, "pairs_kept"),
                pairs_dropped=_whole(note, "pairs_dropped"),
            )
        return done

    def _notes(self) -> list[Path]:
        try:
            paths = sorted(self._folder.iterdir())
        except OSError:  # a run that is being stopped has removed its folder
            return []
        return [path for path in paths if path.suffix in (".cut", ".done") and path.name[0] != "."]

    def line(self) -> str:
        """One line: units, clips still to be cut, pairs, failures, and how long the rest will take."""
        sums = self._sums
        all_cut = sums["cut"] >= self._clips
        parts = [
            f"{sums['pairs_kept']} pairs kept, {sums['pairs_dropped']} dropped",
            f"{sums['failed']} failed",
        ]
        if sums["finished"]:
            parts.insert(0, f"{sums['finished']} finished before")
        if not all_cut:
            parts.insert(0, f"{sums['cut']}/{self._clips} clips cut")
        if all_cut or sums["done"]:
            parts.insert(0, f"{sums['done']}/{sums['units']}{'' if all_cut else '+'} units")
        units = sums["units"] * self._clips / sums["cut"] if sums["cut"] and not all_cut else sums["units"]
        if 0 < sums["done"] < units:
            left_s = (time.monotonic() - self._begin_s) / sums["done"] * (units - sums["done"])
            parts.append(f"{'' if all_cut else 'about '}{duration(left_s)} left")
        return ", ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _whole(note: Mapping[str, object], name: str) -> int:
    value = note.get(name, 0)
    return value if isinstance(value, int) else 0


class ProgressDisplay:
    """Bars on a terminal, a plain line per stage and every fifteen seconds elsewhere. Used as a context."""

    def __init__(self, folder: str, clips: int = 0) -> None:
        self._folder = Path(folder)
        self._totals = Totals(self._folder, clips)
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
        self._total_task: TaskID | None = None
        self._total_said = ("", time.monotonic())

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
        for unit in self._totals.update():
            (self._folder / f"{unit}.json").unlink(missing_ok=True)
            self._said.pop(unit, None)
            self._remove_bars(unit)
        for path in sorted(self._folder.glob("*.json")):
            state = read_note(path)
            if state is None:
                continue
            if sys.stderr.isatty():
                self._bar(path.stem, **state)  # type: ignore[arg-type]
            else:
                self._line(path.stem, **state)  # type: ignore[arg-type]
        self._draw_totals()

    def _draw_totals(self) -> None:
        line = self._totals.line()
        if sys.stderr.isatty():
            if self._total_task is None:
                self._total_task = self._bars.add_task(line, total=None)
            self._bars.update(self._total_task, description=line)
            return
        said, said_s = self._total_said
        now = time.monotonic()
        if line != said and now - said_s > _LINE_EVERY_S:
            self._total_said = (line, now)
            print(line, file=sys.stderr, flush=True)

    def _remove_bars(self, unit: str) -> None:
        for key in [key for key in self._tasks if key[0] == unit]:
            self._bars.remove_task(self._tasks.pop(key))

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
