"""Where the time of a unit goes, stage by stage."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.host.memory import peak_mb
from pipeline.method.progress import no_progress
from pipeline.records import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Where the time of a call went, and the most memory its process has used."""

    seconds: dict[str, float]
    peak_mb: int


class Stopwatch:
    """A `ProgressCallback` that also adds up the seconds between its calls, by stage."""

    def __init__(self, on_progress: ProgressCallback = no_progress) -> None:
        self._on_progress, self._last_s = on_progress, time.monotonic()
        self._seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.lap(stage)
        self._on_progress(stage, done, total)

    def lap(self, stage: str) -> None:
        """The time since the last call belongs to this stage."""
        now = time.monotonic()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last_s
        self._last_s = now

    def spent(self, last_stage: str) -> Spent:
        """What was added up, once the rest is given to a last stage."""
        self.lap(last_stage)
        return Spent(seconds=dict(self._seconds), peak_mb=peak_mb())
