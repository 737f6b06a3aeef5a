"""The pictures of a film as its decoder delivers them, from the start or from a keyframe."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.video.container import INCOMPLETE, MAX_PIXELS, opened, plain
from schemas.errors import DecodeError


@dataclass(frozen=True, slots=True)
class Key:
    """A keyframe to decode from; times in units of the film's time base."""

    pts: int
    seek: int
    """Never later than its packet in any container's own clock."""
    time_s: float
    """Seconds from the film's first frame, for messages."""


def pictures(file: Path, key: Key | None = None) -> Generator[VideoFrame, None, None]:
    """Pictures in the decoder's order, all of them or those from `key` on; none where `key` is not found.

    Damage to packets that come before the first keyframe, or are shown before it, is no error: what they refer to
    is not there. Films cut out of a broadcast begin with them, and after a seek every open GOP does.
    """
    count = 0
    with opened(file) as (container, stream):
        try:
            if key is not None:
                container.seek(key.seek, stream=stream, backward=True)
            for packet, is_leading in _packets(container, stream, key):
                try:
                    delivered = stream.decode(packet)
                except av.error.InvalidDataError:
                    if is_leading:
                        continue
                    raise
                for picture in delivered:
                    count += 1
                    yield picture
        except av.error.ArgumentError as error:
            raise DecodeError(
                f"{file}: the decoder refuses the picture after {count} frames ({plain(error)}): it is damaged, or "
                f"has more than {MAX_PIXELS / 1e6:.0f} million pixels.",
                remedy="Scale the video down, or re-encode it.",
            ) from None
        except (av.error.FFmpegError, OSError, MemoryError) as error:
            after = "" if key is None else f" from the keyframe at {key.time_s:.2f} s"
            raise DecodeError(
                f"{file}: breaks off after {count} frames{after}: {plain(error)}.", remedy=INCOMPLETE
            ) from None


def _packets(
    container: InputContainer, stream: VideoStream, key: Key | None
) -> Iterator[tuple[Packet[VideoStream] | None, bool]]:
    """Packets for the decoder and whether they lead the first keyframe; then None, which asks for what is left.

    Empty packets stand for repeated pictures. A decoder would take the first for the end of the film.
    """
    started, first = False, 0
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if not started and packet.is_keyframe:
            if key is not None and packet.pts is not None and packet.pts > key.pts:
                return
            started = key is None or packet.pts == key.pts
            first = packet.pts or 0
        if started or key is None:
            yield packet, not started or (packet.pts is not None and packet.pts < first)
    if started or key is None:
        yield None, False
