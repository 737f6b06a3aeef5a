"""Video files to upright RGB frames with presentation times.

Times are presentation times in seconds from the clip's first presented frame: never index / fps, which is wrong by
more than a second on variable-frame-rate video. One forward pass, one decoder thread (so that two runs see the same
pixels), one frame in memory at a time.

What `Frame.index` means: files whose packets all carry distinct presentation times are indexed without decoding, and a
frame's index is the rank of its time among all presented packets. It is therefore the same whichever window is asked
for, and a window is reached by seeking to the keyframe before it. Other files are decoded and counted from the start.

Frames whose time does not come after the frame before, and frames the decoder marks as corrupt, are dropped. They are
logged; above `MAX_DROPPED` of what was read the clip is an error.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

from av.video.frame import PictureType, VideoFrame

from pipeline.records import Frame, VideoFacts
from pipeline.video.container import NOT_A_VIDEO, checked_file, typed_errors
from pipeline.video.deinterlace import deinterlaced
from pipeline.video.film_notes import film_notes
from pipeline.video.packet_index import PacketIndex, packet_index
from pipeline.video.pictures import Key, pictures
from pipeline.video.upright import Turn, turn_of, upright_rgb
from schemas.errors import DecodeError

MAX_DROPPED = 0.1
"""Share of frames without a usable time or picture above which a clip is an error."""

_TICK_TOLERANCE = 1e-6
_MAX_ROUNDING_S = 5e-4
"""Matroska rounds times to whole milliseconds. Ticks that are longer hold the film's times exactly."""

_REFERRING = (PictureType.P, PictureType.B, PictureType.S)
"""Kinds of pictures that are predicted from others."""

_logger = logging.getLogger(__name__)


def probe(path: str | os.PathLike[str]) -> VideoFacts:
    """Upright size, mean frame rate, duration and SHA-256 of a video file.

    Reads the whole file once and decodes its first frames. `duration_s` runs from the first frame's presentation to
    the end of the last one's; `mean_fps` is frames over duration, whatever the header says.
    Raises SourceError for a file that is missing or may not be read, DecodeError for anything that is not a decodable
    video: empty, truncated, no video.
    """
    file = checked_file(path)
    with typed_errors(file, "read"), file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    index = packet_index(file)
    first = next(decode(file), None)
    if first is None:
        raise DecodeError(f"{file}: no frame can be decoded.", remedy=NOT_A_VIDEO)
    with contextlib.closing(_timed_frames(file, index, -1)) as timed:
        notes = film_notes(picture for _, _, picture in timed)
    return VideoFacts(
        width_px=first.image.shape[1],
        height_px=first.image.shape[0],
        mean_fps=index.count / index.duration_s,
        duration_s=index.duration_s,
        sha256=sha256,
        notes=notes,
    )


def decode(
    path: str | os.PathLike[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    sample_fps: float | None = None,
    sample_start_s: float = 0.0,
    max_side_px: int | None = None,
) -> Iterator[Frame]:
    """Upright RGB frames with start_s <= time < end_s, in presentation order, times strictly increasing.

    `sample_fps` keeps the first frame at or after every tick, sample_start_s + n / sample_fps on the clip's own clock,
    so a window selects the frames that the whole clip would. `max_side_px` shrinks frames (cheaply) to this longer
    side. Rotation and mirroring from metadata are applied; non-square pixels are made square, interlaced pictures
    whole, HDR and wide gamuts sRGB.

    Raises DecodeError, also after some frames: a stream that breaks off says how many were read.
    """
    file = checked_file(path)
    index = packet_index(file)
    begin = -1 if start_s is None or start_s <= 0 else _tick_from(index, start_s)
    end = math.inf if end_s is None else _tick_from(index, end_s)
    frames_from = functools.partial(_timed_frames, file, index)
    with contextlib.closing(deinterlaced(frames_from, begin, index.time_base, file)) as timed:
        size: tuple[int, int] | None = None
        turn: Turn | None = None
        before: int | None = None
        for number, tick, picture in timed:
            if tick >= end:
                return
            previous = index.tick_before(number) if index.is_complete else before
            before = tick
            if tick < begin or not _is_sampled(index, tick, previous, sample_fps, sample_start_s):
                continue
            pts_s = index.seconds(tick)
            if size is not None and size != (picture.width, picture.height):
                raise DecodeError(
                    f"{file}: the picture changes size from {size[0]}x{size[1]} to {picture.width}x{picture.height} "
                    f"at {pts_s:.3f} s.",
                    remedy="Cut the file there, or scale it to one size.",
                )
            size = picture.width, picture.height
            # Asked once: side data ties a picture into a reference cycle that would keep its pixels for long.
            turn = turn or turn_of(picture)
            image = upright_rgb(picture, turn, index.pixel_aspect, max_side_px, file)
            yield Frame(index=number, pts_s=pts_s, image=image)


def _tick_from(index: PacketIndex, time_s: float) -> float:
    return index.tick_from(time_s) if math.isfinite(time_s) else time_s


def _timed_frames(
    file: Path, index: PacketIndex, begin: float
) -> Generator[tuple[int, int, VideoFrame], None, None]:
    """(index, tick, picture) of all frames from tick `begin` or earlier, strictly increasing in time."""
    if not index.is_complete or begin <= 0:
        yield from _in_order(file, pictures(file), index)
    elif begin < math.inf and (first := index.first_from(int(begin))) is not None:
        yield from _in_order(file, _pictures_from(file, index, first), index)


def _pictures_from(file: Path, index: PacketIndex, first: int) -> Generator[VideoFrame, None, None]:
    """Pictures from the one shown at `first` on, and where no seeking leads to it all pictures."""
    for key in index.keys_before(first):
        with contextlib.closing(pictures(file, key)) as delivered:
            head = _sought(delivered, key, first)
            if head is not None:
                yield head
                yield from delivered
                return
    yield from pictures(file)


def _sought(delivered: Iterable[VideoFrame], key: Key, first: int) -> VideoFrame | None:
    """The picture shown at `first`, decoded from `key`; None where that leads elsewhere.

    The keyframe itself has to be delivered, and as a picture that refers to no other: an encoder that refreshes
    pictures a stripe at a time marks places to begin at from which whole pictures come only later. Pictures that are
    shown before the keyframe may refer to what lies before it; they are not asked for.
    """
    with contextlib.suppress(DecodeError):
        is_begun = False
        for picture in delivered:
            if picture.pts is None or picture.pts < key.pts:
                continue
            if not is_begun and (
                picture.pts != key.pts or picture.pict_type in _REFERRING or picture.is_corrupt
            ):
                return None
            is_begun = True
            if picture.pts >= first:
                return picture if picture.pts == first else None
    return None


def _in_order(
    file: Path, delivered: Iterable[VideoFrame], index: PacketIndex
) -> Iterator[tuple[int, int, VideoFrame]]:
    kept, dropped = 0, 0
    origin = int(index.pts[0]) if index.is_complete else None
    last: int | None = None
    for picture in delivered:
        pts = _presentation_time(picture, index, last)
        if pts is not None and index.is_complete and pts < index.pts[0]:
            continue  # shown before the first keyframe, and it cannot be decoded
        rank = index.rank(pts) if pts is not None and index.is_complete else kept
        if pts is None or rank is None or picture.is_corrupt or (last is not None and pts <= last):
            dropped += 1
            continue
        last = pts
        if origin is None:
            origin = pts
        yield rank, pts - origin, picture
        kept += 1
    if not kept and not dropped:
        raise DecodeError(f"{file}: no frame can be decoded.", remedy=NOT_A_VIDEO)
    if dropped > MAX_DROPPED * (kept + dropped):
        raise DecodeError(
            f"{file}: {dropped} of {kept + dropped} frames are corrupt or have no increasing presentation time.",
            remedy="Re-encode it, for example `ffmpeg -fflags +genpts -i IN OUT.mp4`.",
        )
    if dropped:
        _logger.warning("%s: dropped %d of %d frames: corrupt or out of order", file, dropped, kept + dropped)


def _presentation_time(picture: VideoFrame, index: PacketIndex, last: int | None) -> int | None:
    """In units of the time base. Pictures come in the order they are shown: one each time one is decoded."""
    if not index.is_by_dts:
        return picture.pts
    if picture.dts is None and last is not None:  # what the decoder held back at the end
        return last + index.frame_ticks
    return picture.dts


def _is_sampled(
    index: PacketIndex, tick: int, previous: int | None, sample_fps: float | None, sample_start_s: float
) -> bool:
    """Whether sample_start_s + n / sample_fps lies in (previous, tick] for a whole n, give or take how times are
    rounded to the film's time base."""
    if sample_fps is None or previous is None:
        return True
    rounding_s = min(float(index.time_base) / 2, _MAX_ROUNDING_S)
    now, before = (
        math.floor((index.seconds(at) + rounding_s - sample_start_s) * sample_fps + _TICK_TOLERANCE)
        for at in (tick, previous)
    )
    return now > before
