"""Two ways to do the same thing, timed in interleaved rounds of one process."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One entry of build/benchmarks.json."""

    name: str
    detail: str
    """What is timed, on what."""
    prepare: Callable[[], tuple[Call, Call]] | None = None
    """Builds the inputs and returns (ours, peer); also checks, where both give the same thing, that they do."""
    measure: Callable[[], tuple[float, float]] | None = None
    """Instead of `prepare`, for what is not a short call: returns (ours, peer) in the unit that `detail` names."""
    max_rounds: int = 41
    budget_s: float = 12.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Medians of the rounds."""

    ours_ms: float
    peer_ms: float
    ratio: float
    """peer_ms / ours_ms."""
    rounds: int
    detail: str


class UnavailableError(Exception):
    """A peer that cannot run on this machine."""


def run(benchmark: Benchmark) -> Outcome:
    """Times both calls alternately, so that a machine that slows down slows both; at least 5 rounds."""
    if benchmark.measure is not None:
        own, other = benchmark.measure()
        return Outcome(ours_ms=own, peer_ms=other, ratio=other / own, rounds=1, detail=benchmark.detail)
    assert benchmark.prepare is not None
    ours, peer = benchmark.prepare()
    for _ in range(2):
        ours()
        peer()
    times: tuple[list[float], list[float]] = ([], [])
    begin = time.perf_counter()
    gc.collect()
    gc.disable()
    try:
        for number in range(benchmark.max_rounds):
            for call, own in zip((ours, peer), times):
                start = time.perf_counter()
                call()
                own.append(1e3 * (time.perf_counter() - start))
            if number >= 4 and time.perf_counter() - begin > benchmark.budget_s:
                break
    finally:
        gc.enable()
    ours_ms, peer_ms = (statistics.median(own) for own in times)
    return Outcome(
        ours_ms=ours_ms,
        peer_ms=peer_ms,
        ratio=peer_ms / ours_ms,
        rounds=len(times[0]),
        detail=benchmark.detail,
    )
