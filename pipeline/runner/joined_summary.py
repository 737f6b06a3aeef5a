"""The summary of work that several runs shared: of the shards of one dataset, of datasets that were merged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.dataset.clip_shards import shard_summaries
from pipeline.runner.summary import COUNTED, STAGES, RunCosts, RunSummary, with_focal_lengths


def summary_of_shards(root: str, count: int) -> RunSummary:
    """The summary of the finished shards of `count` in a local dataset."""
    return with_focal_lengths(joined_summary(shard_summaries(root, count)), root)


def joined_summary(facts: Sequence[Mapping[str, Any]]) -> RunSummary:
    """The sum of what `summary_facts` gave for each: counts, workers and stages add up, of time and memory the most.

    What is no number counts as nothing.
    """
    stages, failed = _sums(facts, "stage_s"), _sums(facts, "failed")
    return RunSummary(
        **{name: int(sum(_number(each, name) for each in facts)) for name in COUNTED},
        costs=RunCosts(
            wall_s=max((_number(each, "wall_s") for each in facts), default=0.0),
            workers=int(sum(_number(each, "workers") for each in facts)),
            peak_mb=int(max((_number(each, "peak_mb") for each in facts), default=0)),
            stage_s={stage: round(stages[stage], 3) for stage in STAGES if stages.get(stage)},
            failed={reason: int(count) for reason, count in sorted(failed.items())},
        ),
    )


def _sums(facts: Sequence[Mapping[str, Any]], name: str) -> dict[str, float]:
    sums: dict[str, float] = {}
    for each in facts:
        values = each.get(name)
        if isinstance(values, Mapping):
            for key in values:
                sums[str(key)] = sums.get(str(key), 0.0) + _number(values, key)
    return sums


def _number(values: Mapping[str, Any], name: Any) -> float:
    value = values.get(name, 0)
    return float(value) if isinstance(value, int | float) and 0 <= value < 2**63 else 0.0
