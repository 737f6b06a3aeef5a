"""Opening a video file: a whitelisted container, one stream, one decoder thread, errors that say what is wrong."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from schemas.errors import DecodeError, SourceError

MAX_PIXELS = 8192 * 8192
"""Larger frames are refused: one of them already takes 200 MB."""

# Only containers that hold their own frames. Play lists, text "videos" and the like could open other files.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,mpegtsraw,flv,live_flv,asf,asf_o,ogg,mxf,gxf,nut,"
    "ivf,rm,dv,gif,apng,h264,hevc,m4v,mjpeg,obu,av1,vc1,wtv,yuv4mpegpipe,swf,mp3,wav,aac,flac,w64,aiff,amr,ac3"
)
_OPEN_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}

# FFmpeg's AV_DISPOSITION_*: an attached picture, thumbnails of chapters, a layer that needs another track.
_DEFAULT, _NEVER_FILM = 1 << 0, 1 << 10 | 1 << 11 | 1 << 19

# Names and comments in a film need not be UTF-8. Before PyAV 19 that is an error unless asked otherwise; since then
# there is nothing to ask.
_TEXT_OPTIONS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}
)

# Other profiles have a base layer of ordinary, tagged video, which is what is read of them.
_DOLBY_VISION = ("dvh1", "dvhe", "dva1", "dvav", "dav1")
_UNTAGGED = 2

NOT_A_VIDEO = "Give a video file (mp4, mov, mkv, webm, avi, ...)."
INCOMPLETE = "Get the complete file again, or repair it with `ffmpeg -i IN -c copy OUT`."


@contextlib.contextmanager
def opened(file: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its film, with one decoder thread.

    The film is never a cover picture: no attached picture, and no track of one packet beside others with more. Of
    several tracks it is one marked as default, and of those the largest.
    """
    with _container(file) as container:
        stream = _film(file, container)
        if stream.codec_context is None:
            raise DecodeError(f"{file}: the video codec is not supported.", remedy="Re-encode it as H.264.")
        if stream.codec_context.codec_tag in _DOLBY_VISION and stream.codec_context.colorspace == _UNTAGGED:
            raise DecodeError(
                f"{file}: Dolby Vision of profile 5, whose colours cannot be turned into RGB here.",
                remedy="Export the film again as SDR, HDR10, HLG or Dolby Vision of profile 8.",
            )
        check_size(file, stream.codec_context.width, stream.codec_context.height)
        # A picture may be larger than its container says: the decoder refuses it before it takes memory.
        stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        stream.codec_context.thread_type = "NONE"
        stream.codec_context.thread_count = 1
        yield container, stream


@contextlib.contextmanager
def _container(file: Path) -> Iterator[InputContainer]:
    with typed_errors(file, "opened"):
        container = av.open(f"file:{file}", options=_OPEN_OPTIONS, **_TEXT_OPTIONS)
    with container:
        yield container


def _film(file: Path, container: InputContainer) -> VideoStream:
    tracks = [stream for stream in container.streams.video if not stream.disposition.value & _NEVER_FILM]
    if not tracks:
        kinds: set[str] = {stream.type for stream in container.streams if stream.type != "video"}
        kinds |= {"cover pictures"} if container.streams.video else set()
        raise DecodeError(
            f"{file}: no video stream, only {', '.join(sorted(kinds)) or 'nothing'}.", remedy=NOT_A_VIDEO
        )
    if len(tracks) > 1:
        status = file.stat()
        moving = _moving_tracks(file, status.st_size, status.st_mtime_ns)
        tracks = [stream for stream in tracks if stream.index in moving] or tracks
    return max(tracks, key=_rank)


def _rank(stream: VideoStream) -> tuple[bool, int, int]:
    context = stream.codec_context
    pixels = context.width * context.height if context is not None else 0
    return context is not None, stream.disposition.value & _DEFAULT, pixels


@lru_cache(maxsize=16)
def _moving_tracks(file: Path, size_bytes: int, modified_ns: int) -> frozenset[int]:
    """Indices of the video tracks with more than one packet. Reads until all have, which covers never do."""
    with _container(file) as container, typed_errors(file, "read"):
        once, moving = set[int](), set[int]()
        for packet in container.demux(container.streams.video):
            if packet.size:
                (moving if packet.stream.index in once else once).add(packet.stream.index)
            if len(moving) == len(container.streams.video):
                break
    return frozenset(moving)


def check_size(file: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DecodeError(
            f"{file}: frames of {width}x{height} pixels are too large.", remedy="Scale the video down."
        )


@contextlib.contextmanager
def typed_errors(file: Path, verb: str) -> Iterator[None]:
    try:
        yield
    except PermissionError:
        raise SourceError(f"{file}: no permission to read it.", remedy="Change its permissions.") from None
    except (av.error.FFmpegError, OSError, MemoryError) as error:
        raise DecodeError(
            f"{file}: cannot be {verb} as a video: {plain(error)}.", remedy=NOT_A_VIDEO
        ) from None


def plain(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)


def checked_file(path: str | os.PathLike[str]) -> Path:
    """The path as an absolute regular file that is not empty and may be read."""
    file = Path(os.path.abspath(path))
    try:
        size_bytes = file.stat().st_size
    except PermissionError:
        raise SourceError(f"{file}: no permission to read it.", remedy="Change its permissions.") from None
    except (OSError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ELOOP:
            raise SourceError(f"{file}: its links lead in a circle.", remedy="Repair the links.") from None
        raise SourceError(f"{file}: no such file.", remedy="Check the path.") from None
    if file.is_dir() and not os.access(file, os.R_OK | os.X_OK):
        raise SourceError(f"{file}: no permission to look into it.", remedy="Change its permissions.")
    if not file.is_file():
        kind = "a folder" if file.is_dir() else "not a regular file"
        raise DecodeError(f"{file}: is {kind}.", remedy="Give a video file, or a folder that holds some.")
    if not size_bytes:
        raise DecodeError(f"{file}: is empty (0 bytes).", remedy="Get the file again.")
    return file
