"""The method as plain functions: a segment in, rows out. No framework; Beam only carries these about.

process_segment = track_segment (pixels -> bodies) + render_segment (bodies -> refined bodies, maps, pairs, samples)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from pipeline.config import Settings
from pipeline.host.memory import return_free_memory, return_large_blocks_when_freed
from pipeline.method.empty_results import nobody_found
from pipeline.method.rendered_frames import Views
from pipeline.method.resources import Toolbox
from pipeline.method.rows import Emit, clip_row, failure_row, frame_row, unread_clip_row
from pipeline.method.samples import render_target, sample_row
from pipeline.records import ClipRef, Failure, Frame, Segment, Track, TrackedSegment, UnitCounts
from pipeline.refine.refinement import refined_track
from pipeline.video.crops import crop_image, decode_image, encode_jpeg
from pipeline.video.shots import frames_of
from schemas.conventions import IMAGE_PX
from schemas.errors import HumandepthError, NothingKeptError

Report = Callable[[str, int, int], None]
"""Takes a stage, how many steps of it are done, and how many there are (0 where nobody knows)."""


TARGETS_BETWEEN_RETURNS = 16
"""Targets rendered before freed memory is handed back."""


def silent(stage: str, done: int, total: int) -> None:
    """A `Report` that says nothing."""


def process_segment(
    segment: Segment, toolbox: Toolbox, settings: Settings, emit: Emit, report: Report = silent
) -> UnitCounts:
    """A whole segment in a plain loop: the same rows as the Beam graph writes."""
    return render_segment(track_segment(segment, toolbox, settings, report), toolbox, settings, emit, report)


def track_segment(
    segment: Segment,
    toolbox: Toolbox,
    settings: Settings,
    report: Report = silent,
    *,
    path: str | None = None,
) -> TrackedSegment:
    """Decodes a segment once and finds the people in it. An expected failure comes back as a value.

    `path` is where the clip lies on this machine, if not at its own uri.
    """
    return_large_blocks_when_freed()
    frames = _Counted(
        frames_of(segment, settings.video, path), "track", report, _frame_estimate(segment, settings)
    )
    try:
        tracks = toolbox.tracker.track(
            frames,
            unit_id=segment.unit_id,
            focal_px=segment.clip.focal_px,
            stated_px=segment.video.focal_px,
            report=report,
        )
        return_free_memory()
        if not tracks:
            raise nobody_found(segment, frames.count, settings)
    except HumandepthError as error:
        failure = Failure.of("track", error)
        return TrackedSegment(segment=segment, tracks=(), frames_read=frames.count, failure=failure)
    return TrackedSegment(segment=segment, tracks=tuple(tracks), frames_read=frames.count)


def render_segment(
    tracked: TrackedSegment,
    toolbox: Toolbox,
    settings: Settings,
    emit: Emit,
    report: Report = silent,
    *,
    path: str | None = None,
) -> UnitCounts:
    """Turns tracks into rows of every table, in a fixed order, and returns what came of the unit.

    `path` is where the clip lies on this machine, if not at its own uri.
    """
    return_large_blocks_when_freed()
    segment, failure = tracked.segment, tracked.failure
    counts = UnitCounts(unit_id=segment.unit_id, outcome="kept", tracks=len(tracked.tracks))
    jpegs: dict[int, dict[int, bytes]] = {}
    if failure is None:
        try:
            jpegs = cropped_frames(tracked, settings, report, path)
            tracked = refined(tracked, jpegs, toolbox, settings, report)
        except HumandepthError as error:
            failure = Failure.of("render", error)
        for track in tracked.tracks:
            for at in range(len(track.frame_index)):
                emit("frames", frame_row(segment, track, at))
    if failure is None:
        try:
            counts = _render_tracks(tracked, jpegs, toolbox, settings, emit, report, counts)
        except HumandepthError as error:
            failure = Failure.of("render", error)
    if failure is None and counts.samples == 0:
        failure = Failure.of("render", _nothing_kept(tracked, counts))
    if failure is not None:
        counts = replace(counts, outcome=failure.reason)
        emit("failures", failure_row(segment.clip, segment.unit_id, failure))
    emit("clips", clip_row(segment, counts, tracked.frames_read, tracked.tracks))
    return counts


def refined(
    tracked: TrackedSegment,
    jpegs: dict[int, dict[int, bytes]],
    toolbox: Toolbox,
    settings: Settings,
    report: Report,
) -> TrackedSegment:
    """Tracks whose bodies agree with their pictures, where `refine.mode` asks for it."""
    if settings.refine.mode == "off":
        return tracked
    tracks = []
    for track in tracked.tracks:
        frames, crops = track.frame_index, jpegs[track.person_index]

        def picture(at: int, frames: np.ndarray = frames, crops: dict[int, bytes] = crops) -> np.ndarray:
            return decode_image(crops[int(frames[at])])

        gaps_s = settings.pairs.candidate_gaps_s
        tracks.append(
            refined_track(
                track, picture, toolbox.body, toolbox.refining_rasterizer, settings.refine, gaps_s, report
            )
        )
        return_free_memory()
    return replace(tracked, tracks=tuple(tracks))


def _render_tracks(
    tracked: TrackedSegment,
    jpegs: dict[int, dict[int, bytes]],
    toolbox: Toolbox,
    settings: Settings,
    emit: Emit,
    report: Report,
    counts: UnitCounts,
) -> UnitCounts:
    stride = settings.pairs.target_stride
    targets = {track.track_id: np.flatnonzero(track.kept)[::stride] for track in tracked.tracks}
    done, total = 0, sum(map(len, targets.values()))
    for track in tracked.tracks:
        crops = jpegs.pop(track.person_index)  # dropped with the track
        views = Views(track, crops, toolbox.body, toolbox.mesh, toolbox.rasterizer)
        window_s = max(settings.pairs.candidate_gaps_s) + _period_s(track)
        for target in map(int, targets[track.track_id]):
            pairs, references = render_target(tracked.segment, track, target, views, toolbox, settings.pairs)
            for row in pairs:
                emit("pairs", row)
            if references:
                emit("samples", sample_row(tracked.segment, track, target, views, references))
            counts = replace(
                counts,
                pairs_kept=counts.pairs_kept + len(references),
                pairs_dropped=counts.pairs_dropped + len(pairs) - len(references),
                samples=counts.samples + bool(references),
            )
            views.forget_before(float(track.pts_s[target]) - window_s)
            done += 1
            if done % TARGETS_BETWEEN_RETURNS == 0:
                return_free_memory()
            report("render", done, total)
    return replace(counts, frames_kept=sum(int(track.kept.sum()) for track in tracked.tracks))


def _period_s(track: Track) -> float:
    """Seconds between two frames of a track; a candidate lies up to half of it beyond its gap."""
    return float(np.median(np.diff(track.pts_s))) if len(track.pts_s) > 1 else 0.0


def failed_clip(clip: ClipRef, error: HumandepthError, emit: Emit) -> UnitCounts:
    """Rows for an input that could not be cut into segments: it stays visible in `clips` and `failures`."""
    failure = Failure.of("probe", error)
    counts = UnitCounts(unit_id=probe_unit_id(clip), outcome=failure.reason)
    emit("failures", failure_row(clip, counts.unit_id, failure))
    emit("clips", unread_clip_row(clip, counts))
    return counts


def probe_unit_id(clip: ClipRef) -> str:
    """The unit that stands for a clip that could not be cut."""
    return f"{clip.clip_id}-probe"


def cropped_frames(
    tracked: TrackedSegment, settings: Settings, report: Report, path: str | None
) -> dict[int, dict[int, bytes]]:
    """JPEG crops by person and frame index: one pass over the pixels, only kept frames, bounded by their bytes."""
    wanted: dict[int, list[tuple[Track, int]]] = {}
    for track in tracked.tracks:
        for at in np.flatnonzero(track.kept):
            wanted.setdefault(int(track.frame_index[at]), []).append((track, int(at)))
    jpegs: dict[int, dict[int, bytes]] = {track.person_index: {} for track in tracked.tracks}
    for frame in _Counted(
        frames_of(tracked.segment, settings.video, path), "crop", report, tracked.frames_read
    ):
        for track, position in wanted.get(frame.index, ()):
            crop = crop_image(frame.image, track.crop_px[position], IMAGE_PX)
            jpegs[track.person_index][frame.index] = encode_jpeg(crop, settings.pairs.jpeg_quality)
    return jpegs


def _frame_estimate(segment: Segment, settings: Settings) -> int:
    sample_fps = settings.video.sample_fps or segment.sample_fps or segment.video.mean_fps
    fps = min(segment.video.mean_fps, sample_fps)
    return round((segment.end_s - segment.start_s) * fps)


class _Counted:
    """Frames that are counted and reported as they pass."""

    def __init__(self, frames: Iterable[Frame], stage: str, report: Report, total: int) -> None:
        self.count = 0
        self._frames, self._stage, self._report, self._total = frames, stage, report, total

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._frames:
            self.count += 1
            self._report(self._stage, self.count, max(self._total, self.count))
            yield frame


def _nothing_kept(tracked: TrackedSegment, counts: UnitCounts) -> NothingKeptError:
    gated = Counter(reason for track in tracked.tracks for reason in track.reason if reason)
    worst = ", ".join(f"{reason} {count}" for reason, count in gated.most_common(2)) or "none"
    known = f" Known of this shot: {tracked.segment.notes}." if tracked.segment.notes else ""
    return NothingKeptError(
        f"{tracked.segment.clip.uri}: {counts.tracks} track(s), {counts.frames_kept} usable frames, "
        f"{counts.pairs_dropped} candidate pairs, none kept (frames gated: {worst}).{known}",
        remedy="See `reason` in the tables `frames` and `pairs`; loosen gates.* or pairs.* if they are too strict.",
    )
