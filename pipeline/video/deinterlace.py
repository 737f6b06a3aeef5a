"""Interlaced pictures, whose odd and even lines were taken at different moments, to whole pictures of one moment.

The first field in time stays as it is; the other field's lines are interpolated from it and from the pictures before
and after (bwdif, of libavfilter). A picture's result depends on these three alone, so a window of a film shows what the
whole film shows. Pictures that are not marked as interlaced stay untouched, wherever they lie.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av.error
from av.filter import Graph
from av.video.frame import VideoFrame

from pipeline.video.container import plain
from schemas.errors import DecodeError

Timed = tuple[int, float, VideoFrame]
"""Index, seconds, picture."""

LEAD_S = 0.25
"""How much earlier decoding begins where a window starts with an interlaced picture: at least the one before."""


def deinterlaced(
    frames_from: Callable[[float], Generator[Timed, None, None]], begin_s: float, file: Path
) -> Generator[Timed, None, None]:
    """What `frames_from(begin_s)` yields, from `begin_s` or earlier, without interlacing. Raises DecodeError."""
    frames = frames_from(begin_s)
    try:
        first = next(frames, None)
        if first is not None and first[2].interlaced_frame and first[0] > 0 and first[1] >= begin_s:
            frames.close()
            frames = frames_from(begin_s - LEAD_S)
            first = next(frames)
        if first is not None:
            yield from _whole_pictures(first, frames, file)
    finally:
        frames.close()


def _whole_pictures(before: Timed, frames: Iterator[Timed], file: Path) -> Iterator[Timed]:
    """Pictures pass as they are until the first interlaced one; then all go through the filter."""
    if before[2].interlaced_frame:
        yield from _filtered(itertools.chain([before], frames), file)
        return
    yield before
    for timed in frames:
        if timed[2].interlaced_frame:
            both = _filtered(itertools.chain([before, timed], frames), file)
            next(both)  # it has passed already
            yield from both
            return
        yield timed
        before = timed


def _filtered(frames: Iterable[Timed], file: Path) -> Iterator[Timed]:
    """bwdif delivers a picture when it has the next one. Where size or format change it starts again."""
    graph: Graph | None = None
    shape: tuple[int, int, str] | None = None
    waiting: deque[tuple[int, float]] = deque()
    try:
        for number, pts_s, picture in frames:
            found = picture.width, picture.height, picture.format.name
            if graph is None or found != shape:
                yield from _drained(graph, waiting)
                graph, shape = _bwdif(picture), found
            waiting.append((number, pts_s))
            graph.vpush(picture)
            yield from _ready(graph, waiting)
        yield from _drained(graph, waiting)
    except (av.error.FFmpegError, ValueError, MemoryError) as error:
        raise DecodeError(
            f"{file}: interlaced pictures of format {shape and shape[2]} cannot be made whole: {plain(error)}.",
            remedy="Deinterlace it, for example `ffmpeg -i IN -vf bwdif OUT.mp4`.",
        ) from None


def _bwdif(picture: VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=Fraction(1, 1000)
    )
    bwdif = graph.add("bwdif", mode="send_frame", deint="interlaced")
    sink = graph.add("buffersink")
    source.link_to(bwdif)
    bwdif.link_to(sink)
    graph.configure()
    return graph


def _ready(graph: Graph, waiting: deque[tuple[int, float]]) -> Iterator[Timed]:
    # Neither "not yet" nor "no more" is an error here.
    with contextlib.suppress(av.error.BlockingIOError, av.error.EOFError):
        while True:
            picture = graph.vpull()
            yield (*waiting.popleft(), picture)


def _drained(graph: Graph | None, waiting: deque[tuple[int, float]]) -> Iterator[Timed]:
    if graph is not None:
        graph.vpush(None)
        yield from _ready(graph, waiting)
