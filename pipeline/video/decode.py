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
import hashlib
import itertools
import logging
import math
import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation
from av.video.stream import VideoStream

from pipeline.records import Frame, VideoFacts
from schemas.errors import DecodeError

MAX_DROPPED = 0.1
"""Share of frames without a usable time or picture above which a clip is an error."""

MAX_PIXELS = 8192 * 8192
"""Larger frames are refused: one of them already takes 200 MB."""

MAX_FRAME_S = 2.0
"""A last frame that claims to be shown longer than this is given the mean duration instead."""

MAX_PIXEL_ASPECT = 4.0
"""Non-square pixels are made square up to this ratio; beyond it the header is taken to be wrong."""

# Only containers that hold their own frames. Play lists, text "videos" and the like could open other files.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,mpegtsraw,flv,live_flv,asf,asf_o,ogg,mxf,gxf,nut,"
    "ivf,rm,dv,gif,apng,h264,hevc,m4v,mjpeg,obu,av1,vc1,wtv,yuv4mpegpipe,swf,mp3,wav,aac,flac,w64,aiff,amr,ac3"
)
_OPEN_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}

_TICK_TOLERANCE = 1e-6
_NOT_A_VIDEO = "Give a video file (mp4, mov, mkv, webm, avi, ...)."
_INCOMPLETE = "Get the complete file again, or repair it with `ffmpeg -i IN -c copy OUT`."
_logger = logging.getLogger(__name__)


def probe(path: str | os.PathLike[str]) -> VideoFacts:
    """Upright size, mean frame rate, duration and SHA-256 of a video file.

    Reads the whole file once and decodes its first frame. `duration_s` runs from the first frame's presentation to
    the end of the last one's; `mean_fps` is frames over duration, whatever the header says.
    Raises DecodeError for anything that is not a decodable video: missing, no permission, empty, truncated, no video.
    """
    file = _checked_file(path)
    with _typed_errors(file, "read"), file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    index = _packet_index(file)
    first = next(decode(file), None)
    if first is None:
        raise DecodeError(f"{file}: no frame can be decoded.", remedy=_NOT_A_VIDEO)
    return VideoFacts(
        width_px=first.image.shape[1],
        height_px=first.image.shape[0],
        mean_fps=index.count / index.duration_s,
        duration_s=index.duration_s,
        sha256=sha256,
    )


def decode(
    path: str | os.PathLike[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    sample_fps: float | None = None,
    max_side_px: int | None = None,
) -> Iterator[Frame]:
    """Upright RGB frames with start_s <= time < end_s, in presentation order, times strictly increasing.

    `sample_fps` keeps the first frame at or after every multiple of 1 / sample_fps on the clip's own clock, so a
    window selects the frames that the whole clip would. `max_side_px` shrinks frames (cheaply) to this longer side.
    Rotation and mirroring from metadata are applied; non-square pixels are made square.

    Raises DecodeError, also after some frames: a stream that breaks off says how many were read.
    """
    file = _checked_file(path)
    index = _packet_index(file)
    begin = -math.inf if start_s is None else start_s
    end = math.inf if end_s is None else end_s
    with contextlib.closing(_timed_frames(file, index, begin)) as timed:
        size: tuple[int, int] | None = None
        turn: _Turn | None = None
        before_s = -math.inf
        for number, pts_s, picture in timed:
            if pts_s >= end:
                return
            previous_s = index.time_before(number) if index.is_complete else before_s
            before_s = pts_s
            if pts_s < begin or not _is_sampled(pts_s, previous_s, sample_fps):
                continue
            if size is not None and size != (picture.width, picture.height):
                raise DecodeError(
                    f"{file}: the picture changes size from {size[0]}x{size[1]} to {picture.width}x{picture.height} "
                    f"at {pts_s:.3f} s.",
                    remedy="Cut the file there, or scale it to one size.",
                )
            size = picture.width, picture.height
            # Asked once: side data ties a picture into a reference cycle that would keep its pixels for long.
            turn = turn or _turn_of(picture)
            image = _upright_rgb(picture, turn, index.pixel_aspect, max_side_px, file)
            yield Frame(index=number, pts_s=pts_s, image=image)


@dataclass(frozen=True, slots=True, eq=False)
class _PacketIndex:
    """What the container says about its presented video packets, without decoding any."""

    count: int
    """Presented packets, with a time or without."""
    pts: np.ndarray
    """(N,) int64 sorted presentation times in units of `time_base`, of the packets that have one; at least one."""
    key_pts: np.ndarray
    """(M,) int64 presentation times of keyframes, increasing."""
    key_seek: np.ndarray
    """(M,) int64 where to seek for each: never later than its packet in any container's own clock."""
    time_base: Fraction
    duration_s: float
    pixel_aspect: Fraction | None
    """Width over height of a stored pixel; None where the header does not say."""
    is_complete: bool
    """All packets have times, all distinct: `pts` numbers the frames."""

    def seconds(self, pts: int) -> float:
        return float((pts - int(self.pts[0])) * self.time_base)

    def rank(self, pts: int) -> int | None:
        at = int(np.searchsorted(self.pts, pts))
        return at if at < len(self.pts) and self.pts[at] == pts else None

    def time_before(self, number: int) -> float:
        return self.seconds(int(self.pts[number - 1])) if number > 0 else -math.inf

    def seek_for(self, begin_s: float) -> int | None:
        """Where to seek so that no frame at or after `begin_s` is missed; None: start at the beginning."""
        if not self.is_complete or not len(self.key_pts) or begin_s <= 0:
            return None
        first = self.first_from(begin_s)
        at = int(np.searchsorted(self.key_pts, first, side="right")) - 1
        return int(self.key_seek[at]) if at > 0 else None

    def first_from(self, begin_s: float) -> int:
        """Presentation time of the first frame at or after `begin_s` (the last frame if there is none)."""
        wanted = int(self.pts[0]) + math.ceil(Fraction(min(begin_s, self.duration_s)) / self.time_base)
        return int(self.pts[min(int(np.searchsorted(self.pts, wanted)), len(self.pts) - 1)])


def _packet_index(file: Path) -> _PacketIndex:
    status = file.stat()
    return _read_packet_index(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)  # windows of one clip share it; size and time make a changed file another key
def _read_packet_index(file: Path, size_bytes: int, modified_ns: int) -> _PacketIndex:
    pts: list[int | None] = []
    keys: list[tuple[int, int]] = []
    last_duration, broken_at = 0, -1
    with _typed_errors(file, "read"), _opened(file) as (container, stream):
        if "mp4" in container.format.name:
            _check_boxes(file, size_bytes)
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            broken_at = len(pts) if packet.is_corrupt else broken_at
            pts.append(packet.pts)
            last_duration = packet.duration or last_duration
            if packet.is_keyframe and packet.pts is not None:
                keys.append((packet.pts, packet.pts if packet.dts is None else min(packet.pts, packet.dts)))
        time_base = stream.time_base
        declared_s, frames_declared = _declared_duration_s(container, stream), stream.frames
        nominal, pixel_aspect = stream.average_rate, stream.sample_aspect_ratio
    if not pts or time_base is None:
        raise DecodeError(f"{file}: the video stream holds no frames.", remedy=_NOT_A_VIDEO)
    if broken_at == len(pts) - 1:
        raise DecodeError(f"{file}: truncated: breaks off inside packet {len(pts)}.", remedy=_INCOMPLETE)
    known = np.array(sorted(value for value in pts if value is not None), dtype=np.int64)
    is_complete = len(known) == len(pts) and bool((np.diff(known) > 0).all())
    if len(known) >= 2 and known[-1] > known[0]:
        span_s = float((int(known[-1]) - int(known[0])) * time_base)
        frame_s = float(last_duration * time_base)
        duration_s = span_s + (frame_s if 0 < frame_s <= MAX_FRAME_S else span_s / (len(known) - 1))
    else:
        duration_s = len(pts) / float(nominal) if nominal else len(pts) / 30
    _check_length(file, len(pts), frames_declared, duration_s, declared_s)
    keys.sort()
    return _PacketIndex(
        count=len(pts),
        pts=known if len(known) else np.zeros(1, np.int64),
        key_pts=np.array([key for key, _ in keys], dtype=np.int64),
        key_seek=np.array([seek for _, seek in keys], dtype=np.int64),
        time_base=time_base,
        duration_s=duration_s,
        pixel_aspect=pixel_aspect,
        is_complete=is_complete,
    )


def _check_boxes(file: Path, size_bytes: int) -> None:
    """An MP4 file is a row of boxes that begin with their length: one that reaches past the end was cut short."""
    with file.open("rb") as stream:
        start = 0
        while len(head := stream.read(16)) >= 8:
            length = int.from_bytes(head[:4])
            if length == 1:  # the real length follows in 64 bits
                length = int.from_bytes(head[8:])
            kind = head[4:8]
            if length < 8:  # 0: up to the end of the file; else padding that is no box
                return
            if start + length > size_bytes and kind in (b"mdat", b"moov", b"moof"):
                raise DecodeError(
                    f"{file}: truncated: {size_bytes} of at least {start + length} bytes.", remedy=_INCOMPLETE
                )
            start += length
            stream.seek(start)


def _declared_duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    """Length of the video stream as its header claims it; None where only other streams could say."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    text = stream.metadata.get("DURATION", "")
    with contextlib.suppress(ValueError):
        hours, minutes, seconds = text.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.duration is not None and len(container.streams) == 1:
        return container.duration / av.time_base
    return None


def _check_length(
    file: Path, frames: int, frames_declared: int, duration_s: float, declared_s: float | None
) -> None:
    """A container that promises clearly more than it holds was cut short. Small lies are common and harmless."""
    short = declared_s is not None and duration_s < declared_s - max(0.5, 0.02 * declared_s)
    if short or frames < 0.9 * frames_declared:
        promised = f"{declared_s:.2f} s" if short else f"{frames_declared} frames"
        raise DecodeError(
            f"{file}: truncated: holds {frames} frames ({duration_s:.2f} s) of {promised}.",
            remedy=_INCOMPLETE,
        )


def _timed_frames(
    file: Path, index: _PacketIndex, begin_s: float
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
    file: Path, pictures: Iterable[tuple[int | None, VideoFrame]], index: _PacketIndex
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
        raise DecodeError(f"{file}: no frame can be decoded.", remedy=_NOT_A_VIDEO)
    if dropped > MAX_DROPPED * (kept + dropped):
        raise DecodeError(
            f"{file}: {dropped} of {kept + dropped} frames are corrupt or have no increasing presentation time.",
            remedy="Re-encode it, for example `ffmpeg -fflags +genpts -i IN OUT.mp4`.",
        )
    if dropped:
        _logger.warning("%s: dropped %d of %d frames: corrupt or out of order", file, dropped, kept + dropped)


def _pictures(
    file: Path, index: _PacketIndex, seek: int | None
) -> Generator[tuple[int | None, VideoFrame], None, None]:
    """(pts, picture) as the decoder delivers them."""
    count = 0
    with _opened(file) as (container, stream):
        try:
            if seek is not None:
                container.seek(seek, stream=stream, backward=True)
            for picture in container.decode(stream):
                count += 1
                yield picture.pts, picture
        except (av.error.FFmpegError, OSError, MemoryError) as error:
            after = "" if seek is None else f" from the keyframe at {index.seconds(seek):.2f} s"
            raise DecodeError(
                f"{file}: breaks off after {count} frames{after}: {_plain(error)}.", remedy=_INCOMPLETE
            ) from None


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream that is not a cover picture, with one decoder thread."""
    with _typed_errors(file, "opened"):
        container = av.open(f"file:{file}", options=_OPEN_OPTIONS, metadata_errors="replace")
    with container:
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise DecodeError(f"{file}: no video stream, only {kinds}.", remedy=_NOT_A_VIDEO)
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise DecodeError(f"{file}: the video codec is not supported.", remedy="Re-encode it as H.264.")
        _check_size(file, stream.codec_context.width, stream.codec_context.height)
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


def _check_size(file: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DecodeError(
            f"{file}: frames of {width}x{height} pixels are too large.", remedy="Scale the video down."
        )


@contextlib.contextmanager
def _typed_errors(file: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise DecodeError(f"{file}: no permission to read it.", remedy="Change its permissions.") from None
    except (av.error.FFmpegError, OSError, MemoryError) as error:
        raise DecodeError(
            f"{file}: cannot be {verb} as a video: {_plain(error)}.", remedy=_NOT_A_VIDEO
        ) from None


def _plain(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def _checked_file(path: str | os.PathLike[str]) -> Path:
    """The path as an absolute regular file that is not empty and may be read."""
    file = Path(os.path.abspath(path))
    try:
        size_bytes = file.stat().st_size
    except PermissionError:
        raise DecodeError(f"{file}: no permission to read it.", remedy="Change its permissions.") from None
    except (OSError, ValueError):
        raise DecodeError(f"{file}: no such file.", remedy="Check the path.") from None
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "not a regular file"
        raise DecodeError(f"{file}: is {kind}.", remedy="Give a video file, or a folder that holds some.")
    if not size_bytes:
        raise DecodeError(f"{file}: is empty (0 bytes).", remedy="Get the file again.")
    return file


def _is_sampled(pts_s: float, previous_s: float, sample_fps: float | None) -> bool:
    """Whether a multiple of 1 / sample_fps lies in (previous_s, pts_s]."""
    if sample_fps is None or previous_s == -math.inf:
        return True
    return math.floor(pts_s * sample_fps + _TICK_TOLERANCE) > math.floor(
        previous_s * sample_fps + _TICK_TOLERANCE
    )


def _upright_rgb(
    picture: VideoFrame, turn: _Turn, pixel_aspect: Fraction | None, max_side_px: int | None, file: Path
) -> np.ndarray:
    """(H, W, 3) uint8 full-range RGB with square pixels, as a player would show it."""
    width, height = _square_pixel_size(picture, pixel_aspect)
    _check_size(file, picture.width, picture.height)
    quality = Interpolation.BILINEAR  # chroma interpolated; swscale's faster paths repeat it
    if max_side_px is not None and max(width, height) > max_side_px:
        shrink = max_side_px / max(width, height)
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        quality = Interpolation.AREA
    try:
        image = picture.to_ndarray(
            format="rgb24",
            width=width,
            height=height,
            interpolation=quality,
            threads=1,
        )
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise DecodeError(
            f"{file}: frames of format {picture.format.name} cannot be turned into RGB: {_plain(error)}.",
            remedy="Re-encode it as 8-bit H.264.",
        ) from None
    return np.ascontiguousarray(turn(image))


def _square_pixel_size(picture: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    if not aspect or not 1 / MAX_PIXEL_ASPECT <= aspect <= MAX_PIXEL_ASPECT:
        return picture.width, picture.height
    return max(1, round(picture.width * aspect)), picture.height


@dataclass(frozen=True, slots=True)
class _Turn:
    """How a stored picture is shown: first transposed, then turned upside down, then mirrored."""

    transposed: bool
    flipped: bool
    mirrored: bool

    def __call__(self, image: np.ndarray) -> np.ndarray:
        image = image.transpose(1, 0, 2) if self.transposed else image
        return image[:: -1 if self.flipped else 1, :: -1 if self.mirrored else 1]


def _turn_of(picture: VideoFrame) -> _Turn:
    """The display matrix to the nearest quarter turn.

    FFmpeg's maps source to shown: x' = a x + c y, y' = b x + d y, rows [[a, b, u], [c, d, v], [x, y, w]].
    """
    data: Any = picture.side_data.get("DISPLAYMATRIX")
    if data is None:
        return _Turn(False, False, False)
    (a, b, _), (c, d, _), _ = np.frombuffer(data, dtype=np.int32).reshape(3, 3).tolist()
    if abs(a) >= abs(c):
        return _Turn(transposed=False, flipped=d < 0, mirrored=a < 0)
    return _Turn(transposed=True, flipped=b < 0, mirrored=c < 0)
