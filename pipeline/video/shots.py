"""Shots and the windows they are worked on in: a clip becomes Segments that never cross a cut."""

from __future__ import annotations

import bisect
import itertools
import math
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

import cv2

from pipeline.config import VideoSettings
from pipeline.records import ClipRef, Frame, Segment, VideoFacts
from pipeline.video.cadence import AS_IT_IS, Cadence, cadence_of
from pipeline.video.decode import Wanted, decode, decode_parts, decode_stored, probe
from pipeline.video.motion import Motion
from pipeline.video.picture_parts import PicturePart
from pipeline.video.source import local_path
from schemas.errors import NothingKeptError, SourceError

DETECTION_PX = 256
"""Longer side of the frames that cuts are looked for in: the detector compares averages over the picture."""

MAX_PAUSE_S = 2.0
"""Nobody can be followed over a longer time without a frame. Damaged files claim pauses of years."""

_ONE_FRAME_S = 1e-3
_ROUNDING_S = 1e-6
"""A shot whose length is the minimum is kept however its ends are rounded."""


def segments_of(clip: ClipRef, settings: VideoSettings) -> list[Segment]:
    """The clip's segments: shots of at least `min_shot_s`, in equal windows of at most `longest_unit_s`.

    Neighbouring windows share their boundary, so every frame of a shot belongs to exactly one. Costs one pass over
    the pixels. Raises SourceError or DecodeError when the clip cannot be read to its end, NothingKeptError when
    every shot is too short.
    """
    path = local_path(clip.uri)
    video = probe(path)
    begin_s = _checked_start(clip, video.duration_s)
    times_s = array("d")
    motion = Motion()
    frames = decode(path, start_s=begin_s, end_s=clip.end_s, max_side_px=DETECTION_PX)
    starts = shot_starts(motion.watching(_noting_times(frames, times_s)), settings)
    end_s = min(math.inf if clip.end_s is None else clip.end_s, _end_of(times_s, video.duration_s))
    shots = [
        (start_s, _end_before_gap(start_s, stop_s, times_s))
        for start_s, stop_s in itertools.pairwise([*starts, end_s])
    ]
    segments = [
        Segment(
            clip=clip,
            unit_id=f"{clip.clip_id}-s{shot:03d}-w{window:03d}",
            shot_index=shot,
            start_s=window_start_s,
            end_s=window_end_s,
            video=video,
            sample_fps=cadence.sample_fps,
            sample_start_s=cadence.start_s,
            notes=cadence.note,
        )
        for shot, (start_s, stop_s) in enumerate(shots)
        if stop_s - start_s >= settings.min_shot_s - _ROUNDING_S
        for cadence in [_cadence(motion, start_s, stop_s, video, settings)]
        for window, (window_start_s, window_end_s) in enumerate(
            equal_windows(start_s, stop_s, settings.longest_unit_s(cadence.sample_fps or video.mean_fps))
        )
    ]
    if not segments:
        longest_s = max((stop_s - start_s for start_s, stop_s in shots), default=0.0)
        raise NothingKeptError(
            f"{clip.uri}: none of {len(shots)} shots lasts {settings.min_shot_s:g} s (the longest {longest_s:.2f} s).",
            remedy="Give a longer clip, or lower video.min_shot_s.",
        )
    return segments


def shot_starts(frames: Iterable[Frame], settings: VideoSettings) -> list[float]:
    """Presentation times (seconds) at which shots begin; the first is the first frame's. Empty without frames.

    Hard cuts by PySceneDetect's content detector: a cut lies before a frame whose mean HSV difference to the frame
    before reaches `cut_threshold`. Every such frame counts, so a flash is a short shot of its own and no shot holds
    a cut; slow dissolves are not found. After a pause of more than MAX_PAUSE_S a new shot begins as well.
    """
    # The detector's own minimum length would merge neighbouring cuts into one shot that crosses them.
    # Imported where it works: 0.4 s of the start of every process that only names these functions.
    from scenedetect import ContentDetector, FrameTimecode

    detector = ContentDetector(threshold=settings.cut_threshold, min_scene_len=0)
    starts: list[float] = []
    before_s = 0.0
    for position, frame in enumerate(frames):
        # It only hands our position back: times stay the decoder's, whatever the frame rate does.
        is_cut = detector.process_frame(
            FrameTimecode(position, fps=30.0), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        )
        if is_cut or not position or frame.pts_s - before_s > MAX_PAUSE_S:
            starts.append(frame.pts_s)
        before_s = frame.pts_s
    return starts


def equal_windows(start_s: float, end_s: float, longest_s: float) -> list[tuple[float, float]]:
    """[start_s, end_s) cut into the fewest equal windows of at most `longest_s`."""
    count = max(1, math.ceil((end_s - start_s) / longest_s - 1e-9))
    bounds = [start_s + (end_s - start_s) * at / count for at in range(count)] + [end_s]
    return list(itertools.pairwise(bounds))


def frames_of(segment: Segment, settings: VideoSettings, path: str | None = None) -> Iterator[Frame]:
    """The frames of a segment that are worked on. `path` is where the clip lies, if not at its own uri."""
    return decode_stored(path or local_path(segment.clip.uri), **_window(segment, settings))


def parts_of(
    segment: Segment, settings: VideoSettings, wanted: Wanted, path: str | None = None
) -> Iterator[tuple[int, list[PicturePart]]]:
    """Of the same frames their index and the parts that are wanted."""
    return decode_parts(path or local_path(segment.clip.uri), wanted, **_window(segment, settings))


def _window(segment: Segment, settings: VideoSettings) -> dict[str, Any]:
    return {
        "start_s": segment.start_s,
        "end_s": segment.end_s,
        "sample_fps": settings.sample_fps or segment.sample_fps,
        "sample_start_s": 0.0 if settings.sample_fps else segment.sample_start_s,
    }


def _cadence(
    motion: Motion, start_s: float, stop_s: float, video: VideoFacts, settings: VideoSettings
) -> Cadence:
    if settings.cadence == "off" or settings.sample_fps is not None:
        return AS_IT_IS
    return cadence_of(motion.between(start_s, stop_s), max(video.width_px, video.height_px))


def _noting_times(frames: Iterable[Frame], times_s: array[float]) -> Iterator[Frame]:
    for frame in frames:
        times_s.append(frame.pts_s)
        yield frame


def _end_of(times_s: array[float], duration_s: float) -> float:
    """Where a film ends. Its packets may give too short a duration where some of them have no time."""
    if not times_s or times_s[-1] < duration_s:
        return duration_s
    return times_s[-1] + _mean_frame_s(times_s)


def _end_before_gap(start_s: float, stop_s: float, times_s: array[float]) -> float:
    """Where a shot ends: at `stop_s`, or one frame after its last frame where a pause follows."""
    first, after = bisect.bisect_left(times_s, start_s), bisect.bisect_left(times_s, stop_s)
    last_s = times_s[after - 1]
    if stop_s - last_s <= MAX_PAUSE_S:
        return stop_s
    return last_s + _mean_frame_s(times_s[first:after])


def _mean_frame_s(times_s: array[float]) -> float:
    """How long a frame is shown on average; of a single frame nothing is known, but it is shown."""
    return (times_s[-1] - times_s[0]) / (len(times_s) - 1) if len(times_s) > 1 else _ONE_FRAME_S


def _checked_start(clip: ClipRef, duration_s: float) -> float:
    begin_s = 0.0 if clip.start_s is None else clip.start_s
    end_s = duration_s if clip.end_s is None else min(clip.end_s, duration_s)
    if not 0 <= begin_s < end_s:
        raise SourceError(
            f"{clip.uri}: the window from {clip.start_s} to {clip.end_s} s is outside its {duration_s:.2f} s.",
            remedy="Give 0 <= start_s < end_s, both inside the clip.",
        )
    return begin_s
