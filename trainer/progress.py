"""What `fit` and `predict` show while they run: a bar on a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

from trainer.config import TrainSettings

_LINE_EVERY_S = 15.0


class FitDisplay:
    """Used as a context."""

    def __init__(self, settings: TrainSettings, first_step: int, *, is_quiet: bool = False) -> None:
        self._settings, self._is_quiet = settings, is_quiet
        self._is_terminal = sys.stderr.isatty() and not is_quiet
        self._bar = _terminal_bar() if self._is_terminal else None
        self._task = self._bar and self._bar.add_task("", total=1.0, step=first_step, loss="-")
        self._said_s = 0.0

    def advance(self, step: int, minutes: float, loss: float) -> None:
        """Called after every step."""
        done = step / self._settings.max_steps
        if self._settings.max_minutes is not None:
            done = max(done, minutes / self._settings.max_minutes)
        if self._bar:
            self._bar.update(self._task, completed=min(done, 1.0), step=step, loss=f"{loss:.4f}")
        elif time.monotonic() - self._said_s > _LINE_EVERY_S:
            self._said_s = time.monotonic()
            self.say(f"step {step}, {minutes:.1f} min, loss {loss:.4f}")

    def say(self, line: str) -> None:
        """A line that stays; nothing where another process says it."""
        if not self._is_quiet:
            self.warn(line)

    def warn(self, line: str) -> None:
        """A line that stays, from whichever process."""
        if self._bar:
            self._bar.console.print(line, highlight=False, markup=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def __enter__(self) -> FitDisplay:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()


def _terminal_bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    return Progress(
        TextColumn("training  step {task.fields[step]}  loss {task.fields[loss]}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def warn(line: str) -> None:
    """A line about something that was left out."""
    print(line, file=sys.stderr, flush=True)


class PredictLines:
    """Says every few seconds how many predictions there are."""

    def __init__(self) -> None:
        self._said_s = time.monotonic()

    def __call__(self, done: int, name: str) -> None:
        """Hears of each prediction."""
        if time.monotonic() - self._said_s > _LINE_EVERY_S:
            self._said_s = time.monotonic()
            warn(f"predicted {done}, last {name}")
