"""Every frame of every kind of film belongs to exactly one window, and its own time finds it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import VideoSettings
from pipeline.records import ClipRef, Frame
from pipeline.video.decode import decode, probe
from pipeline.video.packet_index import PacketIndex
from pipeline.video.shots import segments_of
from tests.support.clips import counting_frames, number_in
from tests.support.odd_films import FILMS, film, with_cover

SETTINGS = VideoSettings(cut_threshold=255.0, min_shot_s=0.0)
"""No cuts: the painted numbers change whole pictures."""

SHOWN = {
    "edit-list.mp4": range(22, 48),
    "edit-list-open-gop.mp4": range(16, 48),
    "without-beginning.ts": None,  # from the first keyframe that is there
}


@pytest.fixture(scope="module", params=FILMS)
def path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return FILMS[request.param](tmp_path_factory.mktemp("films") / request.param)


@pytest.fixture(scope="module")
def frames(path: Path) -> list[Frame]:
    return list(decode(path))


def same(found: list[Frame], expected: list[Frame]) -> bool:
    return [(frame.index, frame.pts_s, frame.image.tobytes()) for frame in found] == [
        (frame.index, frame.pts_s, frame.image.tobytes()) for frame in expected
    ]


def test_it_reads_as_it_plays(path, frames):
    numbers = [number_in(frame.image) for frame in frames]
    expected = SHOWN.get(path.name, range(48))
    assert numbers == list(range(numbers[0], 48) if expected is None else expected)
    assert 0 <= numbers[0] < 40
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].pts_s == 0.0
    assert frames[-1].pts_s < probe(path).duration_s < frames[-1].pts_s + 0.2


def test_every_frames_own_time_finds_it(path, frames):
    for at, frame in enumerate(frames):
        assert same(list(itertools.islice(decode(path, start_s=frame.pts_s), 3)), frames[at : at + 3])
        before = list(decode(path, start_s=frames[max(at - 2, 0)].pts_s, end_s=frame.pts_s))
        assert same(before, frames[max(at - 2, 0) : at])


@pytest.mark.parametrize("sample_fps", [None, 10.0, 29.97])
@pytest.mark.parametrize("window", [(None, None), (0.3, None), (None, 1.1), (1 / 3, 4 / 3)])
def test_windows_hold_every_frame_of_a_clip_once(path, frames, window, sample_fps):
    start_s, end_s = window
    clip = ClipRef(clip_id="clip", uri=str(path), source_id="clip", start_s=start_s, end_s=end_s)
    expected = [
        frame
        for frame in decode(path, sample_fps=sample_fps)
        if (start_s or 0) <= frame.pts_s < (end_s or np.inf)
    ]
    segments = segments_of(clip, replace(SETTINGS, max_unit_s=0.23))
    assert len(segments) >= 2
    assert all(left.end_s == right.start_s for left, right in itertools.pairwise(segments))
    found = [
        frame
        for segment in segments
        for frame in decode(path, start_s=segment.start_s, end_s=segment.end_s, sample_fps=sample_fps)
    ]
    assert same(found, expected)


def test_no_frame_lies_between_shots(tmp_path):
    """A cut at 0.8 s of an all-intra film: as a float .8 lies above 24 / 30, and frame 24 was in no unit."""

    def paint(number: int) -> np.ndarray:
        return counting_frames()(number) // 8 + (0 if number < 24 else 200)

    path = film(tmp_path / "cut.mov", count=51, codec="mjpeg", pix_fmt="yuvj420p", paint=paint)
    segments = segments_of(ClipRef(clip_id="clip", uri=str(path), source_id="clip"), VideoSettings())
    assert [len(list(decode(path, start_s=part.start_s, end_s=part.end_s))) for part in segments] == [24, 27]


@given(
    numerator=st.sampled_from([1, 1001, 333_667, 7]),
    denominator=st.sampled_from([1000, 24, 30, 24_000, 30_000, 90_000, 15_360, 10_000_000, 1_000_000_000]),
    ticks=st.lists(st.integers(0, 2**40), min_size=1, max_size=30, unique=True),
    cuts=st.lists(st.floats(-1.0, 1e6), max_size=6),
)
def test_ticks_and_seconds_stand_for_each_other(numerator, denominator, ticks, cuts):
    """Law: a frame lies in [a, b) by ticks exactly when it does by its time in seconds, whatever a and b are."""
    pts = np.sort(np.array(ticks, dtype=np.int64)) + 12_345
    index = PacketIndex(
        count=len(pts),
        pts=pts,
        key_pts=pts[:0],
        key_seek=pts[:0],
        time_base=Fraction(numerator, denominator),
        frame_ticks=1,
        duration_s=1.0,
        pixel_aspect=None,
        is_complete=True,
        is_by_dts=False,
    )
    for tick in ticks:
        assert index.seconds(index.tick_from(index.seconds(tick))) == index.seconds(tick)
        assert index.tick_from(index.seconds(tick)) <= tick
    bounds = sorted([*cuts, *(index.seconds(tick) for tick in ticks[:3])])
    for begin_s, end_s in itertools.pairwise(bounds):
        begin, end = index.tick_from(begin_s), index.tick_from(end_s)
        by_tick = [tick for tick in ticks if begin <= tick < end]
        assert by_tick == [tick for tick in ticks if begin_s <= index.seconds(tick) < end_s]


def test_sampling_at_a_films_own_rate_keeps_all_of_it(tmp_path):
    """Matroska rounds 1/30 s to 33 ms, which lies before the second thirtieth."""
    path = film(tmp_path / "clip.mkv")
    assert [frame.index for frame in decode(path, sample_fps=30.0)] == list(range(48))
    assert [frame.index for frame in decode(path, sample_fps=10.0)] == list(range(0, 48, 3))


def test_a_cover_is_not_the_film(tmp_path):
    assert probe(with_cover(tmp_path / "film.mkv")).width_px == 64
