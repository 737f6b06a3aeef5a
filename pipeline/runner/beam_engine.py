"""Carries a run out with Apache Beam: on this machine, or wherever the options after a lone -- say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
from apache_beam.runners.runner import PipelineResult

from pipeline.records import ClipRef
from pipeline.runner import graph
from pipeline.runner.beam_options import check_job_endpoint, has_job_server, pipeline_options, runner_name
from pipeline.runner.steps import Steps
from pipeline.runner.tally import Tally
from pipeline.runner.work_queue import WorkQueue, opened


@dataclass(frozen=True, kw_only=True)
class BeamEngine:
    """See `pipeline.runner.engines.Engine`."""

    workers: int = 1
    """Threads of this process, each with a child process for its units. Without meaning where there are arguments."""
    arguments: tuple[str, ...] = ()
    """Beam's options, for example those of a cluster."""

    @property
    def is_local(self) -> bool:
        """See `Engine`."""
        return not self.arguments

    @property
    def shows_progress(self) -> bool:
        """See `Engine`."""
        return self.is_local

    def check(self) -> None:
        """See `Engine`."""
        check_job_endpoint(pipeline_options(self.workers, self.arguments))

    def carry_out(self, clips: Sequence[ClipRef], steps: Steps) -> Tally:
        """See `Engine`."""
        job = beam.Pipeline(
            runner=runner_name(self.arguments), options=pipeline_options(self.workers, self.arguments)
        )
        if not self.is_local:
            graph.build_for_cluster(job, clips, steps, hinted=not has_job_server(self.arguments))
            return _carried_out(job)
        if self.workers > 1:  # threads of one process must not share a tracker
            steps = replace(steps, isolated=True)
        queue = WorkQueue(clips)
        with opened(queue) as name:
            graph.build_for_one_machine(job, self.workers, name, steps)
            tally = _carried_out(job)
        if queue.error is not None:
            raise queue.error
        return tally


def _carried_out(job: beam.Pipeline) -> Tally:
    result = job.run()
    result.wait_until_finish()
    return _tally_of(result)


def _tally_of(result: PipelineResult) -> Tally:
    """What the steps counted; several may count the same thing."""
    found = result.metrics().query()
    counts: Counter[str] = Counter()
    workers = set()
    for entry in _ours(found["counters"]):
        name = entry.key.metric.name
        if name.startswith(graph.WORKER_PREFIX):
            workers.add(name)
        else:
            counts[name] += int(_value(entry))
    peaks = [int(_value(entry).max) for entry in _ours(found["distributions"])]
    return Tally(counts=dict(counts), peak_mb=max(peaks, default=0), workers=frozenset(workers))


def _ours(entries: Sequence[Any]) -> list[Any]:
    return [entry for entry in entries if entry.key.metric.namespace == graph.NAMESPACE]


def _value(entry: Any) -> Any:
    return entry.committed if entry.committed is not None else entry.attempted
