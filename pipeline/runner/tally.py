"""What was counted while clips and units were worked on: one value that adds up, whichever engine gathers it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.records import UnitCounts
from pipeline.runner.stopwatch import Spent

STAGE_PREFIX = "stage-ms-"
FAILED_PREFIX = "failed-"
UNIT_COUNTS = ("samples", "pairs_kept", "pairs_dropped", "frames_kept")


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts by name, the most memory of any process, and who worked."""

    counts: Mapping[str, int] = field(default_factory=dict)
    """Counters in kebab-case, as Beam shows them: `units-kept`, `failed-REASON`, `stage-ms-STAGE`, ..."""
    peak_mb: int = 0
    workers: frozenset[str] = frozenset()
    """Names of the workers that did something, not of those that stood ready."""

    def __add__(self, other: Tally) -> Tally:
        return total([self, other])


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies, in one pass."""
    counts: Counter[str] = Counter()
    peak_mb = 0
    workers: set[str] = set()
    for tally in tallies:
        counts.update(tally.counts)
        peak_mb = max(peak_mb, tally.peak_mb)
        workers |= tally.workers
    return Tally(counts=dict(counts), peak_mb=peak_mb, workers=frozenset(workers))


def tally_of_time(spent: Spent) -> Tally:
    """Where the time of a call went."""
    return Tally(
        counts={STAGE_PREFIX + stage: round(1000 * seconds) for stage, seconds in spent.seconds.items()},
        peak_mb=spent.peak_mb,
    )


def tally_of_unit(counts: UnitCounts) -> Tally:
    """A unit that was worked on."""
    numbers = {name.replace("_", "-"): getattr(counts, name) for name in UNIT_COUNTS}
    return tally_of_outcome(counts.outcome) + Tally(counts=numbers)


def tally_of_outcome(outcome: str) -> Tally:
    """A unit that is finished: kept, or failed for a reason."""
    if outcome == "kept":
        return Tally(counts={"units-kept": 1})
    return Tally(counts={"units-failed": 1, FAILED_PREFIX + outcome: 1})
