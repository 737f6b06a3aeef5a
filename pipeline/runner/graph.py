"""The Beam graph on one page. Clip references in, shards out; only parameters and scalars cross a shuffle.

    on a cluster      Clips -> (shuffle) -> Cut -> (shuffle) -> Track -> (shuffle) -> Render
    on one machine    Workers -> Draw -> Track -> Render

Render writes the unit's shards itself. On a cluster shuffles spread the work, and part Track from its neighbours
because only Track may ask for an accelerator; a shuffle ends when all that comes before it is done. On one machine
there is none: an element of the graph is a worker, which draws clips and segments from a queue (`work_queue.py`), and a
unit is finished before its worker draws again. So the first unit is finished while 100,000 clips wait to be cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipeline.records import ClipRef, Segment, TrackedSegment
from pipeline.runner.steps import Steps, process_name
from pipeline.runner.tally import Tally
from pipeline.runner.work_queue import queue_named

NAMESPACE = "humandepth"
PEAK_MB = "peak-mb"
WORKER_PREFIX = "worker-"
"""Of a counter for every worker that did something. FnApiRunner loses all but one worker's part of a string set."""


def build_for_cluster(
    pipeline: beam.Pipeline, clips: Sequence[ClipRef], steps: Steps, *, hinted: bool = True
) -> None:
    """Applies the graph in which every step may run on another machine, `hinted` where its runner reads hints."""
    (
        pipeline
        | "Clips" >> beam.Create(list(clips))
        | "Spread clips" >> beam.Reshuffle()
        | "Cut" >> beam.ParDo(CutIntoSegments(steps))
        | "Spread segments" >> beam.Reshuffle()
        | "Track" >> beam.ParDo(TrackPeople(steps)).with_resource_hints(**_hints(steps) if hinted else {})
        | "Spread tracks" >> beam.Reshuffle()
        | "Render" >> beam.ParDo(RenderAndWrite(steps))
    )


def build_for_one_machine(pipeline: beam.Pipeline, workers: int, queue: str, steps: Steps) -> None:
    """Applies the graph whose workers draw from the queue of that name (`work_queue.opened`)."""
    (
        pipeline
        | "Workers" >> beam.Create(range(workers))
        | "One each" >> beam.Reshuffle()
        | "Draw" >> beam.ParDo(DrawSegments(steps, queue))
        | "Track" >> beam.ParDo(TrackPeople(steps, queue))
        | "Render" >> beam.ParDo(RenderAndWrite(steps, queue))
    )


def _hints(steps: Steps) -> dict[str, str]:
    """What a machine that tracks must have. Steps of unlike hints never share a worker process."""
    run = steps.work.settings.run
    return {"min_ram": run.tracking_ram} | ({"accelerator": run.accelerator} if run.accelerator else {})


class _Step(beam.DoFn):
    """A step that calls `Steps`. An error on one machine ends the queue, so that every worker ends in good order."""

    def __init__(self, steps: Steps, queue: str | None = None) -> None:
        self._steps, self._queue = steps, queue

    def setup(self) -> None:
        self._steps.begin()

    def _called(self, function: Callable[[Any], tuple[Any, Tally]], argument: Any) -> Any:
        """What a step gives, counted; None where it failed and the queue was told."""
        try:
            value, tally = function(argument)
        except Exception as error:
            if self._queue is None:
                raise
            queue_named(self._queue).end(error)
            return None
        self._report(tally)
        return value

    def _report(self, tally: Tally, worker: str | None = None) -> None:
        for name, count in tally.counts.items():
            Metrics.counter(NAMESPACE, name).inc(count)
        Metrics.distribution(NAMESPACE, PEAK_MB).update(tally.peak_mb)
        if self._queue is None or worker is not None:
            Metrics.counter(NAMESPACE, WORKER_PREFIX + (worker or process_name())).inc()


class DrawSegments(_Step):
    """A worker's number -> Segments, one at a time, as the queue and the worker's own cutting give them."""

    def process(self, number: int) -> Iterator[Segment]:
        assert self._queue is not None
        queue = queue_named(self._queue)
        while (piece := queue.draw()) is not None:
            self._report(Tally(), worker=str(number))
            if isinstance(piece, Segment):
                yield piece
            else:
                queue.found(self._called(self._steps.cut, piece) or ())


class CutIntoSegments(_Step):
    """ClipRef -> the Segments that are not finished yet."""

    def process(self, clip: ClipRef) -> Iterator[Segment]:
        yield from self._called(self._steps.cut, clip)


class TrackPeople(_Step):
    """Segment -> TrackedSegment."""

    def process(self, segment: Segment) -> Iterator[TrackedSegment]:
        tracked = self._called(self._steps.track, segment)
        if tracked is not None:
            yield tracked


class RenderAndWrite(_Step):
    """TrackedSegment -> shards and completion record on disk."""

    def process(self, tracked: TrackedSegment) -> None:
        self._called(lambda each: (None, self._steps.render(each)), tracked)
