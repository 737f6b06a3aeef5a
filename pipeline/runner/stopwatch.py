"""Where the time of a unit goes, stage by stage."""

from __future__ import annotations

import time
from dataclasses import dataclass

from pipeline.host.memory import peak_mb
from pipeline.method.segment import Report


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Where the time of a call went, and the most memory its process has used."""

    seconds: dict[str, float]
    peak_mb: int


class Stopwatch:
    """A `Report` that also adds up the seconds between its calls, by stage."""

    def __init__(self, report: Report | None = None) -> None:
        self._report, self._last_s = report, time.monotonic()
        self._seconds: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        self.lap(stage)
        if self._report is not None:
            self._report(stage, done, total)

    def lap(self, stage: str) -> None:
        """The time since the last call belongs to this stage."""
        now = time.monotonic()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last_s
        self._last_s = now

    def spent(self, last_stage: str) -> Spent:
        """What was added up, once the rest is given to a last stage."""
        self.lap(last_stage)
        return Spent(seconds=dict(self._seconds), peak_mb=peak_mb())
