"""What a container says about its video packets, read without decoding any: times, keyframes, whether it is whole."""

from __future__ import annotations

import contextlib
import math
from array import array
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.video.container import INCOMPLETE, NOT_A_VIDEO, opened, typed_errors
from schemas.errors import DecodeError

MAX_FRAME_S = 2.0
"""A last frame that claims to be shown longer than this is given the mean duration instead."""


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
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


def packet_index(file: Path) -> PacketIndex:
    status = file.stat()
    return _read_packet_index(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)  # windows of one clip share it; size and time make a changed file another key
def _read_packet_index(file: Path, size_bytes: int, modified_ns: int) -> PacketIndex:
    pts, key_pts, key_seek = (
        array("q"),
        array("q"),
        array("q"),
    )  # not lists: 36 bytes an entry, and clips last days
    count, last_duration, broken_at = 0, 0, -1
    with typed_errors(file, "read"), opened(file) as (container, stream):
        if "mp4" in container.format.name:
            _check_boxes(file, size_bytes)
        for packet in container.demux(stream):
            if not packet.size or packet.is_discard:
                continue
            if packet.has_sidedata("encryption_info"):
                raise DecodeError(f"{file}: is encrypted.", remedy="Give a copy without copy protection.")
            broken_at = count if packet.is_corrupt else broken_at
            count += 1
            last_duration = packet.duration or last_duration
            if packet.pts is None:
                continue
            pts.append(packet.pts)
            if packet.is_keyframe:
                key_pts.append(packet.pts)
                key_seek.append(packet.pts if packet.dts is None else min(packet.pts, packet.dts))
        time_base = stream.time_base
        declared_s, frames_declared = _declared_duration_s(container, stream), stream.frames
        nominal, pixel_aspect = stream.average_rate, stream.sample_aspect_ratio
    if not count or time_base is None:
        raise DecodeError(f"{file}: the video stream holds no frames.", remedy=NOT_A_VIDEO)
    if broken_at == count - 1:
        raise DecodeError(f"{file}: truncated: breaks off inside packet {count}.", remedy=INCOMPLETE)
    known = np.sort(np.array(pts, dtype=np.int64))
    is_complete = len(known) == count and bool((np.diff(known) > 0).all())
    if len(known) >= 2 and known[-1] > known[0]:
        span_s = float((int(known[-1]) - int(known[0])) * time_base)
        frame_s = float(last_duration * time_base)
        duration_s = span_s + (frame_s if 0 < frame_s <= MAX_FRAME_S else span_s / (len(known) - 1))
    else:
        duration_s = count / float(nominal) if nominal else count / 30
    _check_length(file, count, frames_declared, duration_s, declared_s)
    by_time = np.lexsort((np.array(key_seek), np.array(key_pts)))
    return PacketIndex(
        count=count,
        pts=known if len(known) else np.zeros(1, np.int64),
        key_pts=np.array(key_pts, dtype=np.int64)[by_time],
        key_seek=np.array(key_seek, dtype=np.int64)[by_time],
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
                    f"{file}: truncated: {size_bytes} of at least {start + length} bytes.", remedy=INCOMPLETE
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
            remedy=INCOMPLETE,
        )
