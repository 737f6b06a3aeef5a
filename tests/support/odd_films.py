"""Films as people have them: trimmed without re-encoding, cut out of a broadcast, with covers, with dropped frames.

All show `counting_frames`, so that what is read can be checked frame by frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from tests.support.clips import counting_frames, even_times, flat_colour, write_clip

THIRTIETH = Fraction(1, 30)
PLAIN = Disposition(0)
NTSC, NTSC_FILM = 30_000 / 1001, 24_000 / 1001
MPEG2: dict[str, Any] = {"codec": "mpeg2video", "tick": THIRTIETH, "b_frames": 2}
OPEN_GOP: dict[str, Any] = {"options": {"x264-params": "open-gop=1"}, "b_frames": 3}
OPEN_GOP_HEVC: dict[str, Any] = {
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


def film(path: Path, **settings: Any) -> Path:
    count, fps = settings.pop("count", 48), settings.pop("fps", 30.0)
    times = settings.pop("times", None) or even_times(count, fps)
    return write_clip(path, settings.pop("paint", counting_frames()), times, **settings)


def trimmed(path: Path, seconds: float = 0.71, **settings: Any) -> Path:
    """Cut as `ffmpeg -ss SECONDS -i IN -c copy OUT` does: an edit list hides the frames before."""
    source = film(path.with_name(f"source-{path.name}"), **settings)
    return mux(path, source, shifted(seconds), avoid_negative_ts="disabled")


def delayed(path: Path) -> Path:
    """Its edit list begins with an empty edit: a second of nothing."""
    return mux(path, film(path.with_name(f"source-{path.name}"), b_frames=2), shifted(-1.0))


def long_last_frame(path: Path, seconds: float = 2.8) -> Path:
    """The last frame is shown for `seconds`: a slide at the end, or a screen recording that was left running."""

    def change(packets: list[Packet[VideoStream]]) -> list[Packet[VideoStream]]:
        packets[-1].duration = round(seconds / packets[-1].time_base)
        return packets

    return mux(path, film(path.with_name(f"source-{path.name}")), change)


def without_beginning(path: Path, share: float = 0.3, **settings: Any) -> Path:
    """A transport stream whose first packets are missing, as a receiver that is switched on finds it."""
    whole = film(path.with_name(f"source-{path.name}"), **settings).read_bytes()
    tables = 3 * 188
    path.write_bytes(whole[:tables] + whole[int(len(whole) * share) // 188 * 188 :])
    return path


def with_dropped_frames(path: Path) -> Path:
    """Every fifth chunk of the AVI is empty."""
    times = [number / 30 for number in range(60) if number % 5 != 3]
    return film(path, times=times, codec="mjpeg", pix_fmt="yuvj420p", tick=THIRTIETH)


def with_cover(path: Path, *, flag: Disposition = PLAIN, cover_first: bool = True) -> Path:
    """A film of 64 x 48 beside a larger picture, which the container marks with `flag`, or with nothing."""
    source = film(path.with_name("source.mp4"))
    picture = write_clip(
        path.with_name("cover.mov"),
        flat_colour((200, 40, 30), (240, 320)),
        [0.0],
        codec="mjpeg",
        pix_fmt="yuvj420p",
    )
    parts = [(picture, flag), (source, PLAIN)]
    return together(path, parts if cover_first else parts[::-1])


def together(path: Path, parts: list[tuple[Path, Disposition]]) -> Path:
    """The tracks of several files in one."""
    with av.open(str(path), "w") as writer:
        packets = []
        for source, flag in parts:
            with av.open(str(source)) as reader:
                stream = writer.add_stream_from_template(reader.streams[0])
                stream.disposition = flag
                for packet in reader.demux(reader.streams[0]):
                    if packet.dts is not None:
                        packet.stream = stream
                        packets.append(packet)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            writer.mux(packet)
    return path


FILMS: dict[str, Callable[[Path], Path]] = {
    "all-intra.mov": lambda path: film(path, codec="mjpeg", pix_fmt="yuvj420p"),
    "all-intra-ntsc.mov": lambda path: film(
        path, codec="mjpeg", pix_fmt="yuvj420p", fps=NTSC, tick=Fraction(1001, 30_000)
    ),
    "long-gop.mp4": lambda path: film(path, key_every=60),
    "b-frames.mp4": lambda path: film(path, b_frames=3),
    "b-frames.flv": lambda path: film(path, b_frames=3),
    "variable-rate.mp4": lambda path: film(
        path, b_frames=2, times=np.unique(np.random.default_rng(3).uniform(0, 3, 48).round(3)).tolist()
    ),
    "29.97.mp4": lambda path: film(path, fps=NTSC, b_frames=2),
    "23.976.mkv": lambda path: film(path, fps=NTSC_FILM, b_frames=2),
    "23.976-ticks.mp4": lambda path: film(path, fps=NTSC_FILM, tick=Fraction(1001, 24_000), b_frames=2),
    "program-stream.mpg": lambda path: film(path, **MPEG2),
    "transport-stream.ts": lambda path: film(path, **MPEG2),
    "open-gop.ts": lambda path: film(path, **OPEN_GOP),
    "open-gop.mp4": lambda path: film(path, **OPEN_GOP),
    "open-gop-hevc.mp4": lambda path: film(path, **OPEN_GOP_HEVC),
    "open-gop-hevc.ts": lambda path: film(path, **OPEN_GOP_HEVC),
    "intra-refresh.mp4": lambda path: film(path, options={"x264-params": "intra-refresh=1:keyint=16"}),
    "edit-list.mp4": lambda path: trimmed(path, b_frames=2, key_every=30),
    "edit-list-open-gop.mp4": lambda path: trimmed(path, seconds=0.53, **OPEN_GOP),
    "empty-edit.mp4": delayed,
    "late-start.mkv": lambda path: film(path, start_s=12.5, b_frames=2),
    "late-start.ts": lambda path: film(path, start_s=95_442.5, b_frames=2),
    "long-last-frame.mp4": long_last_frame,
    "dropped-frames.avi": with_dropped_frames,
    "b-frames.avi": lambda path: film(path, tick=THIRTIETH, b_frames=2),
    "without-beginning.ts": lambda path: without_beginning(path, **MPEG2),
    "cover-first.mkv": with_cover,
}
"""Kinds of films, each written by name. 48 frames unless their kind hides some."""
