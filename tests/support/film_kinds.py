"""Films that people have: good ones of many containers, codecs, shapes and rates, and bad ones that look like them.

Every maker writes one small file and returns its path, which may differ from the one it was given by its ending.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.support.bad_clips import KINDS as OTHER_BAD
from tests.support.clips import Paint, even_times, moving_blob, remuxed, write_clip
from tests.support.fast_units import FPS, FRAMES, SIDE_PX

Maker = Callable[[Path], Path]
SQUARE = (SIDE_PX, SIDE_PX)


def film(
    path: Path,
    ending: str = ".mp4",
    *,
    hw: tuple[int, int] = SQUARE,
    fps: float = FPS,
    times_s: Sequence[float] = (),
    **how: Any,
) -> Path:
    """A moving blob of .8 s, as `write_clip` writes it."""
    times_s = times_s or even_times(round(FRAMES * fps / FPS), fps)
    return write_clip(path.with_suffix(ending), moving_blob(hw, 1.0 * FPS / fps), times_s, **how)


def uneven_times() -> list[float]:
    """Steps of 40, 70 and 110 ms, as a phone in the dark makes them."""
    steps = np.tile([0.04, 0.07, 0.11], FRAMES // 3)
    return [float(time_s) for time_s in np.concatenate([[0.0], np.cumsum(steps)[:-1]])]


def at_constant_rate(path: Path, ending: str, codec: str, fps: int) -> Path:
    """For codecs that know no other times."""
    path, paint = path.with_suffix(ending), moving_blob(SQUARE, 1.0 * FPS / fps)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt = *SQUARE, "yuv420p"
        stream.codec_context.thread_count, stream.codec_context.bit_rate = 1, 2_000_000
        for number in range(round(FRAMES * fps / FPS)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(paint(number), format="rgb24")))
        container.mux(stream.encode())
    return path


def unusual_name(path: Path) -> Path:
    """Spaces, brackets, other alphabets, and 200 bytes of it."""
    return film(path.with_name(f"Übung 3 \N{EN DASH} 影片 [Kopie] {'x' * 150}.mp4"))


def interlaced(path: Path) -> Path:
    """Coded as fields."""
    return film(path, options={"x264-params": "interlaced=1"})


def fragmented(path: Path) -> Path:
    """An MP4 as cameras and streams write it, a piece at a time."""
    source = film(path, ".whole.mp4")
    remuxed(source, path, {"movflags": "frag_keyframe+empty_moov"})
    source.unlink()
    return path


GOOD: dict[str, Maker] = {
    "mp4": film,
    "mkv": partial(film, ending=".mkv"),
    "webm-vp9": partial(
        film, ending=".webm", codec="libvpx-vp9", options={"cpu-used": "8", "deadline": "realtime"}
    ),
    "avi-mpeg4": partial(at_constant_rate, ending=".avi", codec="mpeg4", fps=15),
    "mov-mjpeg": partial(film, ending=".mov", codec="mjpeg", pix_fmt="yuvj420p"),
    "mpg": partial(at_constant_rate, ending=".mpg", codec="mpeg2video", fps=30),
    "ts": partial(film, ending=".ts"),
    "gif": partial(film, ending=".gif", codec="gif", pix_fmt="gray", fps=20.0),
    "hevc": partial(film, codec="libx265"),
    "variable-rate": partial(film, times_s=uneven_times()),
    "rotated": partial(film, hw=(96, 128), rotation_deg=90.0),
    "mirrored": partial(film, mirrored=True),
    "portrait": partial(film, hw=(160, 96)),
    "10-bit": partial(film, pix_fmt="yuv420p10le"),
    "444": partial(film, pix_fmt="yuv444p"),
    "gray": partial(film, pix_fmt="gray"),
    "odd-size": partial(film, hw=(97, 99), pix_fmt="yuv444p"),
    "wide-pixels": partial(film, hw=(96, 80), pixel_aspect=Fraction(4, 3)),
    "b-frames": partial(film, b_frames=3, options={"preset": "veryfast", "crf": "12"}),
    "60-fps": partial(film, fps=60.0),
    "interlaced": interlaced,
    "fragmented": fragmented,
    "unusual-name": unusual_name,
}
"""By name."""


def _whole(
    path: Path, ending: str = ".mp4", frames: int = 60, paint: Paint | None = None, **how: Any
) -> bytes:
    """The bytes of a film, of four seconds if nothing else is said."""
    source = write_clip(
        path.with_suffix(".whole" + ending), paint or moving_blob(SQUARE), even_times(frames, FPS), **how
    )
    data = source.read_bytes()
    source.unlink()
    return data


def cut_off(path: Path, ending: str = ".mp4") -> Path:
    """The first half of a film's bytes."""
    path = path.with_suffix(ending)
    path.write_bytes(_whole(path, ending))
    return halved(path)


def cut_off_stream(path: Path) -> Path:
    """The same of an MP4 whose index lies in front."""
    source = path.with_suffix(".whole.mp4")
    source.write_bytes(_whole(path))
    remuxed(source, path, {"movflags": "faststart"})
    source.unlink()
    return halved(path)


def halved(path: Path) -> Path:
    """The file, cut to half of its bytes."""
    os.truncate(path, path.stat().st_size // 2)
    return path


def garbage_inside(path: Path) -> Path:
    """Packets that are noise, all but the first few, in a container that is whole."""
    data = bytearray(_whole(path, frames=60, key_every=60))
    begin, end = data.index(b"mdat") + 4, data.rindex(b"moov") - 4
    begin += (end - begin) // 8
    data[begin:end] = np.random.default_rng(1).bytes(end - begin)
    path.write_bytes(data)
    return path


def two_sizes(path: Path) -> Path:
    """A stream in which another size follows."""
    path = path.with_suffix(".ts")
    first = _whole(path, ".ts", frames=12)
    second = _whole(path, ".ts", frames=12, paint=moving_blob((64, 128)), start_s=2.0)
    path.write_bytes(first + second)
    return path


def text(path: Path) -> Path:
    """A page that a download gave in place of the film."""
    path.write_text("<!DOCTYPE html><html><body>403 Forbidden</body></html>\n" * 40)
    return path


def empty(path: Path) -> Path:
    """Not one byte."""
    path.touch()
    return path


def zeros(path: Path) -> Path:
    """What a download that was interrupted leaves where it had reserved the space."""
    path.write_bytes(bytes(200_000))
    return path


def folder(path: Path) -> Path:
    """A folder called .mp4."""
    path.mkdir()
    return path


def pipe(path: Path) -> Path:
    """Whoever opens it waits for ever."""
    os.mkfifo(path)
    return path


def missing(path: Path) -> Path:
    """Nothing there."""
    return path


def too_short(path: Path) -> Path:
    """Three frames."""
    return write_clip(path, moving_blob(SQUARE), even_times(3, FPS))


BAD: dict[str, tuple[Maker, str]] = {
    **{
        name: (make, "bad-source" if name == "loop-of-links" else "undecodable")
        for name, make in OTHER_BAD.items()
    },
    "empty": (empty, "undecodable"),
    "text": (text, "undecodable"),
    "zeros": (zeros, "undecodable"),
    "cut-mp4": (cut_off, "undecodable"),
    "cut-streamable-mp4": (cut_off_stream, "undecodable"),
    "cut-mkv": (partial(cut_off, ending=".mkv"), "undecodable"),
    "cut-avi": (lambda path: halved(at_constant_rate(path, ".avi", "mpeg4", 15)), "undecodable"),
    "garbage-inside": (garbage_inside, "undecodable"),
    "two-sizes": (two_sizes, "undecodable"),
    "folder": (folder, "undecodable"),
    "pipe": (pipe, "undecodable"),
    "missing": (missing, "bad-source"),
    "too-short": (too_short, "nothing-kept"),
    "nobody": (film, "nobody-found"),
}
"""By name, with the reason that `failures` gives. `nobody` is a film in which the scripted tracker finds none."""
