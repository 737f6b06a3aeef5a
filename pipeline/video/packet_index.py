"""What a container says about its video packets, read without decoding any: times, keyframes, whether it is whole."""

from __future__ import annotations

import contextlib
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from pipeline.video.container import INCOMPLETE, NOT_A_VIDEO, opened, typed_errors
from pipeline.video.pictures import Key, pictures
from pipeline.video.wholeness import check_whole
from schemas.errors import DecodeError

MAX_FRAME_S = 2.0
"""A last frame that claims to be shown longer than this is given the mean duration instead."""

MAX_SEEKS = 3
"""Keyframes that are tried before a window is decoded from the start of the film."""


@dataclass(frozen=True, slots=True, eq=False)
class PacketIndex:
    """What the container says about its presented video packets, without decoding any.

    Times are counted in ticks of `time_base` from the first presented frame. A tick in seconds is the float nearest
    to it, and a time in seconds stands for the first tick whose seconds are not before it. So every frame's own time
    finds it, and a frame lies in a window by seconds exactly when it does by ticks.
    """

    count: int
    """Presented packets, with a time or without."""
    pts: np.ndarray
    """(N,) int64 sorted presentation times in units of `time_base`, of the packets that have one; at least one."""
    key_pts: np.ndarray
    """(M,) int64 presentation times of keyframes, increasing."""
    key_seek: np.ndarray
    """(M,) int64 where to seek for each: never later than its packet in any container's own clock."""
    time_base: Fraction
    frame_ticks: int
    """How long the last frame is shown, in units of `time_base`; at least 1."""
    duration_s: float
    pixel_aspect: Fraction | None
    """Width over height of a stored pixel; None where the header does not say."""
    is_complete: bool
    """All packets have times, all distinct: `pts` numbers the frames."""
    is_by_dts: bool
    """The container knows the order of decoding only (AVI with B-frames), and `pts` are decoding times."""

    def seconds(self, tick: int) -> float:
        return float(tick * self.time_base)

    def tick_from(self, time_s: float) -> int:
        """The first tick at or after `time_s`, which is finite."""
        tick = math.floor(Fraction(time_s) / self.time_base)
        while self.seconds(tick) >= time_s:
            tick -= 1
        while self.seconds(tick) < time_s:
            tick += 1
        return tick

    def rank(self, pts: int) -> int | None:
        at = int(np.searchsorted(self.pts, pts))
        return at if at < len(self.pts) and self.pts[at] == pts else None

    def time_before(self, number: int) -> float:
        """Seconds of the frame before frame `number`."""
        return self.seconds(int(self.pts[number - 1] - self.pts[0])) if number > 0 else -math.inf

    def first_from(self, begin_s: float) -> int | None:
        """Presentation time of the first frame at or after `begin_s`, or of the last; None where it is the first."""
        if not 0 < begin_s < math.inf:
            return None
        at = int(np.searchsorted(self.pts, int(self.pts[0]) + self.tick_from(begin_s)))
        return int(self.pts[min(at, len(self.pts) - 1)]) if at > 0 else None

    @property
    def rounding_s(self) -> float:
        """How far times may lie from those of the film: Matroska rounds to whole milliseconds.

        Longer ticks are chosen to hold the film's times exactly.
        """
        return min(float(self.time_base) / 2, 5e-4)

    def keys_before(self, pts: int) -> Iterator[Key]:
        """Keyframes to decode from so that the frame shown at `pts` is not missed, the nearest first.

        None where the start of the film is as good.
        """
        nearest = int(np.searchsorted(self.key_pts, pts, side="right")) - 1 if self.is_complete else 0
        for at in range(nearest, max(nearest - MAX_SEEKS, 0), -1):
            key_pts = int(self.key_pts[at])
            yield Key(key_pts, int(self.key_seek[at]), self.seconds(key_pts - int(self.pts[0])))


def packet_index(file: Path) -> PacketIndex:
    status = file.stat()
    return _read_packet_index(file, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=16)  # windows of one clip share it; size and time make a changed file another key
def _read_packet_index(file: Path, size_bytes: int, modified_ns: int) -> PacketIndex:
    with typed_errors(file, "read"), opened(file) as (container, stream):
        check_whole(file, container.format.name, size_bytes)
        packets = _Packets.read(file, container, stream)
        time_base, nominal, pixel_aspect = (
            _fraction(value) for value in (stream.time_base, stream.average_rate, stream.sample_aspect_ratio)
        )
    if not packets.count or time_base is None:
        raise DecodeError(f"{file}: the video stream holds no frames.", remedy=NOT_A_VIDEO)
    known = np.sort(np.array(packets.dts if packets.is_by_dts else packets.pts, dtype=np.int64))
    undecodable = 0
    if packets.has_leading and not packets.is_by_dts:
        undecodable = int(np.searchsorted(known, _first_shown(file, known)))
    known, count = known[undecodable:], packets.count - undecodable
    if len(known) >= 2 and known[-1] > known[0]:
        span_s = float((int(known[-1]) - int(known[0])) * time_base)
        frame_s = float(packets.last_duration * time_base)
        duration_s = span_s + (frame_s if 0 < frame_s <= MAX_FRAME_S else span_s / (len(known) - 1))
    else:
        duration_s = count / float(nominal) if nominal else count / 30
    key_pts, key_seek = np.array(packets.key_pts, dtype=np.int64), np.array(packets.key_seek, dtype=np.int64)
    by_time = np.lexsort((key_seek, key_pts))
    return PacketIndex(
        count=count,
        pts=known if len(known) else np.zeros(1, np.int64),
        key_pts=key_pts[by_time],
        key_seek=key_seek[by_time],
        time_base=time_base,
        frame_ticks=max(1, packets.last_duration),
        duration_s=duration_s,
        pixel_aspect=pixel_aspect,
        is_complete=not packets.is_by_dts and len(known) == count and bool((np.diff(known) > 0).all()),
        is_by_dts=packets.is_by_dts,
    )


def _fraction(value: Any) -> Fraction | None:
    """What PyAV says as a fraction; None where the file does not say (before PyAV 19 None, since then 0/1 or 1/0)."""
    if value is None or not value.numerator or not value.denominator:
        return None
    return Fraction(value.numerator, value.denominator)


class _Packets:
    """Times of a film's presented packets. Not in lists: those take 36 bytes an entry, and clips last days."""

    def __init__(self) -> None:
        self.pts, self.dts, self.key_pts, self.key_seek = array("q"), array("q"), array("q"), array("q")
        self.is_by_dts = False
        """Presentation times are FFmpeg's guesses: the container has none, and pictures are reordered."""
        self.count = 0
        self.last_duration = 0
        """Of the packet that is shown last, in units of the time base; 0 where it has none."""
        self.has_leading = False
        """Some come before the first keyframe, or after it and are shown before it."""

    @classmethod
    def read(cls, file: Path, container: InputContainer, stream: VideoStream) -> _Packets:
        found = cls()
        samples, last_pts, is_broken = 0, -math.inf, False
        first_key: float | None = None
        is_avi = container.format.name == "avi"
        for packet in container.demux(stream):
            samples += packet.pts is not None or packet.size > 0
            if not packet.size:
                continue
            if first_key is None and packet.is_keyframe:
                first_key = -math.inf if packet.pts is None else packet.pts
            if packet.is_discard:
                continue
            if packet.has_sidedata("encryption_info"):
                raise DecodeError(f"{file}: is encrypted.", remedy="Give a copy without copy protection.")
            found.count += 1
            is_broken = packet.is_corrupt
            if packet.dts is not None and is_avi:
                found.dts.append(packet.dts)
                found.is_by_dts |= packet.pts != packet.dts
            if packet.pts is None:
                continue
            found.has_leading |= first_key is None or packet.pts < first_key
            found.pts.append(packet.pts)
            if packet.pts >= last_pts:
                last_pts, found.last_duration = packet.pts, packet.duration or 0
            if packet.is_keyframe:
                found.key_pts.append(packet.pts)
                found.key_seek.append(packet.pts if packet.dts is None else min(packet.pts, packet.dts))
        if is_broken:
            raise DecodeError(
                f"{file}: truncated: breaks off inside packet {found.count}.", remedy=INCOMPLETE
            )
        # Where the `mdat` box is of open length, only its index tells what is missing.
        listed = len(stream.index_entries) if "mp4" in container.format.name else 0
        if samples < listed:
            raise DecodeError(f"{file}: truncated: holds {samples} of {listed} packets.", remedy=INCOMPLETE)
        return found


def _first_shown(file: Path, known: np.ndarray) -> int:
    """Presentation time of the first picture that can be decoded; the first packet's where none can."""
    with contextlib.suppress(DecodeError), contextlib.closing(pictures(file)) as delivered:
        for picture in delivered:
            if picture.pts is not None and not picture.is_corrupt:
                return picture.pts
    return int(known[0]) if len(known) else 0
