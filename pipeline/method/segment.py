"""The method as plain functions: a segment in, rows out. No framework; Beam only carries these about.

process_segment = track_segment (pixels -> bodies) + render_segment (bodies -> refined bodies, maps, pairs, samples)
"""

from __future__ import annotations

from dataclasses import replace

from pipeline.config import Settings
from pipeline.host.memory import return_free_memory, return_large_blocks_when_freed
from pipeline.host.picture_threads import one_thread_for_pictures
from pipeline.method.crops import PersonCrops, crops_by_person
from pipeline.method.empty_results import nobody_found, nothing_kept
from pipeline.method.map_pictures import MapPictures
from pipeline.method.progress import CountedFrames, no_progress
from pipeline.method.refined_tracks import refined_segment
from pipeline.method.resources import Resources
from pipeline.method.rows import Emit, clip_row, failure_row, frame_row, surface_row, unread_clip_row
from pipeline.method.targets import rows_by_target
from pipeline.records import (
    ClipRef,
    Failure,
    ProgressCallback,
    Segment,
    TrackedSegment,
    UnitCounts,
)
from pipeline.video.shots import frames_of
from schemas.errors import HumandepthError


def process_segment(
    segment: Segment, resources: Resources, emit: Emit, on_progress: ProgressCallback = no_progress
) -> UnitCounts:
    """A whole segment in a plain loop: the same rows as the Beam graph writes."""
    tracked = track_segment(segment, resources, on_progress)
    return render_segment(tracked, resources, emit, on_progress)


def track_segment(
    segment: Segment,
    resources: Resources,
    on_progress: ProgressCallback = no_progress,
    *,
    path: str | None = None,
) -> TrackedSegment:
    """Decodes a segment once and finds the people in it. An expected failure comes back as a value.

    `path` is where the clip lies on this machine, if not at its own uri.
    """
    return_large_blocks_when_freed()
    one_thread_for_pictures()
    settings = resources.settings
    decoded = frames_of(segment, settings.video, path)
    frames = CountedFrames(decoded, "track", _expected_frames(segment, settings), on_progress)
    try:
        tracks = resources.tracker.track(frames, segment.footage, on_progress=on_progress)
        return_free_memory()
        if not tracks:
            raise nobody_found(segment, frames.count, settings)
    except HumandepthError as error:
        failure = Failure.of("track", error)
        return TrackedSegment(segment=segment, tracks=(), frames_read=frames.count, failure=failure)
    return TrackedSegment(segment=segment, tracks=tuple(tracks), frames_read=frames.count)


def render_segment(
    tracked: TrackedSegment,
    resources: Resources,
    emit: Emit,
    on_progress: ProgressCallback = no_progress,
    *,
    path: str | None = None,
) -> UnitCounts:
    """Turns tracks into rows of every table, in a fixed order, and returns what came of the unit.

    `path` is where the clip lies on this machine, if not at its own uri.
    """
    return_large_blocks_when_freed()
    one_thread_for_pictures()
    segment, failure = tracked.segment, tracked.failure
    counts = UnitCounts(unit_id=segment.unit_id, outcome="kept", tracks=len(tracked.tracks))
    crops: dict[int, PersonCrops] = {}
    pictures = MapPictures()
    if failure is None:
        try:
            crops = crops_by_person(tracked, resources.settings, on_progress, path=path)
            tracked = refined_segment(tracked, crops, resources, on_progress, pictures)
        except HumandepthError as error:
            failure = Failure.of("render", error)
        for track in tracked.tracks:
            for at in range(len(track.frame_index)):
                emit("frames", frame_row(segment, track, at))
            surface = surface_row(segment, track)
            if surface is not None:
                emit("surfaces", surface)
    if failure is None:
        try:
            counts = _emit_targets(tracked, crops, pictures, resources, emit, on_progress)
        except HumandepthError as error:
            failure = Failure.of("render", error)
    if failure is None and counts.samples == 0:
        failure = Failure.of("render", nothing_kept(tracked, counts))
    if failure is not None:
        counts = replace(counts, outcome=failure.reason)
        emit("failures", failure_row(segment.clip, segment.unit_id, failure))
    emit("clips", clip_row(segment, counts, tracked.frames_read, tracked.tracks))
    return counts


def _emit_targets(
    tracked: TrackedSegment,
    crops: dict[int, PersonCrops],
    pictures: MapPictures,
    resources: Resources,
    emit: Emit,
    on_progress: ProgressCallback,
) -> UnitCounts:
    """Rows of `pairs` and `samples`, target after target."""
    tried, kept, samples = 0, 0, 0
    for rows in rows_by_target(tracked, crops, resources, on_progress, pictures):
        for pair in rows.pairs:
            emit("pairs", pair)
        if rows.sample is not None:
            emit("samples", rows.sample)
        tried, kept, samples = tried + len(rows.pairs), kept + rows.kept, samples + bool(rows.kept)
    return UnitCounts(
        unit_id=tracked.segment.unit_id,
        outcome="kept",
        tracks=len(tracked.tracks),
        frames_kept=sum(int(track.kept.sum()) for track in tracked.tracks),
        pairs_kept=kept,
        pairs_dropped=tried - kept,
        samples=samples,
    )


def failed_clip(clip: ClipRef, error: HumandepthError, emit: Emit) -> UnitCounts:
    """Rows for an input that could not be cut into segments: it stays visible in `clips` and `failures`."""
    failure = Failure.of("probe", error)
    counts = UnitCounts(unit_id=probe_unit_id(clip), outcome=failure.reason)
    emit("failures", failure_row(clip, counts.unit_id, failure))
    emit("clips", unread_clip_row(clip, counts))
    return counts


def probe_unit_id(clip: ClipRef) -> str:
    """The unit of work that stands for a clip that could not be cut."""
    return f"{clip.clip_id}-probe"


def _expected_frames(segment: Segment, settings: Settings) -> int:
    sample_fps = settings.video.sample_fps or segment.sample_fps or segment.video.mean_fps
    fps = min(segment.video.mean_fps, sample_fps)
    return round((segment.end_s - segment.start_s) * fps)
