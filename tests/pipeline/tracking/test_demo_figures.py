"""What tracking reaches on a piece of the demo clip (two people), and broken variants that must fall short of it.

Bars are those the whole clip has to meet; `make accuracy` shows the whole clip's.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.assets import asset_path
from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.records import Footage, Track
from pipeline.tracking import tracker as tracker_module
from pipeline.tracking.blazepose import Detections, PoseModels
from pipeline.tracking.fit_energy import EnergyWeights
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.people import Observations, follow_people
from pipeline.tracking.tracker import LandmarkTracker, landmark_models
from pipeline.video.decode import decode
from tests.accuracy.demo import demo_figures

WINDOW_S = (1.8, 3.2)
"""Both people in full view."""
MAN, WOMAN = 0, 1


@pytest.fixture(scope="module")
def followed() -> list[Observations]:
    """The people of the window as the networks saw them: computed once, fitted several times."""
    frames = decode(asset_path("demo.mp4"), start_s=WINDOW_S[0], end_s=WINDOW_S[1])
    settings = Settings()
    return follow_people(frames, landmark_models(settings), settings.tracking)


def fitted(
    followed: list[Observations],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    weights: EnergyWeights | None = None,
) -> list[Track]:
    monkeypatch.setattr(tracker_module, "follow_people", lambda *_: followed)
    body = BodyModel.open_body()
    return LandmarkTracker(body, settings, _Unused(), weights).track([], Footage(unit_id="demo"))


class _Unused:
    """The networks have run already."""

    def detect_people(self, image: np.ndarray, threshold: float) -> Detections:
        raise AssertionError

    def landmarks(self, image: np.ndarray, region: object, *, heavier: bool = False) -> None:
        raise AssertionError


def test_two_people_without_an_identity_switch(followed: list[Observations]) -> None:
    assert len(followed) == 2
    man, woman = followed
    assert len(man) >= 40
    assert len(woman) >= 40
    # the man stays in the left part and the woman walks in from the right: one path each, no jumps
    for person in followed:
        hips = person.xy_px[:, 23:25].mean(axis=1)
        assert (np.linalg.norm(np.diff(hips, axis=0), axis=1) < 0.15 * np.median(person.size_px)).all()
    assert man.xy_px[:, 23, 0].max() < woman.xy_px[:, 23, 0].min()


def test_figures(followed: list[Observations], monkeypatch: pytest.MonkeyPatch) -> None:
    man, woman = (demo_figures(track) for track in fitted(followed, Settings(), monkeypatch))
    print(f"man {man}\nwoman {woman}")
    assert woman.kept >= 0.85 * len(followed[WOMAN])
    assert woman.error <= 0.010
    assert woman.error_p95 <= 0.022
    assert woman.iou >= 0.83
    assert woman.acceleration_mm <= 12
    assert man.error <= 0.014
    assert man.iou >= 0.78


def test_without_repair_or_smoothing_the_bars_are_missed(
    followed: list[Observations], monkeypatch: pytest.MonkeyPatch
) -> None:
    unsmoothed = EnergyWeights(landmark_acceleration=0.0, pose_acceleration=0.0, depth_acceleration=0.0)
    short = replace(Settings(), tracking=replace(Settings().tracking, iterations=(60, 60)))
    one = [followed[WOMAN]]
    loose = demo_figures(fitted(one, short, monkeypatch, unsmoothed)[0])
    assert loose.acceleration_mm > 12

    twin = mirror_permutation()
    swapped = np.isin(np.arange(len(one[0])) % 8, (3, 4, 5))
    seen = replace(
        one[0],
        xy_px=np.where(swapped[:, None, None], one[0].xy_px[:, twin], one[0].xy_px),
        world_m=np.where(swapped[:, None, None], one[0].world_m[:, twin] * [1, 1, -1], one[0].world_m),
    )
    repaired = fitted([seen], short, monkeypatch)[0]
    with monkeypatch.context() as broken:
        broken.setattr(tracker_module, "repair_left_right", lambda person, cost: (person, None))
        unrepaired = fitted([seen], short, broken)[0]
    assert demo_figures(repaired).error <= 0.011
    errors = [float(track.quality.reprojection_error.mean()) for track in (repaired, unrepaired)]
    print(f"error with repair {errors[0]:.4f}, without {errors[1]:.4f}")
    assert errors[1] > max(0.014, 1.5 * errors[0])
    assert unrepaired.kept.sum() < 0.8 * repaired.kept.sum()


def test_the_whole_frame_detector_is_less_sure(pose_models: PoseModels, demo_frame: np.ndarray) -> None:
    whole = pose_models.detect(demo_frame, 0.6).score
    tiled = pose_models.detect_people(demo_frame, 0.6).score
    assert len(tiled) >= 2
    assert tiled[:2].min() > 0.85
    assert len(whole) < 2 or whole[:2].min() < tiled[:2].min() - 0.05
