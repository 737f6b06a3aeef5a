"""The method as plain functions: a segment in, rows out. No framework; Beam only carries these about.

process_segment = track_segment (pixels -> bodies) + render_segment (bodies -> refined bodies, maps, pairs, samples)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from pipeline.config import Settings
from pipeline.heap import return_free_memory
from pipeline.records import ClipRef, Failure, Frame, Segment, Track, TrackedSegment, UnitCounts
from pipeline.refine.refinement import refined_track
from pipeline.rows import Emit, clip_row, failure_row, frame_row, unread_clip_row
from pipeline.samples import render_target, sample_row
from pipeline.toolbox import Toolbox
from pipeline.video.crops import crop_image, decode_image, encode_jpeg
from pipeline.video.decode import decode
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments, local_path
from pipeline.views import Views
from schemas.conventions import IMAGE_PX
from schemas.errors import HumandepthError, NobodyFoundError, NothingKeptError

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
    frames = _Counted(_frames(segment, settings, path), "track", report, _frame_estimate(segment, settings))
    try:
        tracks = toolbox.tracker.track(
            frames, unit_id=segment.unit_id, focal_px=segment.clip.focal_px, report=report
        )
        return_free_memory()
        if not tracks:
            raise NobodyFoundError(
                f"{segment.clip.uri}: nobody could be tracked in {frames.count} frames "
                f"({segment.start_s:.2f}-{segment.end_s:.2f} s).",
                remedy="Use clips with a person in full view for half a second or more.",
            )
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
    segment, failure = tracked.segment, tracked.failure
    counts = UnitCounts(unit_id=segment.unit_id, outcome="kept", tracks=len(tracked.tracks))
    jpegs: dict[int, dict[int, bytes]] = {}
    if failure is None:
        try:
            jpegs = _cropped_frames(tracked, settings, report, path)
            tracked = _refined(tracked, jpegs, toolbox, settings, report)
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


def _refined(
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
        views = Views(track, jpegs[track.person_index], toolbox.body, toolbox.mesh, toolbox.rasterizer)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotoBody:
    """One person of a photo, as a sample without references."""

    image: np.ndarray
    """(IMAGE_PX, IMAGE_PX, 3) uint8 sRGB crop."""
    K: np.ndarray
    """(3, 3) intrinsics of the crop at IMAGE_PX."""
    input_depth: np.ndarray
    """(IMAGE_PX, IMAGE_PX) float32 metres, 0 = background."""
    base_depth: np.ndarray
    """(MAP_PX, MAP_PX) float32 metres, 0 = background."""


def photo_bodies(
    image: np.ndarray, *, focal_px: float | None = None, settings: Settings | None = None
) -> list[PhotoBody]:
    """Every person in one photo (H, W, 3) uint8 with the base depth of their body, by the steps videos go through.

    Raises NobodyFoundError when there is nobody. Gates of `frames` do not apply: a photo has no other frame.
    """
    settings = settings or Settings()
    settings = replace(settings, tracking=replace(settings.tracking, min_track_frames=1))
    toolbox = Toolbox(settings)
    frame = Frame(index=0, pts_s=0.0, image=image)
    tracks = toolbox.tracker.track([frame], unit_id="photo", focal_px=focal_px)
    if not tracks:
        raise NobodyFoundError(
            "nobody was found in the photo.", remedy="Use a photo with a person in full view."
        )
    bodies = []
    for track in tracks:
        crop = crop_image(image, track.crop_px[0], IMAGE_PX)
        views = Views(track, {0: encode_jpeg(crop, 100)}, toolbox.body, toolbox.mesh, toolbox.rasterizer)
        bodies.append(_photo_body(views, track, 0, crop))
    return bodies


def video_bodies(
    path: str, *, focal_px: float | None = None, every: int = 1, settings: Settings | None = None
) -> Iterator[tuple[str, PhotoBody]]:
    """Every person in every `every`-th usable frame of a video, named `<track>/<frame>`, track after track.

    Bodies are refined as `run` refines them, so that a video's depths are those that `run` would store.

    Raises SourceError or DecodeError when it cannot be read, NobodyFoundError or NothingKeptError when nobody can be
    used.
    """
    settings = settings or Settings()
    toolbox, count = Toolbox(settings), 0
    (clip,) = clips_from_arguments([path], focal_px)
    for segment in segments_of(clip, settings.video):
        tracked = track_segment(segment, toolbox, settings)
        jpegs = _cropped_frames(tracked, settings, silent, None) if tracked.tracks else {}
        for track in _refined(tracked, jpegs, toolbox, settings, silent).tracks:
            views = Views(track, jpegs[track.person_index], toolbox.body, toolbox.mesh, toolbox.rasterizer)
            for at in map(int, np.flatnonzero(track.kept)[::every]):
                count += 1
                image = decode_image(views.jpeg(at))
                yield (
                    f"{track.track_id}/{int(track.frame_index[at]):06d}",
                    _photo_body(views, track, at, image),
                )
                views.forget_before(float(track.pts_s[at]) + 1e-6)
    if not count:
        raise NobodyFoundError(
            f"{path}: nobody could be used in any frame.", remedy="Use a video with a person in full view."
        )


def _photo_body(views: Views, track: Track, at: int, image: np.ndarray) -> PhotoBody:
    return PhotoBody(
        image=image,
        K=track.K[at],
        input_depth=views.raster_at(at, IMAGE_PX).depth.astype(np.float32),
        base_depth=views[at].raster.depth.astype(np.float32),
    )


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


def _cropped_frames(
    tracked: TrackedSegment, settings: Settings, report: Report, path: str | None
) -> dict[int, dict[int, bytes]]:
    """JPEG crops by person and frame index: one pass over the pixels, only kept frames, bounded by their bytes."""
    wanted: dict[int, list[tuple[Track, int]]] = {}
    for track in tracked.tracks:
        for at in np.flatnonzero(track.kept):
            wanted.setdefault(int(track.frame_index[at]), []).append((track, int(at)))
    jpegs: dict[int, dict[int, bytes]] = {track.person_index: {} for track in tracked.tracks}
    for frame in _Counted(_frames(tracked.segment, settings, path), "crop", report, tracked.frames_read):
        for track, position in wanted.get(frame.index, ()):
            crop = crop_image(frame.image, track.crop_px[position], IMAGE_PX)
            jpegs[track.person_index][frame.index] = encode_jpeg(crop, settings.pairs.jpeg_quality)
    return jpegs


def _frames(segment: Segment, settings: Settings, path: str | None) -> Iterator[Frame]:
    return decode(
        path or local_path(segment.clip.uri),
        start_s=segment.start_s,
        end_s=segment.end_s,
        sample_fps=settings.video.sample_fps,
    )


def _frame_estimate(segment: Segment, settings: Settings) -> int:
    fps = min(segment.video.mean_fps, settings.video.sample_fps or segment.video.mean_fps)
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
    return NothingKeptError(
        f"{tracked.segment.clip.uri}: {counts.tracks} track(s), {counts.frames_kept} usable frames, "
        f"{counts.pairs_dropped} candidate pairs, none kept (frames gated: {worst}).",
        remedy="See `reason` in the tables `frames` and `pairs`; loosen gates.* or pairs.* if they are too strict.",
    )
