"""The Beam graph on one page. Clip references in, shards out; only parameters and scalars cross a shuffle.

Clips -> Cut -> (shuffle) -> Track -> (shuffle, on a cluster) -> Render, which writes the unit's shards itself

On one machine Track and Render stay fused: a unit is finished before the next begins, so an interrupted run loses
one unit a worker. On a cluster a shuffle parts them, because only Track may ask for an accelerator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipeline.host.process_family import die_with
from pipeline.records import ClipRef, Failure, Segment, TrackedSegment, UnitCounts
from pipeline.runner.stopwatch import Spent
from pipeline.runner.subprocesses import call_isolated
from pipeline.runner.units import (
    UnitWork,
    cut_clip,
    failed_segment,
    render_unit,
    track_unit,
    write_failed_clip,
)
from schemas.errors import CrashError, TimeLimitError

NAMESPACE = "humandepth"
STAGE_PREFIX = "stage-ms-"


def build(
    pipeline: beam.Pipeline,
    clips: Sequence[ClipRef],
    work: UnitWork,
    *,
    on_cluster: bool = False,
    isolated: bool = False,
    driver_pid: int | None = None,
) -> beam.PCollection:
    """Applies the whole graph and returns a `UnitCounts` for every unit that was worked on."""
    step = (work, isolated, driver_pid)
    tracked = (
        pipeline
        | "Clips" >> beam.Create(list(clips))
        | "Spread clips" >> beam.Reshuffle()
        | "Cut" >> beam.ParDo(CutIntoSegments(*step))
        | "Spread segments" >> beam.Reshuffle()
        | "Track" >> beam.ParDo(TrackPeople(*step)).with_resource_hints(**_hints(work) if on_cluster else {})
    )
    if on_cluster:
        tracked = tracked | "Spread tracks" >> beam.Reshuffle()
    return tracked | "Render" >> beam.ParDo(RenderAndWrite(*step))


def _hints(work: UnitWork) -> dict[str, str]:
    """What a machine that tracks must have. Steps of unlike hints are never fused, so one machine gets none."""
    run = work.settings.run
    return {"min_ram": run.tracking_ram} | ({"accelerator": run.accelerator} if run.accelerator else {})


class _Step(beam.DoFn):
    """A step that calls functions of `units`, in a child process where it is isolated."""

    def __init__(self, work: UnitWork, isolated: bool, driver_pid: int | None) -> None:
        self._work, self._isolated, self._driver_pid = work, isolated, driver_pid

    def setup(self) -> None:
        if self._driver_pid is not None:
            die_with(self._driver_pid)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if not self._isolated:
            return function(self._work, *arguments)
        limit_s = self._work.settings.run.unit_time_limit_s
        try:
            return call_isolated(function, self._work, *arguments, limit_s=limit_s)
        except CrashError:  # once more: it may have been killed for want of memory, or by hand
            return call_isolated(function, self._work, *arguments, limit_s=limit_s)


class CutIntoSegments(_Step):
    """ClipRef -> the Segments that are not finished yet. A clip that cannot be read leaves its rows and ends here."""

    def process(self, clip: ClipRef) -> Iterator[Segment]:
        try:
            cut = self._call(cut_clip, clip)
        except (TimeLimitError, CrashError) as error:
            _count(write_failed_clip(self._work, clip, _about(clip, error)))
            return
        _count_time(cut.spent)
        if cut.failed is not None:
            _count(cut.failed)
        for outcome in cut.finished:
            Metrics.counter(NAMESPACE, "units-skipped").inc()
            _count_outcome(outcome)
        yield from cut.todo


class TrackPeople(_Step):
    """Segment -> TrackedSegment."""

    def process(self, segment: Segment) -> Iterator[TrackedSegment]:
        try:
            tracked, spent = self._call(track_unit, segment)
        except (TimeLimitError, CrashError) as error:
            yield failed_segment(segment, "track", _about(segment.clip, error))
            return
        _count_time(spent)
        Metrics.counter(NAMESPACE, "frames-read").inc(tracked.frames_read)
        yield tracked


class RenderAndWrite(_Step):
    """TrackedSegment -> shards and completion record on disk -> UnitCounts."""

    def process(self, tracked: TrackedSegment) -> Iterator[UnitCounts]:
        try:
            counts, spent = self._call(render_unit, tracked)
        except (TimeLimitError, CrashError) as error:
            failure = Failure.of("render", _about(tracked.segment.clip, error))
            counts, spent = render_unit(self._work, replace(tracked, tracks=(), failure=failure))
        _count_time(spent)
        _count(counts)
        yield counts


def _about(clip: ClipRef, error: TimeLimitError | CrashError) -> TimeLimitError | CrashError:
    return type(error)(f"{clip.uri}: {error.message}", remedy=error.remedy)


def _count_time(spent: Spent) -> None:
    for stage, seconds in spent.seconds.items():
        Metrics.counter(NAMESPACE, STAGE_PREFIX + stage).inc(round(1000 * seconds))
    Metrics.distribution(NAMESPACE, "peak-mb").update(spent.peak_mb)


def _count(counts: UnitCounts) -> None:
    _count_outcome(counts.outcome)
    for name in ("samples", "pairs_kept", "pairs_dropped", "frames_kept"):
        Metrics.counter(NAMESPACE, name.replace("_", "-")).inc(getattr(counts, name))


def _count_outcome(outcome: str) -> None:
    Metrics.counter(NAMESPACE, "units-kept" if outcome == "kept" else "units-failed").inc()
    if outcome != "kept":
        Metrics.counter(NAMESPACE, f"failed-{outcome}").inc()
