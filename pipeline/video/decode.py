"""Video files to upright RGB frames with presentation times.

Times are presentation times in seconds from the clip's first presented frame: never index / fps, which is wrong by
more than a second on variable-frame-rate video. One forward pass, one decoder thread (so that two runs see the same
pixels), one frame in memory at a time.

What `Frame.index` means: files whose packets all carry distinct presentation times are indexed without decoding, and a
frame's index is the rank of its time among all presented packets. It is therefore the same whichever window is asked
for, and a window is reached by seeking to a keyframe before it. Other files are decoded and counted from the start;
among them AVI with B-frames, whose pictures are shown one by one at the times at which packets are decoded.

Frames whose time does not come after the frame before, and frames the decoder marks as corrupt, are dropped. They are
logged; above `MAX_DROPPED` of what was read the clip is an error. Pictures that are shown before the keyframe that
decoding begins at, and refer to others before it (an open GOP, a broadcast cut anywhere), are not part of the window,
nor of the film where it begins there.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path

from av.video.frame import PictureType, VideoFrame

from pipeline.records import Frame, VideoFacts
from pipeline.video.container import NOT_A_VIDEO, checked_file, typed_errors
from pipeline.video.deinterlace import deinterlaced
from pipeline.video.film_notes import SEPARATOR, film_notes
from pipeline.video.lens_metadata import lens_of_film
from pipeline.video.packet_index import PacketIndex, packet_index
from pipeline.video.picture_parts import Box, PicturePart
from pipeline.video.pictures import Key, pictures
from pipeline.video.stored_frame import Canvas, StoredFrame
from pipeline.video.upright import Turn, turn_of, upright_part, upright_rgb, upright_size
from schemas.errors import DecodeError

Wanted = Callable[[int, tuple[int, int]], Sequence[Box]]
"""Boxes of the frame with an index, which has so many rows and columns."""
MAX_DROPPED = 0.1
"""Share of frames without a usable time or picture above which a clip is an error."""

_TICK_TOLERANCE = 1e-6
_REFERRING = (PictureType.P, PictureType.B, PictureType.S)
"""Kinds of pictures that are predicted from others."""

_logger = logging.getLogger(__name__)


def probe(path: str | os.PathLike[str]) -> VideoFacts:
    """Upright size, mean frame rate, duration, SHA-256 and stated lens of a video file.

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
    with typed_errors(file, "read"):
        lens = lens_of_film(file, (first.image.shape[0], first.image.shape[1]))
    return VideoFacts(
        width_px=first.image.shape[1],
        height_px=first.image.shape[0],
        mean_fps=index.count / index.duration_s,
        duration_s=index.duration_s,
        sha256=sha256,
        notes=SEPARATOR.join(filter(None, [notes, lens.note])),
        focal_px=lens.focal_px,
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
    with contextlib.closing(_sampled(file, start_s, end_s, sample_fps, sample_start_s)) as sampled:
        for number, pts_s, picture, turn in sampled:
            image = upright_rgb(picture, turn, packet_index(file).pixel_aspect, max_side_px, file)
            yield Frame(index=number, pts_s=pts_s, image=image)


def decode_stored(
    path: str | os.PathLike[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    sample_fps: float | None = None,
    sample_start_s: float = 0.0,
) -> Iterator[Frame]:
    """The frames that `decode` yields at full size, each made RGB only where it is looked at, bit for bit."""
    file, canvas = checked_file(path), Canvas()
    with contextlib.closing(_sampled(file, start_s, end_s, sample_fps, sample_start_s)) as sampled:
        for number, pts_s, picture, turn in sampled:
            aspect = packet_index(file).pixel_aspect
            yield StoredFrame(
                index=number,
                pts_s=pts_s,
                hw=upright_size(picture, turn, aspect),
                part_of=functools.partial(upright_part, picture, turn, aspect, file=file),
                canvas=canvas,
            )


def decode_parts(
    path: str | os.PathLike[str],
    wanted: Wanted,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    sample_fps: float | None = None,
    sample_start_s: float = 0.0,
) -> Iterator[tuple[int, list[PicturePart]]]:
    """Of every frame that `decode` yields its index and the parts of it that are wanted, bit for bit.

    `wanted(index, hw)` are boxes of an upright frame of that size. What nobody wants is decoded and nothing more.
    """
    file = checked_file(path)
    with contextlib.closing(_sampled(file, start_s, end_s, sample_fps, sample_start_s)) as sampled:
        for number, _, picture, turn in sampled:
            aspect = packet_index(file).pixel_aspect
            boxes = wanted(number, upright_size(picture, turn, aspect))
            yield number, [upright_part(picture, turn, aspect, box, file) for box in boxes]


def _sampled(
    file: Path, start_s: float | None, end_s: float | None, sample_fps: float | None, sample_start_s: float
) -> Generator[tuple[int, float, VideoFrame, Turn], None, None]:
    """(index, seconds, picture, how it is turned) of the frames of a window that are worked on."""
    index = packet_index(file)
    begin = -math.inf if start_s is None else start_s
    end = math.inf if end_s is None else end_s
    frames_from = functools.partial(_timed_frames, file, index)
    with contextlib.closing(deinterlaced(frames_from, begin, file)) as timed:
        size: tuple[int, int] | None = None
        turn: Turn | None = None
        before_s = -math.inf
        for number, pts_s, picture in timed:
            if pts_s >= end:
                return
            previous_s = index.time_before(number) if index.is_complete else before_s
            before_s = pts_s
            if pts_s < begin or not _is_sampled(
                pts_s - sample_start_s, previous_s - sample_start_s, sample_fps, index.rounding_s
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
            yield number, pts_s, picture, turn


def _timed_frames(
    file: Path, index: PacketIndex, begin_s: float
) -> Generator[tuple[int, float, VideoFrame], None, None]:
    """(index, seconds, picture) of all frames from `begin_s` or earlier, strictly increasing in time."""
    first = index.first_from(begin_s) if index.is_complete else None
    delivered = pictures(file) if first is None else _pictures_from(file, index, first)
    with contextlib.closing(delivered):
        yield from _in_order(file, delivered, index)


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
) -> Iterator[tuple[int, float, VideoFrame]]:
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
        yield rank, index.seconds(pts - origin), picture
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


def _is_sampled(pts_s: float, previous_s: float, sample_fps: float | None, rounding_s: float = 0.0) -> bool:
    """Whether a multiple of 1 / sample_fps lies in (previous_s, pts_s], give or take how far times are rounded."""
    if sample_fps is None or previous_s == -math.inf:
        return True
    return math.floor((pts_s + rounding_s) * sample_fps + _TICK_TOLERANCE) > math.floor(
        (previous_s + rounding_s) * sample_fps + _TICK_TOLERANCE
    )
