"""Shots and windows on clips with known cuts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import VideoSettings
from pipeline.records import ClipRef
from pipeline.video.decode import decode
from pipeline.video.shots import equal_windows, segments_of, shot_starts
from schemas.errors import DecodeError, NothingKeptError, SourceError
from tests.support.clips import even_times, flat_colour, moving_blob, scenes, write_clip

SETTINGS = VideoSettings()
RED, BLUE, GREY = flat_colour((200, 40, 30)), flat_colour((20, 60, 190)), flat_colour((110, 110, 110))


def clip_of(path, **fields) -> ClipRef:
    return ClipRef(clip_id="clip", uri=str(path), source_id="clip", **fields)


def bounds_of(segments) -> list[tuple[float, float]]:
    return [(segment.start_s, segment.end_s) for segment in segments]


def test_motion_alone_is_one_shot(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", moving_blob(), even_times(45))
    (segment,) = segments_of(clip_of(path), SETTINGS)
    assert (segment.unit_id, segment.shot_index, segment.start_s) == ("clip-s000-w000", 0, 0.0)
    assert segment.end_s == pytest.approx(1.5)
    assert segment.video.width_px == 128


def test_cuts_are_found_at_their_presentation_times(tmp_path):
    times = np.concatenate([np.arange(20) / 30, 1.0 + np.arange(20) / 10, 4.0 + np.arange(40) / 60])
    path = write_clip(
        tmp_path / "clip.mp4", scenes((moving_blob(), 20), (RED, 20), (moving_blob(), 40)), times
    )
    assert shot_starts(decode(path), SETTINGS) == pytest.approx([0.0, 1.0, 4.0])
    segments = segments_of(clip_of(path), SETTINGS)
    assert [segment.unit_id for segment in segments] == ["clip-s000-w000", "clip-s001-w000", "clip-s002-w000"]
    for segment in segments:  # no shot holds two colours
        means = [
            frame.image[:, :, 0].mean()
            for frame in decode(path, start_s=segment.start_s, end_s=segment.end_s)
        ]
        assert np.ptp(means) < 20


def test_short_shots_are_skipped_and_their_neighbours_stay_apart(tmp_path):
    path = write_clip(
        tmp_path / "clip.mp4", scenes((RED, 30), (BLUE, 5), (GREY, 5), (RED, 30)), even_times(70)
    )
    segments = segments_of(clip_of(path), SETTINGS)
    assert [segment.shot_index for segment in segments] == [0, 3]
    assert bounds_of(segments) == [
        (0.0, pytest.approx(1.0)),
        (pytest.approx(40 / 30), pytest.approx(70 / 30)),
    ]


def test_windows_split_every_frame_exactly_once(tmp_path):
    path = write_clip(
        tmp_path / "clip.mp4", scenes((moving_blob(), 60), (RED, 45)), even_times(105, fps=29.97)
    )
    segments = segments_of(clip_of(path), replace(SETTINGS, max_unit_s=0.7))
    assert [segment.unit_id for segment in segments] == [f"clip-s000-w00{at}" for at in range(3)] + [
        f"clip-s001-w00{at}" for at in range(3)
    ]
    indices = [
        frame.index
        for segment in segments
        for frame in decode(path, start_s=segment.start_s, end_s=segment.end_s, max_side_px=16)
    ]
    assert indices == list(range(105))


def test_a_unit_has_no_more_frames_than_memory_is_there_for(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", moving_blob(px_per_frame=0.5), even_times(120, fps=60))
    segments = segments_of(clip_of(path), replace(SETTINGS, max_unit_frames=45))
    frames = [
        sum(1 for _ in decode(path, start_s=part.start_s, end_s=part.end_s, max_side_px=16))
        for part in segments
    ]
    assert len(frames) == 3
    assert sum(frames) == 120
    assert max(frames) <= 45
    assert len(segments_of(clip_of(path), replace(SETTINGS, max_unit_frames=45, sample_fps=20.0))) == 1


@pytest.mark.parametrize(("fps", "seconds"), [(10, 20), (30.02, 20), (60, 640 / 60), (240, 640 / 240)])
def test_the_longest_unit_by_frames_a_second(fps, seconds):
    assert VideoSettings().longest_unit_s(fps) == pytest.approx(seconds)


def test_a_clips_own_window_is_kept(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", scenes((RED, 40), (BLUE, 50)), even_times(90))
    segments = segments_of(clip_of(path, start_s=0.5, end_s=2.5), SETTINGS)
    assert bounds_of(segments) == [(pytest.approx(0.5), pytest.approx(4 / 3)), (pytest.approx(4 / 3), 2.5)]


def test_a_pause_ends_a_shot(tmp_path):
    times = np.concatenate([np.arange(30) / 30, 5000.0 + np.arange(30) / 30])
    path = write_clip(tmp_path / "clip.mp4", moving_blob(px_per_frame=0.5), times)
    segments = segments_of(clip_of(path), SETTINGS)
    assert bounds_of(segments) == [
        (0.0, pytest.approx(1.0)),
        (pytest.approx(5000.0), pytest.approx(5001.0)),
    ]


@pytest.mark.parametrize(("start_s", "end_s"), [(5.0, None), (1.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_a_window_outside_the_clip_is_an_error(tmp_path, start_s, end_s):
    path = write_clip(tmp_path / "clip.mp4", RED, even_times(60))
    with pytest.raises(SourceError, match=r"2\.00 s"):
        segments_of(clip_of(path, start_s=start_s, end_s=end_s), SETTINGS)


def test_only_short_shots_is_an_error_not_an_empty_list(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", RED, even_times(10))
    with pytest.raises(NothingKeptError, match=r"longest 0\.33 s"):
        segments_of(clip_of(path), SETTINGS)


def test_an_unreadable_clip_is_a_typed_error(tmp_path):
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(DecodeError):
        segments_of(clip_of(tmp_path / "text.mp4"), SETTINGS)
    with pytest.raises(SourceError):
        segments_of(clip_of(tmp_path / "missing.mp4"), SETTINGS)
    with pytest.raises(SourceError):
        segments_of(clip_of("gs://bucket/clip.mp4"), SETTINGS)


@pytest.mark.parametrize("length_s", [0.4, 20.0, 20.000001, 59.999, 60.0, 3600.0])
def test_equal_windows_tile_their_shot(length_s):
    windows = equal_windows(3.0, 3.0 + length_s, 20.0)
    assert windows[0][0] == 3.0
    assert windows[-1][1] == 3.0 + length_s
    assert all(left[1] == right[0] for left, right in itertools.pairwise(windows))
    lengths = [stop - start for start, stop in windows]
    assert max(lengths) <= 20.0 + 1e-6
    assert max(lengths) - min(lengths) < 1e-9
    assert len(windows) == max(1, round(np.ceil(length_s / 20.0 - 1e-9)))


def test_a_shot_of_one_frame_before_a_pause_holds_it(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", moving_blob(px_per_frame=0.2), [0.0, 0.1, 5.0, 10.0, 10.1])
    segments = segments_of(clip_of(path), replace(SETTINGS, min_shot_s=0.0))
    found = [
        [frame.index for frame in decode(path, start_s=part.start_s, end_s=part.end_s)] for part in segments
    ]
    assert found == [[0, 1], [2], [3, 4]]


def test_a_shot_of_exactly_the_minimum_is_kept(tmp_path):
    """61 / 30 - 22 / 30 is 1.2999999999999998."""
    path = write_clip(tmp_path / "clip.mp4", scenes((RED, 22), (BLUE, 39)), even_times(61))
    (segment,) = segments_of(clip_of(path), replace(SETTINGS, min_shot_s=1.3))
    assert segment.start_s == pytest.approx(22 / 30)
    assert segment.end_s - segment.start_s < 1.3
