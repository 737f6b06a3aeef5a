"""What a worker does with a clip and with a unit: the steps of the method, plus files. Beam only calls these.

Everything a call needs is in its arguments, so that it can be made in another process. The method itself is imported by
the functions that carry it out: a run's driver calls none of them, and starts 1.3 s sooner.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from pipeline.config import Settings
from pipeline.dataset.cuts import read_cuts, write_cuts
from pipeline.dataset.fingerprint import fingerprint
from pipeline.dataset.storage import is_readable, local_copy, typed_storage_errors
from pipeline.dataset.unit_sink import UnitSink, discard_unit, finished_record, read_record
from pipeline.method.resources import Resources, shared_resources
from pipeline.records import ClipRef, Failure, Segment, TrackedSegment, UnitCounts, VideoFacts
from pipeline.runner.progress import ProgressFile, write_note
from pipeline.runner.stopwatch import Spent, Stopwatch
from schemas.dataset import RECORDS_PATH
from schemas.errors import HumandepthError, StorageError
from schemas.escaping import escaped
from schemas.files import Files

STOP_NOTE = "stop.note"
"""In the progress folder: why a worker stopped the whole run, for the driver to say."""


_UNIT_NAME = re.compile(r"(.+)-s\d{3,}-w\d{3,}\.json")


@dataclass(frozen=True, kw_only=True)
class UnitWork:
    """What is the same for every unit of a run."""

    settings: Settings
    root: str
    progress_folder: str | None = None
    retry: str | None = None
    """Failed units are tried again: those of this reason, all for an empty string, none for None."""
    make_resources: Callable[[Settings], Resources] = shared_resources

    def fingerprint(self, work: Segment | ClipRef) -> str:
        """What the rows of a clip or segment depend on in this run."""
        return fingerprint(work, self.settings, self.make_resources)


@dataclass(frozen=True, kw_only=True)
class CutClip:
    """A clip's segments that are still to be worked on, and the outcomes of the others."""

    todo: tuple[Segment, ...]
    finished: tuple[str, ...]
    failed: UnitCounts | None
    spent: Spent


def cut_clip(work: UnitWork, clip: ClipRef) -> CutClip:
    """Cuts a clip into segments and leaves out those that are finished. A clip that cannot be read leaves its rows."""
    from pipeline.method.segment import probe_unit_id

    clock = Stopwatch()
    try:
        with local_copy(clip.uri) as path:
            segments = _segments(work, clip, path)
    except HumandepthError as error:
        counts = write_failed_clip(work, clip, error)
        return CutClip(todo=(), finished=(), failed=counts, spent=clock.spent("cut"))
    with _stopping(work):
        discard_unit(work.root, probe_unit_id(clip))
        for unit_id in _units_before(work, clip) - {segment.unit_id for segment in segments}:
            discard_unit(work.root, unit_id)  # it, or the settings, have changed: it is cut elsewhere now
    todo, finished = [], []
    for segment in segments:
        with _stopping(work):
            record = finished_record(work.root, segment.unit_id, work.fingerprint(segment))
        if record is None or _to_retry(record.outcome, work.retry):
            todo.append(segment)
        else:
            finished.append(record.outcome)
    write_note(work.progress_folder, f"{clip.clip_id}.cut", {"units": len(todo), "finished": len(finished)})
    return CutClip(todo=tuple(todo), finished=tuple(finished), failed=None, spent=clock.spent("cut"))


def write_failed_clip(work: UnitWork, clip: ClipRef, error: HumandepthError) -> UnitCounts:
    """Rows and record of a clip that could not be cut."""
    from pipeline.method.segment import failed_clip, probe_unit_id

    unit_id, print_of_clip = probe_unit_id(clip), work.fingerprint(clip)
    with (
        _stopping(work),
        UnitSink(work.root, unit_id, print_of_clip, attempts=_attempts(work, unit_id, print_of_clip)) as sink,
    ):
        counts = failed_clip(clip, error, sink.emit)
        sink.outcome = counts.outcome
    write_note(work.progress_folder, f"{clip.clip_id}.cut", {"units": 1, "finished": 0})
    write_note(work.progress_folder, f"{unit_id}.done", asdict(counts))
    return counts


def track_unit(work: UnitWork, segment: Segment) -> tuple[TrackedSegment, Spent]:
    """A segment's people. May run where an accelerator is; hands on parameters, never pixels."""
    from pipeline.method.segment import track_segment

    clock = Stopwatch(ProgressFile(work.progress_folder, segment.unit_id))
    with ExitStack() as stack:
        try:
            path = stack.enter_context(local_copy(segment.clip.uri))
        except HumandepthError as error:
            return failed_segment(segment, "track", error), clock.spent("track")
        resources = work.make_resources(work.settings)
        clock.lap("load")
        tracked = track_segment(segment, resources, clock, path=path)
    return tracked, clock.spent("fit" if tracked.tracks else "track")


def finished_counts(work: UnitWork, segment: Segment) -> UnitCounts | None:
    """What an earlier attempt of this run made of a unit that it finished without saying so; None where it did not.

    Its record knows the outcome and the samples; frames and pairs of such a unit are not counted.
    """
    record = finished_record(work.root, segment.unit_id, work.fingerprint(segment))
    if record is None or _to_retry(record.outcome, work.retry):
        return None
    samples = sum(shard.rows for shard in record.shards if shard.table == "samples")
    return UnitCounts(unit_id=segment.unit_id, outcome=record.outcome, samples=samples)


def failed_segment(segment: Segment, stage: str, error: HumandepthError) -> TrackedSegment:
    """A segment that gave nothing, and why."""
    return TrackedSegment(segment=segment, tracks=(), frames_read=0, failure=Failure.of(stage, error))


def render_unit(work: UnitWork, tracked: TrackedSegment) -> tuple[UnitCounts, Spent]:
    """Writes the unit's shards and, last of all, its completion record."""
    from pipeline.method.segment import render_segment

    unit_id = tracked.segment.unit_id
    clock = Stopwatch(ProgressFile(work.progress_folder, unit_id))
    print_of_unit = work.fingerprint(tracked.segment)
    attempts = _attempts(work, unit_id, print_of_unit)
    with _stopping(work), ExitStack() as stack:
        path = None
        if tracked.failure is None:
            try:
                path = stack.enter_context(local_copy(tracked.segment.clip.uri))
            except HumandepthError as error:
                tracked = replace(tracked, failure=Failure.of("render", error))
        sink = stack.enter_context(UnitSink(work.root, unit_id, print_of_unit, attempts=attempts))
        resources = work.make_resources(work.settings)
        counts = render_segment(tracked, resources, sink.emit, clock, path=path)
        sink.outcome = counts.outcome
        clock.lap("render")
    write_note(work.progress_folder, f"{unit_id}.done", asdict(counts))
    return counts, clock.spent("write")


def _segments(work: UnitWork, clip: ClipRef, path: str) -> list[Segment]:
    """`segments_of`, remembered in the dataset: a resumed run reads the file but does not look for shots again."""
    from pipeline.video.decode import probe
    from pipeline.video.shots import segments_of

    key = work.fingerprint(clip)
    known = read_cuts(work.root, clip.clip_id)
    if known is not None and known.get("fingerprint") == key:
        video = probe(path)
        if asdict(video) == known["video"]:
            return [Segment(clip=clip, **values | {"video": video}) for values in known["segments"]]
    found = [
        replace(part, clip=clip)
        for part in segments_of(replace(clip, uri=escaped(path)), work.settings.video)
    ]
    values = [
        {name: value for name, value in asdict(part).items() if name not in ("clip", "video")}
        for part in found
    ]
    facts: VideoFacts = found[0].video
    with _stopping(work), typed_storage_errors(work.root):
        cuts = {"fingerprint": key, "video": asdict(facts), "segments": values}
        write_cuts(work.root, clip.clip_id, cuts)
    return found


def _units_before(work: UnitWork, clip: ClipRef) -> set[str]:
    """Units of a clip that earlier runs have finished."""
    if not is_readable(work.root):
        return set()
    found = _recorded_units if work.progress_folder else _recorded_units.__wrapped__
    with typed_storage_errors(work.root):
        return set(found(work.root, work.progress_folder).get(clip.clip_id, ()))


@lru_cache(maxsize=1)
def _recorded_units(root: str, run: str | None) -> dict[str, list[str]]:
    """Finished units by clip, listed once a process and run: a clip's own are from earlier runs until it is cut."""
    found: dict[str, list[str]] = {}
    for file in Files(root).listed(RECORDS_PATH, ".json"):
        match = _UNIT_NAME.fullmatch(file.name)
        if match:
            found.setdefault(match[1], []).append(file.name.removesuffix(".json"))
    return found


def _to_retry(outcome: str, retry: str | None) -> bool:
    return retry is not None and outcome != "kept" and retry in ("", outcome)


def _attempts(work: UnitWork, unit_id: str, print_of_unit: str) -> int:
    earlier = read_record(work.root, unit_id)
    if earlier is None or earlier.fingerprint != print_of_unit or earlier.outcome == "kept":
        return 1
    return earlier.attempts + 1


class _stopping:
    """Leaves a note for the driver when the dataset cannot be written."""

    def __init__(self, work: UnitWork) -> None:
        self._folder = work.progress_folder

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StorageError):
            write_note(self._folder, STOP_NOTE, {"message": error.message, "remedy": error.remedy})
