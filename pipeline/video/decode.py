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
import itertools
import logging
import math
import os
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path

import av.error
from av.video.frame import VideoFrame

from pipeline.records import Frame, VideoFacts
from pipeline.video.container import (
    INCOMPLETE,
    MAX_PIXELS,
    NOT_A_VIDEO,
    checked_file,
    opened,
    plain,
    typed_errors,
)
from pipeline.video.deinterlace import deinterlaced
from pipeline.video.film_notes import film_notes
from pipeline.video.packet_index import PacketIndex, packet_index
from pipeline.video.upright import Turn, turn_of, upright_rgb
from schemas.errors import DecodeError

MAX_DROPPED = 0.1
"""Share of frames without a usable time or picture above which a clip is an error."""

_TICK_TOLERANCE = 1e-6
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
    with contextlib.closing(_timed_frames(file, index, -math.inf)) as timed:
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
    begin = -math.inf if start_s is None else start_s
    end = math.inf if end_s is None else end_s
    timed_frames = functools.partial(_timed_frames, file, index)
    with contextlib.closing(deinterlaced(timed_frames, begin, file)) as timed:
        size: tuple[int, int] | None = None
        turn: Turn | None = None
        before_s = -math.inf
        for number, pts_s, picture in timed:
            if pts_s >= end:
                return
            previous_s = index.time_before(number) if index.is_complete else before_s
            before_s = pts_s
            if pts_s < begin or not _is_sampled(
                pts_s - sample_start_s, previous_s - sample_start_s, sample_fps
            ):
                continue
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


def _timed_frames(
    file: Path, index: PacketIndex, begin_s: float
) -> Generator[tuple[int, float, VideoFrame], None, None]:
    """(index, seconds, picture) of all frames from `begin_s` or earlier, strictly increasing in time."""
    seek = index.seek_for(begin_s)
    if seek is not None:
        pictures = _pictures(file, index, seek)
        head = next(pictures, None)
        if head is not None and head[0] is not None and head[0] <= index.first_from(begin_s):
            yield from _in_order(file, itertools.chain([head], pictures), index)
            return
        pictures.close()  # this container's seeking is off: decode from the beginning
    yield from _in_order(file, _pictures(file, index, None), index)


def _in_order(
    file: Path, pictures: Iterable[tuple[int | None, VideoFrame]], index: PacketIndex
) -> Iterator[tuple[int, float, VideoFrame]]:
    kept, dropped = 0, 0
    origin = int(index.pts[0]) if index.is_complete else None
    last: int | None = None
    for pts, picture in pictures:
        rank = index.rank(pts) if pts is not None and index.is_complete else kept
        if pts is None or rank is None or picture.is_corrupt or (last is not None and pts <= last):
            dropped += 1
            continue
        last = pts
        if origin is None:
            origin = pts
        yield rank, float((pts - origin) * index.time_base), picture
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


def _pictures(
    file: Path, index: PacketIndex, seek: int | None
) -> Generator[tuple[int | None, VideoFrame], None, None]:
    """(pts, picture) as the decoder delivers them."""
    count = 0
    with opened(file) as (container, stream):
        try:
            if seek is not None:
                container.seek(seek, stream=stream, backward=True)
            for picture in container.decode(stream):
                count += 1
                yield picture.pts, picture
        except av.error.ArgumentError as error:
            raise DecodeError(
                f"{file}: the decoder refuses the picture after {count} frames ({plain(error)}): it is damaged, or "
                f"has more than {MAX_PIXELS / 1e6:.0f} million pixels.",
                remedy="Scale the video down, or re-encode it.",
            ) from None
        except (av.error.FFmpegError, OSError, MemoryError) as error:
            after = "" if seek is None else f" from the keyframe at {index.seconds(seek):.2f} s"
            raise DecodeError(
                f"{file}: breaks off after {count} frames{after}: {plain(error)}.", remedy=INCOMPLETE
            ) from None


def _is_sampled(pts_s: float, previous_s: float, sample_fps: float | None) -> bool:
    """Whether a multiple of 1 / sample_fps lies in (previous_s, pts_s]."""
    if sample_fps is None or previous_s == -math.inf:
        return True
    return math.floor(pts_s * sample_fps + _TICK_TOLERANCE) > math.floor(
        previous_s * sample_fps + _TICK_TOLERANCE
    )
