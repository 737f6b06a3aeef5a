"""A film in which nobody is found says whether it was too short, too slow, or simply empty."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.method.empty_results import nobody_found
from pipeline.method.resources import Resources
from pipeline.method.segment import track_segment
from pipeline.records import ClipRef, Segment
from pipeline.video.shots import segments_of
from tests.support.clips import even_times, moving_blob, write_clip


def segment_of(path: Path, frames: int, fps: float) -> Segment:
    write_clip(path, moving_blob(), even_times(frames, fps))
    (segment,) = segments_of(ClipRef(clip_id="clip", uri=str(path), source_id="clip"), Settings().video)
    return segment


@pytest.fixture(scope="module")
def resources() -> Resources:
    return Resources(Settings())


@pytest.mark.parametrize(
    ("frames", "fps", "message", "remedy"),
    [
        (
            10,
            12.0,
            r"in 10 frames \(0.00-0\.\d\d s, 1\d(\.\d)? fps\): fewer than tracking.min_track_frames \(15\)",
            "below 10",
        ),
        (
            20,
            5.0,
            r"tracking.min_track_frames = 15 frames, which is (2.9|3.0) s at this rate",
            "min_track_frames=[23]",
        ),
        (40, 30.0, r"in 40 frames \(0.00-1.33 s, 30 fps\)\.$", r"full view for 0.5 s \(15 frames\)"),
    ],
)
def test_the_message_says_what_is_missing(
    tmp_path: Path, resources: Resources, frames: int, fps: float, message: str, remedy: str
) -> None:
    failure = track_segment(segment_of(tmp_path / "a.mp4", frames, fps), resources).failure
    assert failure is not None
    assert failure.reason == "nobody-found"
    assert re.search(message, failure.message), failure.message
    assert re.search(remedy, failure.remedy), failure.remedy
    assert "full view" not in failure.remedy or fps >= 15


def test_a_rate_that_the_user_lowered_is_named(tmp_path: Path) -> None:
    settings = replace(Settings(), video=replace(Settings().video, sample_fps=6.0))
    error = nobody_found(segment_of(tmp_path / "a.mp4", 90, 30.0), 18, settings)
    assert "2.5 s at this rate" in error.message
    assert "video.sample_fps=6 leaves frames out" in error.remedy


def test_what_is_known_of_the_shot_is_said(tmp_path: Path) -> None:
    segment = replace(
        segment_of(tmp_path / "a.mp4", 40, 30.0), notes="half repeats: video.sample_fps=15 helps"
    )
    assert nobody_found(segment, 40, Settings()).message.endswith("half repeats: video.sample_fps=15 helps.")
