"""Which frames become references: by time, by the published filter, by the widest spread of viewpoints."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.config import PairSettings
from pipeline.geometry.motion import MotionField, PairStatistics
from pipeline.method.pairs import candidate_references, spread_order, viewpoint
from pipeline.method.verdicts import drop_reason, motion_reason


def test_gaps_are_times_not_frame_counts() -> None:
    gaps = (0.1, 0.2)
    for fps in (24.0, 30.0, 60.0):
        pts_s = np.arange(int(fps)) / fps
        target = len(pts_s) // 2
        tried = candidate_references(pts_s, np.ones(len(pts_s), bool), target, gaps)
        offsets = pts_s[tried] - pts_s[target]
        assert len(tried) == 4
        assert np.abs(offsets - [-0.2, -0.1, 0.1, 0.2]).max() <= 0.5 / fps + 1e-9


def test_gated_frames_and_the_target_itself_are_never_tried() -> None:
    pts_s = np.arange(30) / 30
    kept = np.ones(30, bool)
    kept[18] = False
    assert candidate_references(pts_s, kept, 15, (0.1,)) == [12]
    assert candidate_references(pts_s, kept, 15, (0.001,)) == []
    assert candidate_references(pts_s[:1], kept[:1], 0, (0.1,)) == []


def test_a_hole_in_the_track_is_not_bridged() -> None:
    pts_s = np.concatenate([np.arange(10) / 30, 5 + np.arange(10) / 30])
    assert candidate_references(pts_s, np.ones(20, bool), 9, (0.1,)) == [6]


def statistics(**changes: float) -> PairStatistics:
    numbers = dict.fromkeys(PairStatistics.__dataclass_fields__, 0.5) | {
        "rotation_deg": 10.0,
        "mean_baseline_m": 1.0,
    }
    return PairStatistics(**(numbers | changes))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, ""),
        ({"mean_baseline_m": 0.49}, "below-baseline"),
        ({"mean_baseline_m": 0.5}, ""),
        ({"rotation_deg": 40.1}, "turned-too-far"),
        ({"baseline_over_depth": 1.1}, "baseline-over-depth"),
        ({"valid_fraction": 0.1}, "little-common-surface"),
        ({"mean_baseline_m": 0.1, "rotation_deg": 90.0}, "below-baseline"),
    ],
)
def test_each_threshold_has_its_reason(changes: dict[str, float], reason: str) -> None:
    assert drop_reason(statistics(**changes), PairSettings()) == reason


def test_estimates_are_not_judged_by_validity() -> None:
    assert motion_reason(statistics(valid_fraction=0.0), PairSettings()) == ""


def test_viewpoint_of_a_rigid_motion_is_the_camera_centre() -> None:
    angle = 0.3
    rotation = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    centre = np.array([0.4, -0.1, 0.2])
    field = MotionField(
        rotation=np.tile(rotation, (7, 1, 1)), translation=np.tile(-rotation @ centre, (7, 1))
    )
    field.translation[5:] = 9.0  # of vertices that the target does not show
    np.testing.assert_allclose(viewpoint(field, np.arange(5)), centre, atol=1e-12)
    np.testing.assert_array_equal(viewpoint(field, np.arange(0)), np.zeros(3))


def test_spread_beats_taking_them_in_order() -> None:
    rng = np.random.default_rng(0)
    viewpoints = rng.standard_normal((12, 3))
    order = spread_order(viewpoints)
    assert sorted(order) == list(range(12))

    def closest(chosen: list[int]) -> float:
        points = np.vstack([np.zeros(3), viewpoints[chosen]])
        return min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(points, 2))

    assert closest(order[:4]) > closest(list(range(4)))
    best = max(closest(list(chosen)) for chosen in itertools.combinations(range(12), 4))
    assert closest(order[:4]) >= best / 2  # farthest-point order is within a factor of two of the best choice
    assert spread_order(np.zeros((0, 3))) == []
