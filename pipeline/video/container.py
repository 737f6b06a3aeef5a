"""Opening a video file: a whitelisted container, one stream, one decoder thread, errors that say what is wrong."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

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

# Other profiles have a base layer of ordinary, tagged video, which is what is read of them.
_DOLBY_VISION = ("dvh1", "dvhe", "dva1", "dvav", "dav1")
_UNTAGGED = 2

NOT_A_VIDEO = "Give a video file (mp4, mov, mkv, webm, avi, ...)."
INCOMPLETE = "Get the complete file again, or repair it with `ffmpeg -i IN -c copy OUT`."


@contextlib.contextmanager
def opened(file: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first video stream that is not a cover picture, with one decoder thread."""
    with typed_errors(file, "opened"):
        container = av.open(f"file:{file}", options=_OPEN_OPTIONS, metadata_errors="replace")
    with container:
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise DecodeError(f"{file}: no video stream, only {kinds}.", remedy=NOT_A_VIDEO)
        stream = container.streams.video[0]
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
