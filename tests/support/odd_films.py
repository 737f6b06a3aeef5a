"""Films as people have them: trimmed without re-encoding, cut out of a broadcast, with covers, with dropped frames.

All show `counting_frames`, so that what is read can be checked frame by frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from tests.support.clips import counting_frames, even_times, flat_colour, write_clip

THIRTIETH = Fraction(1, 30)
NTSC, NTSC_FILM = 30_000 / 1001, 24_000 / 1001
MPEG2 = {"codec": "mpeg2video", "tick": THIRTIETH, "b_frames": 2}
OPEN_GOP = {"options": {"x264-params": "open-gop=1"}, "b_frames": 3}
OPEN_GOP_HEVC = {
    "codec": "libx265",
    "b_frames": 3,
    "options": {
        "preset": "ultrafast",
        "x265-params": "log-level=none:pools=none:frame-threads=1:open-gop=1:keyint=12:min-keyint=12",
    },
}


def mux(
    path: Path,
    source: Path,
    change: Callable[[list[Packet[VideoStream]]], Iterable[Packet[VideoStream]]],
    **options: str,
) -> Path:
    """The packets of a film as `change` leaves them, in another file."""
    with av.open(str(source)) as reader, av.open(str(path), "w", options=options) as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        packets = [packet for packet in reader.demux(reader.streams.video[0]) if packet.dts is not None]
        for packet in change(packets):
            packet.stream = stream
            writer.mux(packet)
    return path


def shifted(seconds: float) -> Callable[[list[Packet[VideoStream]]], Iterator[Packet[VideoStream]]]:
    """Packets earlier by some seconds."""

    def change(packets: list[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
        for packet in packets:
            assert packet.pts is not None
            assert packet.dts is not None
            ticks = round(seconds / packet.time_base)
            packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
            yield packet

    return change


def film(path: Path, **settings: object) -> Path:
    count, fps = settings.pop("count", 48), settings.pop("fps", 30.0)
    times = settings.pop("times", None) or even_times(count, fps)
    return write_clip(path, counting_frames(), times, **settings)  # type: ignore[arg-type]


def trimmed(path: Path, seconds: float = 0.71, **settings: object) -> Path:
    """Cut as `ffmpeg -ss SECONDS -i IN -c copy OUT` does: an edit list hides the frames before."""
    source = film(path.with_name(f"source-{path.name}"), **settings)
    return mux(path, source, shifted(seconds), avoid_negative_ts="disabled")
