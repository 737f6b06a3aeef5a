"""What a run counted and what it cost, from the counters of Beam's steps."""

from __future__ import annotations

from collections import Counter

from apache_beam.runners.runner import PipelineResult

from pipeline.host.memory import peak_mb
from pipeline.runner import graph
from pipeline.runner.summary import COUNTED, STAGES, RunCosts, RunSummary


def _counters(result: PipelineResult) -> Counter[str]:
    """Our counters by name; several steps may count the same thing."""
    found: Counter[str] = Counter()
    for counter in result.metrics().query()["counters"]:
        if counter.key.metric.namespace == graph.NAMESPACE:
            value = counter.committed if counter.committed is not None else counter.attempted
            found[counter.key.metric.name] += int(value)
    return found


def summary_of(result: PipelineResult, costs: RunCosts) -> RunSummary:
    found = _counters(result)
    return RunSummary(**{name: found.get(name.replace("_", "-"), 0) for name in COUNTED}, costs=costs)


def costs_of(result: PipelineResult, wall_s: float, workers: int) -> RunCosts:
    found = _counters(result)
    peaks = [
        int(entry.committed.max if entry.committed is not None else entry.attempted.max)
        for entry in result.metrics().query()["distributions"]
        if entry.key.metric.namespace == graph.NAMESPACE and entry.key.metric.name == "peak-mb"
    ]
    stage_s = {stage: found.get(graph.STAGE_PREFIX + stage, 0) / 1000 for stage in STAGES}
    return RunCosts(
        wall_s=round(wall_s, 3),
        workers=workers,
        peak_mb=max([peak_mb(), *peaks]),
        stage_s={stage: seconds for stage, seconds in stage_s.items() if seconds},
        failed={
            name.removeprefix("failed-"): count
            for name, count in sorted(found.items())
            if name.startswith("failed-")
        },
    )
