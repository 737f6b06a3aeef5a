"""Planted exchanges of left and right, people who really turn, frame rates, and every path of short tracks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.tracking.landmark_twins import MIRROR_PAIRS, mirror_permutation
from pipeline.tracking.left_right import (
    BODY_LANDMARKS,
    find_swaps,
    lags_of,
    repair_left_right,
)
from pipeline.tracking.people import Observations
from pipeline.tracking.track_building import EXCHANGED, with_exchanged_frames
from tests.support.toy_people import observations, observed_stick, stick_figure, with_swapped_frames

SWAP_COST = 0.015
TWIN = mirror_permutation()


def test_every_landmark_but_the_nose_has_a_twin():
    assert sorted(itertools.chain.from_iterable(MIRROR_PAIRS)) == list(range(1, 33))
    assert TWIN[0] == 0
    np.testing.assert_array_equal(TWIN[TWIN], np.arange(33))
    mirrored = stick_figure()[TWIN] * [-1, 1, 1]
    np.testing.assert_allclose(mirrored, stick_figure())


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
@pytest.mark.parametrize(
    "spans_s", [[], [(1.0, 1.05)], [(0.6, 0.9)], [(0.5, 0.6), (0.7, 0.75), (1.3, 1.7)], [(1.7, 2.0)]]
)
@pytest.mark.parametrize("yaw", [0.0, 0.7, 2.6])
def test_planted_swaps_are_found_exactly(fps, spans_s, yaw):
    times = np.arange(round(2 * fps)) / fps
    swapped = np.zeros(len(times), bool)
    for begin, end in spans_s:
        swapped |= (times >= begin) & (times < end)
    rng = np.random.default_rng(5)
    true = observed_stick(times, np.full(len(times), yaw), noise_m=0.004, rng=rng)
    seen = with_swapped_frames(true, swapped, TWIN)
    np.testing.assert_array_equal(find_swaps(seen, SWAP_COST), swapped)
    repaired, found = repair_left_right(seen, SWAP_COST)
    np.testing.assert_array_equal(found, swapped)
    for name in ("xy_px", "world_m", "visibility", "presence"):
        np.testing.assert_array_equal(getattr(repaired, name), getattr(true, name))
    assert repaired.segmentation is seen.segmentation


def test_visibility_goes_with_its_landmark():
    times = np.arange(40) / 30
    true = observed_stick(times, np.zeros(40))
    true.visibility[:] = np.linspace(0.1, 0.9, 33)
    true.presence[:] = np.linspace(0.9, 0.2, 33)
    swapped = (times > 0.5) & (times < 0.8)
    repaired, _ = repair_left_right(with_swapped_frames(true, swapped, TWIN), SWAP_COST)
    np.testing.assert_array_equal(repaired.visibility, true.visibility)
    np.testing.assert_array_equal(repaired.presence, true.presence)


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0])
@pytest.mark.parametrize("turn_s", [1.0, 2.0])
def test_who_really_turns_round_is_left_alone(fps, turn_s):
    times = np.arange(round(4 * fps)) / fps
    yaw = np.pi * np.clip((times - 1) / turn_s, 0, 1)  # half a turn, then on with the back to the camera
    rng = np.random.default_rng(6)
    seen = observed_stick(times, yaw, noise_m=0.004, rng=rng)
    assert not find_swaps(seen, SWAP_COST).any()
    same, _ = repair_left_right(seen, SWAP_COST)
    assert same is seen
    swapped = (times > 1 + 0.4 * turn_s) & (times < 1 + 0.6 * turn_s)
    np.testing.assert_array_equal(find_swaps(with_swapped_frames(seen, swapped, TWIN), SWAP_COST), swapped)


@pytest.mark.parametrize("fps", [12.5, 24.0, 30.0, 60.0, 120.0])
def test_how_long_a_swap_may_last_is_a_time_not_a_count(fps):
    """Two jumps cost 2 J, staying swapped for d seconds costs 30 d times the swap cost: equal at one d."""
    still = observed_stick(np.zeros(2), np.full(2, 0.4), drift_px_s=0)
    both = with_swapped_frames(still, np.array([False, True]), TWIN)
    body = list(BODY_LANDMARKS)
    jump = np.linalg.norm(np.diff(both.xy_px[:, body], axis=0), axis=-1).mean() / still.size_px[0]
    jump += 0.5 * np.linalg.norm(np.diff(both.world_m[:, body], axis=0), axis=-1).mean()
    longest_s = 2 * jump / (30 * SWAP_COST)
    assert 0.5 < longest_s < 3
    for share, expected in ((0.9, True), (1.1, False)):
        times = np.arange(round(8 * fps)) / fps
        swapped = (times >= 4) & (times < 4 + share * longest_s)
        true = observed_stick(times, np.full(len(times), 0.4), drift_px_s=0, stride_hz=0)
        found = find_swaps(with_swapped_frames(true, swapped, TWIN), SWAP_COST)
        np.testing.assert_array_equal(found, swapped if expected else np.zeros(len(times), bool))


def path_cost(seen: Observations, state: tuple[int, ...]) -> float:
    """Cost of one path, pair by pair."""
    body = list(BODY_LANDMARKS)
    height = np.median(seen.size_px)
    chosen = []
    for t, swapped in enumerate(state):
        xy, world = seen.xy_px[t], seen.world_m[t]
        if swapped:
            xy, world = xy[TWIN], world[TWIN] * [1, 1, -1]
        chosen.append((xy[body] - xy[body].mean(axis=0), world[body]))
    cost = 30 * SWAP_COST * state[0]
    for t in range(1, len(state)):
        cost += SWAP_COST * 30 * (seen.pts_s[t] - seen.pts_s[t - 1]) * state[t]
    lags = lags_of(seen.pts_s)
    for lag, t in itertools.product(lags, range(1, len(state))):
        if t < lag or (lag > 1 and seen.pts_s[t] - seen.pts_s[t - lag] > 0.5):
            continue
        (xy_before, world_before), (xy, world) = chosen[t - lag], chosen[t]
        travelled = np.mean([np.hypot(*step) for step in xy - xy_before]) / height
        travelled += 0.5 * np.mean([np.sqrt((step**2).sum()) for step in world - world_before])
        cost += travelled / lag / len(lags)
    return cost


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("count", "longest_s"), [(1, 0.6), (2, 0.6), (7, 0.6), (9, 0.05), (11, 0.02)])
def test_against_every_path(seed, count, longest_s):
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.3 * longest_s, longest_s, count))
    # near-symmetric, jittered figures make the states nearly equal, so that every path has its chance
    true = observed_stick(times, rng.uniform(0.8, 2.4, count), noise_m=0.15, rng=rng)
    seen = with_swapped_frames(true, rng.random(count) < 0.5, TWIN)
    paths = list(itertools.product((0, 1), repeat=count))
    costs = np.array([path_cost(seen, path) for path in paths])
    best = paths[int(costs.argmin())]
    np.testing.assert_array_equal(find_swaps(seen, SWAP_COST), np.array(best, bool))


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0, 120.0])
def test_lags_are_times(fps):
    assert lags_of(np.arange(100) / fps)[-1] == min(round(fps * 2 / 15), 8)
    assert lags_of(np.zeros(1)) == ()
    assert max(lags_of(np.arange(3) / fps)) <= 2


@pytest.mark.parametrize(("fps", "count"), [(24, 1), (30, 1), (60, 1), (60, 3)])
def test_an_exchange_behind_frames_that_show_neither(fps, count):
    """Between right and wrong frames lie some in which left and right coincide: neighbours alone cannot tell."""
    times = np.arange(2 * fps) / fps
    true = observed_stick(times, np.zeros(len(times)), drift_px_s=0, stride_hz=0)
    swapped = (times > 0.7) & (times < 1.0)
    seen = with_swapped_frames(true, swapped, TWIN)
    first, last = np.flatnonzero(swapped)[[0, -1]]
    for neither in (slice(first - count, first), slice(last + 1, last + 1 + count)):
        seen.xy_px[neither] = (true.xy_px[neither] + true.xy_px[neither][:, TWIN]) / 2
        exchanged = true.world_m[neither][:, TWIN] * [1, 1, -1]
        seen.world_m[neither] = (true.world_m[neither] + exchanged) / 2
    np.testing.assert_array_equal(find_swaps(seen, SWAP_COST)[swapped], True)
    still_there = np.r_[0 : first - count, last + 1 + count : len(times)]
    assert not find_swaps(seen, SWAP_COST)[still_there].any()


def test_a_person_without_extent_does_not_crash():
    nothing = observations(np.arange(3) / 30, np.zeros((3, 33, 2)), np.zeros((3, 33, 3)), image_hw=(10, 10))
    assert not find_swaps(nothing, SWAP_COST).any()


@pytest.mark.parametrize("gated", [8, 12])
def test_what_the_repair_cannot_see_is_gated(gated):
    """Frames that show neither side last longer than the repair looks; they are gated, and what is left is compared."""
    times = np.arange(120) / 30
    true = observed_stick(times, np.zeros(120), drift_px_s=0, stride_hz=0)
    swapped = np.zeros(120, bool)
    swapped[60:75] = True
    seen = with_swapped_frames(true, swapped, TWIN)
    neither = np.zeros(120, bool)
    neither[60 - gated : 60] = neither[75 : 75 + gated] = True
    seen.xy_px[neither] = (true.xy_px[neither] + true.xy_px[neither][:, TWIN]) / 2
    seen.world_m[neither] = (true.world_m[neither] + true.world_m[neither][:, TWIN] * [1, 1, -1]) / 2
    assert not find_swaps(seen, SWAP_COST)[swapped].any()
    reasons = tuple(np.where(neither, "high-reprojection-error", "").tolist())
    found = with_exchanged_frames(reasons, seen, SWAP_COST)
    assert found == tuple(np.where(swapped, EXCHANGED, np.array(reasons)).tolist())
    assert with_exchanged_frames(reasons, true, SWAP_COST) == reasons
    nothing_kept = ("low-score",) * 120
    assert with_exchanged_frames(nothing_kept, seen, SWAP_COST) == nothing_kept


def test_some_frames_of_observations():
    seen = observed_stick(np.arange(9) / 30, np.zeros(9))
    chosen = np.arange(9) % 2 == 1
    part, same = seen.at(chosen), seen.at(np.array([1, 3, 5, 7]))
    for each in (part, same):
        assert len(each) == 4
        np.testing.assert_array_equal(each.pts_s, seen.pts_s[chosen])
        np.testing.assert_array_equal(each.world_m, seen.world_m[chosen])
        np.testing.assert_array_equal(each.size_px, seen.size_px[chosen])
