"""Interlaced film of a moving bar: combed as it is stored, smooth as it is decoded, the same in every window."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph
from av.video.format import VideoFormat

from pipeline.video.decode import decode, probe
from pipeline.video.film_notes import DEINTERLACED

HW = (96, 160)
FRAMES, FPS = 24, 25
PX_PER_FIELD = 3
BAR_ROWS = slice(20, 76)

KINDS = {
    "mpeg2-top-first.ts": ("mpeg2video", {"flags": "+ildct+ilme"}),
    "mpeg2-bottom-first.ts": ("mpeg2video", {"flags": "+ildct+ilme"}),
    "x264-top-first.mp4": ("libx264", {"x264-params": "tff=1:bframes=0", "crf": "8"}),
    "x264-bottom-first.mp4": ("libx264", {"x264-params": "bff=1:bframes=0", "crf": "8"}),
    "x264-top-first-b-frames.mkv": ("libx264", {"x264-params": "tff=1:bframes=2", "crf": "8"}),
}


PROGRESSIVE = {"crf": "8", "x264-params": "bframes=0"}


def field(moment: int) -> np.ndarray:
    """A white bar over a static grid, at a moment counted in fields."""
    v, u = np.mgrid[: HW[0], : HW[1]]
    image = np.where((v // 8 + u // 8) % 2, 70, 90).astype(np.uint8)
    left = 10 + PX_PER_FIELD * moment % 110
    image[16:80, left : left + 24] = 230
    return np.repeat(image[..., None], 3, axis=-1)


def woven(number: int, *, top_first: bool = True) -> np.ndarray:
    """Two moments in one picture, on every other line."""
    image, later = field(2 * number), int(top_first)
    image[later::2] = field(2 * number + 1)[later::2]
    return image


def write_film(
    path: Path,
    codec: str,
    options: dict[str, str],
    pictures: list[np.ndarray],
    *,
    order: str = "prog",
    first: int = 0,
) -> Path:
    """Frames marked with a field order, `tff`, `bff` or `prog`, from the place `first` on."""
    mark = Graph()
    source = mark.add_buffer(
        width=HW[1], height=HW[0], format=VideoFormat("yuv420p"), time_base=Fraction(1, FPS)
    )
    setfield, sink = mark.add("setfield", order), mark.add("buffersink")
    source.link_to(setfield)
    setfield.link_to(sink)
    mark.configure()
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width, stream.pix_fmt = *HW, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.thread_count = 8, 1
        stream.bit_rate = 8_000_000
        for number, picture in enumerate(pictures, start=first):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            mark.vpush(frame)
            container.mux(stream.encode(mark.vpull()))
        container.mux(stream.encode())
    return path


def combing(image: np.ndarray) -> float:
    """How far lines of the bar lie from the mean of the lines above and below."""
    lines = image[BAR_ROWS].astype(float).mean(axis=-1)
    return float(np.abs(lines[1:-1] - (lines[:-2] + lines[2:]) / 2).mean())


@pytest.fixture(scope="module", params=KINDS)
def interlaced(request, tmp_path_factory) -> Path:
    codec, options = KINDS[request.param]
    top_first = "top" in request.param
    pictures = [woven(number, top_first=top_first) for number in range(FRAMES)]
    path = tmp_path_factory.mktemp("films") / request.param
    return write_film(path, codec, options, pictures, order="tff" if top_first else "bff")


def test_pictures_are_made_whole_and_show_the_earlier_field(interlaced: Path) -> None:
    with av.open(str(interlaced)) as container:
        stored = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    frames = list(decode(interlaced))
    assert [frame.index for frame in frames] == list(range(FRAMES))
    before = np.mean([combing(image) for image in stored])
    after = np.mean([combing(frame.image) for frame in frames])
    assert before > 5
    assert after < 0.25 * before
    for number, frame in list(enumerate(frames))[
        1:
    ]:  # the first has none before it and is made of its own lines
        error = np.abs(frame.image.astype(float) - field(2 * number)).mean()
        assert error < 0.5 * np.abs(stored[number].astype(float) - field(2 * number)).mean()
    assert probe(interlaced).notes == DEINTERLACED


def test_a_window_shows_what_the_whole_film_shows(interlaced: Path) -> None:
    whole = list(decode(interlaced))
    for frame in whole:
        for again, wanted in zip(
            itertools.islice(decode(interlaced, start_s=frame.pts_s - 0.001), 2), whole[frame.index :]
        ):
            assert again.index == wanted.index
            np.testing.assert_array_equal(again.image, wanted.image)
    stop_s = whole[9].pts_s
    assert [frame.index for frame in decode(interlaced, end_s=stop_s)] == list(range(9))


def test_progressive_film_is_left_alone(tmp_path: Path) -> None:
    path = write_film(
        tmp_path / "a.mp4", "libx264", {"crf": "8"}, [field(2 * number) for number in range(FRAMES)]
    )
    with av.open(str(path)) as container:
        stored = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
    for frame, wanted in zip(decode(path), stored, strict=True):
        np.testing.assert_array_equal(frame.image, wanted)
    assert probe(path).notes == ""


def test_film_that_becomes_interlaced_is_made_whole_from_there(tmp_path: Path) -> None:
    parts = [
        write_film(tmp_path / "0.ts", "libx264", PROGRESSIVE, [field(2 * number) for number in range(8)]),
        write_film(
            tmp_path / "1.ts", "libx264", {"crf": "8", "x264-params": "tff=1:bframes=0"},
            [woven(number) for number in range(8, 16)], order="tff", first=8,
        ),
    ]  # fmt: skip
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    with av.open(str(path)) as container:
        marks = [picture.interlaced_frame for picture in container.decode(video=0)]
    assert marks == [False] * 8 + [True] * 8
    frames = list(decode(path))
    assert [frame.index for frame in frames] == list(range(16))
    for number, frame in enumerate(frames):
        assert np.abs(frame.image.astype(float) - field(2 * number)).mean() < 3
        assert combing(frame.image) < 3  # the grid alone has 2.2, woven pictures 7.8
