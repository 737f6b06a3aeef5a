"""Tracks that two landmark models saw in turn: closed forms and laws of what is made of both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.config import Settings, TrackingSettings
from pipeline.records import Footage
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.people import Observations
from pipeline.tracking.tracker import LandmarkTracker
from pipeline.tracking.two_models import LONGEST_S, is_covered, joined_landmarks, linear_in_time
from tests.support.toy_people import observations, observed_stick, with_swapped_frames

FPS = 30


def times(count: int, seed: int = 0) -> np.ndarray:
    """Uneven presentation times around those of 30 frames a second."""
    return (np.arange(count) + np.random.default_rng(seed).uniform(-0.2, 0.2, count)) / FPS


def pattern(count: int, every: int, first: int = 0) -> np.ndarray:
    """Frames that the heavier model sees."""
    return np.arange(count) % every == first


def two_looks(pts_s: np.ndarray, seed: int = 1) -> tuple[Observations, Observations]:
    """What the heavier model says of all frames, linear in time, and what the usual one does, off by a constant."""
    rng = np.random.default_rng(seed)
    t = pts_s[:, None, None]
    xy = rng.uniform(100, 300, (33, 2)) + t * rng.normal(0, 100, (33, 2))
    world = rng.normal(0, 0.5, (33, 3)) + t * rng.normal(size=(33, 3))
    heavier = observations(pts_s, xy, world, image_hw=(400, 400))
    usual = observations(
        pts_s, xy + rng.normal(0, 3, (33, 2)), world + rng.normal(0, 0.05, (33, 3)), image_hw=(400, 400)
    )
    return heavier, replace(usual, visibility=usual.visibility - 0.1, presence=usual.presence - 0.2)


def in_turn(heavier: Observations, usual: Observations, is_heavier: np.ndarray) -> Observations:
    """Each frame as its model saw it."""
    names = ("xy_px", "world_m", "visibility", "presence")
    mixed = {}
    for name in names:
        one, other = getattr(heavier, name), getattr(usual, name)
        mixed[name] = np.where(is_heavier.reshape(-1, *[1] * (one.ndim - 1)), one, other)
    return replace(heavier, **mixed, is_heavier=is_heavier)


@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("first", [0, 1])
def test_uniform_motion_and_a_constant_difference_are_recovered_exactly(every, first):
    """At every frame, those before the first and after the last look of the heavier model too."""
    pts_s = times(23)
    heavier, usual = two_looks(pts_s)
    joined = joined_landmarks(in_turn(heavier, usual, pattern(23, every, first)))
    np.testing.assert_allclose(joined.xy_px, heavier.xy_px, atol=1e-9)
    np.testing.assert_allclose(joined.visibility, heavier.visibility, atol=1e-12)
    np.testing.assert_allclose(joined.presence, heavier.presence, atol=1e-12)
    both = is_covered(pts_s, pattern(23, every, first)) & is_covered(pts_s, ~pattern(23, every, first))
    assert both.sum() > 15
    np.testing.assert_allclose(
        joined.world_m[both], ((heavier.world_m + usual.world_m) / 2)[both], atol=1e-12
    )


def test_where_one_model_saw_all_frames_nothing_changes():
    heavier, usual = two_looks(times(9))
    for seen in (
        heavier,
        replace(heavier, is_heavier=np.ones(9, bool)),
        replace(usual, is_heavier=np.zeros(9, bool)),
    ):
        assert joined_landmarks(seen) is seen


def test_frames_of_the_heavier_model_stay_and_the_usual_one_says_nothing_of_the_picture_between():
    pts_s, is_heavier = times(21), pattern(21, 4)
    seen = replace(observed_stick(pts_s, np.linspace(0, 1, 21)), is_heavier=is_heavier)
    noisy = seen.xy_px.copy()
    noisy[~is_heavier] += np.random.default_rng(3).normal(0, 2, (int((~is_heavier).sum()), 33, 2))
    joined, other = joined_landmarks(seen), joined_landmarks(replace(seen, xy_px=noisy))
    np.testing.assert_array_equal(joined.xy_px[is_heavier], seen.xy_px[is_heavier])
    np.testing.assert_array_equal(other.xy_px, joined.xy_px)


def test_one_exchanged_frame_of_the_usual_model_does_not_spread():
    pts_s, is_heavier = times(25), pattern(25, 4)
    seen = replace(observed_stick(pts_s, np.linspace(0.2, 0.8, 25)), is_heavier=is_heavier)
    swapped = np.zeros(25, bool)
    swapped[[6, 13]] = True
    exchanged = with_swapped_frames(seen, swapped, mirror_permutation())
    assert np.abs(exchanged.world_m - seen.world_m).max() > 0.1
    one, other = joined_landmarks(seen), joined_landmarks(exchanged)
    np.testing.assert_allclose(other.xy_px, one.xy_px, atol=1e-12)
    np.testing.assert_allclose(other.world_m, one.world_m, atol=1e-12)


def test_nothing_is_drawn_across_a_gap():
    pts_s = times(20)
    pts_s[11:] += 1.0
    heavier, usual = two_looks(pts_s)
    is_heavier = pattern(20, 3)  # 9 and 12 lie on both sides of the gap between 10 and 11
    mixed = in_turn(heavier, usual, is_heavier)
    turn = np.random.default_rng(4).normal(0, 2, (33, 2))
    off = mixed.xy_px.copy()
    off[[10, 11]] += turn
    joined = joined_landmarks(replace(mixed, xy_px=off))
    np.testing.assert_allclose(joined.xy_px[[10, 11]], heavier.xy_px[[10, 11]] + turn, atol=1e-9)
    rest = np.delete(np.arange(20), [10, 11])
    np.testing.assert_allclose(joined.xy_px[rest], heavier.xy_px[rest], atol=1e-9)


def test_the_fit_is_given_the_landmarks_of_both_with_sides_put_right():
    """Frames of either model in which sides are exchanged are repaired before anything is drawn through them."""
    pts_s, is_heavier = np.arange(20) / FPS, pattern(20, 2)
    seen = replace(observed_stick(pts_s, np.linspace(0.2, 0.8, 20)), is_heavier=is_heavier)
    swapped = np.zeros(20, bool)
    swapped[[8, 13]] = True
    settings = Settings(tracking=TrackingSettings(iterations=(1, 1)))
    mixed = with_swapped_frames(seen, swapped, mirror_permutation())
    tracker = LandmarkTracker(BodyModel.open_body(), settings)
    ((_, fitted),) = tracker.fitted([mixed], Footage(unit_id="stick", focal_px=900.0))
    np.testing.assert_allclose(fitted.xy_px, joined_landmarks(seen).xy_px, atol=1e-9)
    np.testing.assert_allclose(fitted.world_m, joined_landmarks(seen).world_m, atol=1e-9)
    assert np.abs(fitted.xy_px - seen.xy_px).max() > 0.01


def test_linear_in_time_against_numpy():
    pts_s, known = times(17), np.random.default_rng(5).uniform(size=17) < 0.4
    values = np.random.default_rng(6).normal(size=(17, 4, 3))
    drawn = linear_in_time(pts_s, known, values)
    for at in np.ndindex(4, 3):
        own = values[(slice(None), *at)]
        np.testing.assert_allclose(
            drawn[(slice(None), *at)], np.interp(pts_s, pts_s[known], own[known]), atol=1e-12
        )


def test_covered_frames_against_a_slow_loop():
    pts_s = np.cumsum(np.random.default_rng(7).uniform(0.01, 0.12, 60))
    known = np.random.default_rng(8).uniform(size=60) < 0.4
    slow = known.copy()
    for at in np.flatnonzero(~known):
        before, after = pts_s[:at][known[:at]], pts_s[at:][known[at:]]
        slow[at] = bool(len(before) and len(after)) and after[0] - before[-1] <= LONGEST_S
    assert 0 < (slow & ~known).sum() < (~known).sum()
    np.testing.assert_array_equal(is_covered(pts_s, known), slow)
    assert not is_covered(pts_s, np.zeros(60, bool)).any()
