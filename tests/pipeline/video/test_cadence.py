"""Film that repeats or blends the frames of a slower film, and film that does not, of a figure that walks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Settings, VideoSettings
from pipeline.method.rows import clip_row
from pipeline.records import ClipRef, Segment, UnitCounts
from pipeline.runner.units import UnitWork, cut_clip
from pipeline.video.cadence import cadence_of
from pipeline.video.decode import decode
from pipeline.video.motion import Changes
from pipeline.video.shots import frames_of, segments_of
from tests.support.clips import Paint, write_clip

SETTINGS = VideoSettings()
HW = (108, 192)
SPEED_PX_S = 40.0
"""The figure is 40 px high: a person walks a body height in about a second."""

REPEATS = [
    (60, 24),
    (120, 30),
    (50, 25),
    (24, 12),
    (30, 24),
    (30, 25),
    (60, 30),
    (60_000 / 1001, 24_000 / 1001),
    (60, 15),
]
BLENDS = [(120, 30), (60, 24), (50, 25), (60, 30), (120, 24)]


def walker(speed_px_s: float = SPEED_PX_S, noise: float = 0.0) -> Callable[[float], np.ndarray]:
    """A textured figure at a time in seconds, swinging as it walks over a textured ground: (H, W) float grey."""
    v, u = np.mgrid[: HW[0], : HW[1]] + 0.5
    ground = 90 + 30 * np.sin(u / 5) * np.cos(v / 4)
    rng = np.random.default_rng(0)

    def picture(time_s: float) -> np.ndarray:
        way = speed_px_s * time_s
        left = 20 + (way if speed_px_s <= 100 else 60 * (1 - math.cos(way / 60)))
        x, y = u - left - 3 * np.sin(way / 9 + v / 10), v - 54
        inside = 1 / (1 + np.exp(2.5 * (np.hypot(x / 9, y / 22) - 1) * 8))
        image = ground * (1 - inside) + (150 + 60 * np.sin(x / 2) * np.cos(y / 3)) * inside
        return image + rng.normal(0, noise, HW) if noise else image

    return picture


def paint_of(grey: Callable[[int], np.ndarray]) -> Paint:
    return lambda number: np.repeat(
        np.clip(np.rint(grey(number)), 0, 255).astype(np.uint8)[..., None], 3, axis=-1
    )


def converted(stored_fps: float, true_fps: float, *, blended: bool) -> Callable[[int], np.ndarray]:
    """Frame -> picture, where the film's own pictures are `true_fps` apart."""
    at = walker(160.0 if stored_fps > 100 else SPEED_PX_S)

    def grey(number: int) -> np.ndarray:
        place = number * true_fps / stored_fps + 1e-6
        before, share = math.floor(place), place % 1
        if not blended or share < 1e-3:
            return at(before / true_fps)
        return (1 - share) * at(before / true_fps) + share * at((before + 1) / true_fps)

    return grey


def film(
    path: Path,
    grey: Callable[[int], np.ndarray],
    fps: float,
    seconds: float = 2.2,
    *,
    crf: int = 20,
    b_frames: int = 2,
    x264: str = "b-adapt=1",
) -> Path:
    times = np.arange(round(seconds * fps)) / fps
    options = {"preset": "veryfast", "crf": str(crf), "x264-params": x264}
    return write_clip(path, paint_of(grey), times, options=options, key_every=60, b_frames=b_frames)


def clip_of(path: Path) -> ClipRef:
    return ClipRef(clip_id="clip", uri=str(path), source_id="clip")


def indices(segments: list[Segment], settings: VideoSettings = SETTINGS) -> list[int]:
    return [frame.index for segment in segments for frame in frames_of(segment, settings)]


@pytest.mark.parametrize(("stored_fps", "true_fps"), REPEATS)
def test_repeats_are_left_out_and_every_picture_is_kept_once(
    tmp_path: Path, stored_fps: float, true_fps: float
) -> None:
    path = film(tmp_path / "a.mp4", converted(stored_fps, true_fps, blended=False), stored_fps)
    (segment,) = segments_of(clip_of(path), SETTINGS)
    assert segment.sample_fps == pytest.approx(true_fps, rel=1e-3)
    assert segment.notes == (
        f"{stored_fps:.4g} fps with repeated frames, sampled at its true {true_fps:.4g} fps"
    )
    kept = indices([segment])
    pictures = [math.floor(index * true_fps / stored_fps + 1e-6) for index in kept]
    assert pictures == list(range(len(kept)))
    assert len(kept) == pytest.approx(2.2 * true_fps, abs=1.01)


@pytest.mark.parametrize(("stored_fps", "true_fps"), BLENDS)
def test_the_least_blended_frame_of_every_picture_is_kept(
    tmp_path: Path, stored_fps: float, true_fps: float
) -> None:
    path = film(tmp_path / "a.mp4", converted(stored_fps, true_fps, blended=True), stored_fps)
    (segment,) = segments_of(clip_of(path), SETTINGS)
    assert segment.sample_fps == pytest.approx(true_fps, rel=1e-3)
    assert "blended frames" in segment.notes
    places = np.array(indices([segment])) * true_fps / stored_fps
    assert np.rint(places).tolist() == list(range(len(places)))
    assert np.abs(places - np.rint(places)).max() <= 0.5 * true_fps / stored_fps + 1e-6


@pytest.mark.parametrize(("noise", "crf"), [(0.0, 30), (3.0, 18)])
@pytest.mark.parametrize(
    ("fps", "speed_px_s"), [(24, 40), (60, 40), (120, 40), (60, 8), (120, 4), (60, 400), (60, 0)]
)
def test_film_at_its_true_rate_is_left_alone(
    tmp_path: Path, fps: float, speed_px_s: float, noise: float, crf: int
) -> None:
    at = walker(speed_px_s, noise)
    path = film(tmp_path / "a.mp4", lambda number: at(number / fps), fps, crf=crf)
    (segment,) = segments_of(clip_of(path), SETTINGS)
    assert (segment.sample_fps, segment.sample_start_s, segment.notes) == (None, 0.0, "")
    assert indices([segment]) == list(range(round(2.2 * fps)))


@pytest.mark.parametrize(
    ("fps", "b_frames", "crf", "speed_px_s"), [(120, 3, 18, 40), (120, 3, 26, 40), (60, 1, 26, 20)]
)
def test_frames_that_the_encoder_averaged_are_no_blends_of_a_converter(
    tmp_path: Path, fps: float, b_frames: int, crf: int, speed_px_s: float
) -> None:
    """Slow motion in a small picture: B frames at a fixed part of the rate, with next to nothing of their own."""
    at = walker(speed_px_s)
    path = film(
        tmp_path / "a.mp4",
        lambda number: at(number / fps),
        fps,
        1.6,
        crf=crf,
        b_frames=b_frames,
        x264="b-adapt=0",
    )
    (segment,) = segments_of(clip_of(path), SETTINGS)
    assert segment.sample_fps is None


def test_a_figure_that_stops_and_goes_on_is_not_taken_for_repeats(tmp_path: Path) -> None:
    at = walker()
    path = film(
        tmp_path / "a.mp4", lambda number: at(min(number % 40, 25) / 60 + number // 40 * 25 / 60), 60, 4.0
    )
    (segment,) = segments_of(clip_of(path), SETTINGS)
    assert segment.sample_fps is None


@pytest.mark.parametrize("blended", [False, True])
def test_windows_keep_the_frames_that_the_whole_shot_keeps(tmp_path: Path, blended: bool) -> None:
    path = film(tmp_path / "a.mp4", converted(60, 24, blended=blended), 60)
    whole = segments_of(clip_of(path), SETTINGS)
    windows = segments_of(clip_of(path), replace(SETTINGS, max_unit_s=0.3))
    assert len(windows) == 8
    assert indices(windows) == indices(whole)
    assert indices(segments_of(clip_of(path), SETTINGS)) == indices(whole)


@pytest.mark.parametrize(
    ("blended", "kept"), [(False, [0, *range(1, 131, 2)]), (True, [0, *range(1, 131, 2)])]
)
def test_a_film_may_begin_in_the_middle_of_its_rhythm(tmp_path: Path, blended: bool, kept: list[int]) -> None:
    grey = converted(60, 30, blended=blended)
    path = film(tmp_path / "a.mp4", lambda number: grey(number + 1), 60, seconds=131 / 60)
    assert indices(segments_of(clip_of(path), SETTINGS)) == kept


def test_every_shot_has_its_own_rhythm(tmp_path: Path) -> None:
    slow, true = converted(60, 30, blended=False), walker(40)
    path = film(
        tmp_path / "a.mp4",
        lambda number: slow(number) if number < 90 else 180 + 0.3 * true(number / 60),
        60, seconds=3.0,
    )  # fmt: skip
    first, second = segments_of(clip_of(path), SETTINGS)
    assert (first.sample_fps, second.sample_fps) == (pytest.approx(30), None)
    assert indices([first, second]) == [*range(0, 90, 2), *range(90, 180)]


def test_the_rate_given_by_the_user_wins_and_off_is_off(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", converted(60, 24, blended=False), 60)
    for settings, wanted in (
        (replace(SETTINGS, sample_fps=10.0), list(range(0, 132, 6))),
        (replace(SETTINGS, cadence="off"), list(range(132))),
    ):
        segments = segments_of(clip_of(path), settings)
        assert indices(segments, settings) == wanted
        assert segments[0].notes == ""


def test_repeats_without_a_rhythm_are_noted_with_the_rate_that_thins_them(tmp_path: Path) -> None:
    rng, at = np.random.default_rng(5), walker()
    shown = np.maximum.accumulate(np.where(rng.random(132) < 0.4, 0, np.arange(132)))
    path = film(tmp_path / "a.mp4", lambda number: at(shown[number] / 60), 60)
    (segment,) = segments_of(clip_of(path), SETTINGS)
    assert segment.sample_fps is None
    assert "no regular rhythm: video.sample_fps=" in segment.notes
    rate = float(segment.notes.split("video.sample_fps=")[1].split()[0])
    assert rate == pytest.approx(60 * len(set(shown)) / 132, rel=0.15)


def test_a_rhythm_holds_through_a_long_shot() -> None:
    """24 in 59.94 fps over ten minutes: the pattern slips by a whole picture every 17 s against 2 in 5."""
    stored, true = 60_000 / 1001, 24.0
    pts_s = np.arange(round(600 * stored)) / stored
    fresh = np.diff(np.floor(pts_s * true + 1e-9), prepend=-1) > 0
    quiet = (pts_s % 60) > 20  # people stand still most of the time
    change = np.where(fresh & ~quiet, 0.3, 0.0)
    still = np.zeros_like(change)
    seen = Changes(pts_s=pts_s, change=change, change_peak=200 * change, bend=still, bend_peak=still)
    found = cadence_of(seen, 1920)
    assert found.sample_fps == pytest.approx(true, rel=1e-5)
    ticks = np.floor((pts_s - found.start_s) * found.sample_fps)
    kept = np.diff(ticks) > 0
    assert (kept == fresh[1:])[~quiet[1:]].mean() > 0.995


def test_the_note_reaches_the_clips_table_beside_the_films_own(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", converted(60, 30, blended=False), 60)
    (segment,) = segments_of(clip_of(path), SETTINGS)
    hdr = replace(segment, video=replace(segment.video, notes="HDR (PQ) tone-mapped to BT.709"))
    counts = UnitCounts(unit_id=segment.unit_id, outcome="kept")
    assert clip_row(segment, counts, 1)["notes"] == segment.notes
    assert clip_row(hdr, counts, 1)["notes"] == f"HDR (PQ) tone-mapped to BT.709; {segment.notes}"


def test_a_resumed_run_knows_the_rhythm_without_looking_again(tmp_path: Path, monkeypatch) -> None:
    path = film(tmp_path / "a.mp4", converted(60, 24, blended=False), 60)
    work = UnitWork(settings=Settings(), root=str(tmp_path / "dataset"))
    first = cut_clip(work, clip_of(path)).todo
    monkeypatch.setattr("pipeline.video.shots.segments_of", lambda *_: pytest.fail("looked for shots again"))
    again = cut_clip(work, clip_of(path)).todo
    assert again == first
    assert again[0].sample_fps == pytest.approx(24)
    assert (
        len(list(decode(path, sample_fps=again[0].sample_fps, sample_start_s=again[0].sample_start_s))) == 53
    )
