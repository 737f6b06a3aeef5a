"""Small sound films of the kinds that people have, each with its own encoder and container: a corpus to mutate."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from pipeline.assets import asset_path
from pipeline.video.decode import decode
from tests.support.clips import Paint, counting_frames, even_times, moving_blob, remuxed, write_clip

_FPS = 30


def write_films(folder: Path) -> list[Path]:
    """Files named clip-*, in the order of their names. Which of them the decoder reads is not asked here."""
    some = [frame.image[:992:4, :1760:4] for frame in decode(asset_path("demo.mp4"), start_s=1.0, end_s=2.0)]
    blob, counting, even = moving_blob(), counting_frames(), even_times(24)
    uneven = [0.0, 0.1, 0.11, 0.5, 0.6, 0.9, 1.0, 1.4]
    write_clip(folder / "clip-demo.mp4", lambda at: some[at], even_times(len(some)), b_frames=2)
    plain = write_clip(folder / "clip-blob.mp4", blob, even, rotation_deg=90)
    write_clip(folder / "clip-count.mkv", counting, even)
    write_clip(folder / "clip-stills.mov", counting, even, codec="mjpeg", pix_fmt="yuvj420p")
    write_clip(folder / "clip-uneven.mp4", blob, uneven, codec="libx265")
    write_clip(folder / "clip-late.mkv", blob, even, start_s=12.5)
    write_clip(folder / "clip-interlaced.mp4", blob, even, options={"x264-params": "interlaced=1"})
    write_clip(folder / "clip-hlg.mov", blob, even, codec="libx265", pix_fmt="yuv420p10le", options={
        "x265-params": "log-level=none:pools=none:frame-threads=1:"
        "colorprim=bt2020:transfer=arib-std-b67:colormatrix=bt2020nc"})  # fmt: skip
    write_clip(folder / "clip-vp9.webm", blob, even, codec="libvpx-vp9", options={"deadline": "realtime"})
    write_steady(folder / "clip-mpeg2.mpg", blob, range(24), "mpeg2video", "mpeg", b_frames=2)
    write_steady(folder / "clip-null.avi", blob, [at for at in range(30) if at % 5 != 3], "mpeg4", "avi")
    remuxed(plain, folder / "clip-fragments.mp4", {"movflags": "frag_keyframe+empty_moov"})
    remuxed(plain, folder / "clip-stream.ts", {})
    trimmed(plain, folder / "clip-trimmed.mp4", begin_s=0.2)
    return sorted(folder.glob("clip-*"))


def write_steady(
    path: Path, paint: Paint, numbers: range | list[int], codec: str, container: str, *, b_frames: int = 0
) -> Path:
    """A film whose clock ticks once a frame. Numbers left out are empty chunks where the container has such."""
    with av.open(str(path), "w", format=container) as writer:
        stream = writer.add_stream(codec, rate=_FPS)
        stream.height, stream.width = paint(0).shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.max_b_frames, stream.codec_context.thread_count = b_frames, 1
        for number in numbers:
            frame = av.VideoFrame.from_ndarray(paint(number), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _FPS)
            writer.mux(stream.encode(frame))
        writer.mux(stream.encode())
    return path


def trimmed(source: Path, path: Path, *, begin_s: float) -> Path:
    """A lossless trim: packets from the key frame before `begin_s` on, those before it hidden by an edit list."""
    options = {"avoid_negative_ts": "disabled", "use_editlist": "1"}
    with av.open(str(source)) as reader, av.open(str(path), "w", options=options) as writer:
        track = reader.streams.video[0]
        stream = writer.add_stream_from_template(track)
        packets = [packet for packet in reader.demux(track) if packet.dts is not None]
        begin = round(begin_s / track.time_base)
        key = max(at for at, packet in enumerate(packets) if packet.is_keyframe and packet.pts <= begin)
        for packet in packets[key:]:
            packet.pts, packet.dts, packet.stream = packet.pts - begin, packet.dts - begin, stream
            writer.mux(packet)
    return path
