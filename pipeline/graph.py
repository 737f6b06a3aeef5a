"""The Beam graph on one page. Clip references in, shards out; only parameters and scalars cross a shuffle.

Clips -> Cut -> (shuffle) -> Track -> (shuffle) -> Render, which writes the unit's shards itself
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace

import apache_beam as beam
from apache_beam.metrics import Metrics

from pipeline.config import Settings
from pipeline.fingerprint import fingerprint
from pipeline.progress import ProgressFile
from pipeline.records import ClipRef, Failure, Segment, TrackedSegment, UnitCounts
from pipeline.sink import UnitSink, discard_unit, finished_record, local_copy
from pipeline.steps import failed_clip, probe_unit_id, render_segment, track_segment
from pipeline.toolbox import shared_toolbox
from pipeline.video.shots import segments_of
from schemas.errors import HumandepthError

NAMESPACE = "humandepth"


def build(
    pipeline: beam.Pipeline,
    clips: Sequence[ClipRef],
    settings: Settings,
    root: str,
    progress_folder: str | None = None,
) -> beam.PCollection:
    """Applies the whole graph and returns a `UnitCounts` for every unit that was worked on."""
    return (
        pipeline
        | "Clips" >> beam.Create(list(clips))
        | "Cut" >> beam.ParDo(CutIntoSegments(settings, root))
        | "Spread segments" >> beam.Reshuffle()
        | "Track" >> beam.ParDo(TrackPeople(settings, progress_folder)).with_resource_hints(min_ram="4GB")
        | "Spread tracks" >> beam.Reshuffle()
        | "Render"
        >> beam.ParDo(RenderAndWrite(settings, root, progress_folder)).with_resource_hints(min_ram="4GB")
    )


class CutIntoSegments(beam.DoFn):
    """ClipRef -> the Segments that are not finished yet. A clip that cannot be read leaves its rows and ends here."""

    def __init__(self, settings: Settings, root: str) -> None:
        self._settings, self._root = settings, root

    def process(self, clip: ClipRef) -> Iterator[Segment]:
        try:
            with local_copy(clip.uri) as path:
                found = segments_of(replace(clip, uri=path), self._settings.video)
            segments = [replace(segment, clip=clip) for segment in found]
        except HumandepthError as error:
            unit_id = probe_unit_id(clip)
            with UnitSink(self._root, unit_id, fingerprint(clip, self._settings)) as sink:
                _count(failed_clip(clip, error, sink.emit))
                sink.outcome = error.reason
            return
        discard_unit(self._root, probe_unit_id(clip))
        for segment in segments:
            record = finished_record(self._root, segment.unit_id, fingerprint(segment, self._settings))
            if record is None:
                yield segment
            else:
                Metrics.counter(NAMESPACE, "units-skipped").inc()
                _count_outcome(record.outcome)


class TrackPeople(beam.DoFn):
    """Segment -> TrackedSegment. May run where an accelerator is; hands on parameters, never pixels."""

    def __init__(self, settings: Settings, progress_folder: str | None) -> None:
        self._settings, self._progress_folder = settings, progress_folder

    def process(self, segment: Segment) -> Iterator[TrackedSegment]:
        report = ProgressFile(self._progress_folder, segment.unit_id)
        with ExitStack() as stack:
            try:
                path = stack.enter_context(local_copy(segment.clip.uri))
            except HumandepthError as error:
                failure = Failure.of("track", error)
                yield TrackedSegment(segment=segment, tracks=(), frames_read=0, failure=failure)
                return
            yield track_segment(segment, shared_toolbox(self._settings), self._settings, report, path=path)


class RenderAndWrite(beam.DoFn):
    """TrackedSegment -> shards and completion record on disk -> UnitCounts."""

    def __init__(self, settings: Settings, root: str, progress_folder: str | None) -> None:
        self._settings, self._root, self._progress_folder = settings, root, progress_folder

    def process(self, tracked: TrackedSegment) -> Iterator[UnitCounts]:
        unit_id = tracked.segment.unit_id
        report = ProgressFile(self._progress_folder, unit_id)
        with ExitStack() as stack:
            path = None
            if tracked.failure is None:
                try:
                    path = stack.enter_context(local_copy(tracked.segment.clip.uri))
                except HumandepthError as error:
                    tracked = replace(tracked, failure=Failure.of("render", error))
            sink = stack.enter_context(
                UnitSink(self._root, unit_id, fingerprint(tracked.segment, self._settings))
            )
            toolbox = shared_toolbox(self._settings)
            counts = render_segment(tracked, toolbox, self._settings, sink.emit, report, path=path)
            sink.outcome = counts.outcome
        _count(counts)
        yield counts


def _count(counts: UnitCounts) -> None:
    _count_outcome(counts.outcome)
    for name in ("samples", "pairs_kept", "pairs_dropped", "frames_kept"):
        Metrics.counter(NAMESPACE, name.replace("_", "-")).inc(getattr(counts, name))


def _count_outcome(outcome: str) -> None:
    Metrics.counter(NAMESPACE, "units-kept" if outcome == "kept" else "units-failed").inc()
