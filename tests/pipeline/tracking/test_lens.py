"""Focal lengths told by the perspective of bodies: exact points, points without perspective, an independent solver."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.config import CameraSettings, Settings
from pipeline.method.rows import clip_row
from pipeline.records import ClipRef, Footage, Segment, Track, UnitCounts, VideoFacts
from pipeline.tracking import lens as lens_module
from pipeline.tracking import tracker as tracker_module
from pipeline.tracking.lens import ASSUMED, estimated_lens, known_lens, perspective_residuals
from pipeline.tracking.people import Observations
from pipeline.tracking.tracker import LandmarkTracker
from schemas.conventions import IMAGE_PX
from schemas.errors import SettingsError
from tests.support.toy_people import observations, stick_figure

HW = (960, 540)
SEGMENT = Segment(
    clip=ClipRef(clip_id="c", uri="c.mp4", source_id="c"),
    unit_id="u",
    shot_index=0,
    start_s=0.0,
    end_s=1.0,
    video=VideoFacts(width_px=540, height_px=960, mean_fps=30.0, duration_s=1.0, sha256=""),
)
UNUSED: Any = object()
"""The networks have run already."""
GRID = np.exp(
    np.linspace(np.log(lens_module.SHORTEST), np.log(lens_module.LONGEST), lens_module.FOCAL_LENGTHS)
)


def seen_from(distance_m: float, focal_px: float, *, count: int = 6, size: float = 1.0) -> Observations:
    """A figure of some depth, turning, seen exactly: its 2-D landmarks are the projection of its world landmarks."""
    rng = np.random.default_rng(4)
    points = stick_figure() + rng.normal(0, 0.15, (33, 3))
    points = points - points[[23, 24]].mean(axis=0)
    shape = np.stack([Rotation.from_euler("y", 0.5 * at).apply(points) for at in range(count)])
    placed = shape + [0.0, 0.0, distance_m]
    xy = focal_px * placed[..., :2] / placed[..., 2:] + np.array([HW[1], HW[0]]) / 2
    return observations(np.arange(count) / 30, xy, size * shape, image_hw=HW)


@pytest.mark.parametrize("size", [1.0, 0.8])
def test_exact_points_leave_nothing_at_their_focal_length(size: float) -> None:
    """However large the person is: size and distance cannot be told apart."""
    for at in (2, 6, 10):
        focal = 960 * GRID[at]
        left = perspective_residuals(seen_from(2.2, focal, size=size), 960 * GRID)
        assert left.argmin() == at
        assert left[at] < 1e-6
        near = slice(max(0, at - 5), at + 1)  # farther off the robust weights give whole limbs up
        assert (np.diff(left[near]) < 0).all()
        assert (np.diff(left[at:]) > 0).all()


@pytest.mark.parametrize("share", [0.4, 0.85, 2.0])
def test_exact_points_outweigh_the_prior(share: float) -> None:
    found = estimated_lens([seen_from(2.2, 960 * share)], CameraSettings())
    assert found.source == "estimated"
    assert found.focal_px == pytest.approx(960 * share, rel=0.2)  # the grid's spacing
    assert found.uncertainty is not None
    assert found.uncertainty < 0.15


def test_from_far_away_the_prior_stands() -> None:
    """At 60 m there is no perspective: noise of 2 % of the size is all there is."""
    rng = np.random.default_rng(5)
    person = seen_from(60.0, 30_000)
    noisy = replace(
        person, xy_px=person.xy_px + rng.normal(0, 0.02 * person.size_px.mean(), person.xy_px.shape)
    )
    settings = CameraSettings(perspective_weight=0)
    prior = estimated_lens([noisy], settings)
    assert prior.focal_px == pytest.approx(960 * settings.typical_focal, rel=0.01)
    assert prior.uncertainty == pytest.approx(settings.typical_spread, rel=0.05)
    weighed = estimated_lens([noisy], CameraSettings())
    assert weighed.uncertainty is not None
    assert weighed.uncertainty > 0.2
    assert weighed.focal_px is not None
    assert 0.7 < weighed.focal_px / prior.focal_px < 2


def test_people_say_more_together_and_pictures_have_no_size() -> None:
    rng = np.random.default_rng(6)
    person = seen_from(2.2, 960)
    noisy = replace(person, xy_px=person.xy_px + rng.normal(0, 6, person.xy_px.shape))
    one, two = (estimated_lens([noisy] * count, CameraSettings()) for count in (1, 2))
    assert two.uncertainty is not None
    assert one.uncertainty is not None
    assert two.uncertainty < one.uncertainty
    half = replace(noisy, xy_px=noisy.xy_px / 2, image_hw=(HW[0] // 2, HW[1] // 2))
    smaller = estimated_lens([half], CameraSettings())
    assert smaller.focal_px == pytest.approx(one.focal_px / 2, rel=1e-6)
    assert smaller.uncertainty == pytest.approx(one.uncertainty, rel=1e-6)


def test_hidden_landmarks_hardly_count() -> None:
    """Two of 19, a third of the size off: sqrt(2 .02 / 17) of that is left, not sqrt(2 / 19)."""
    person = seen_from(2.2, 960 * GRID[6])
    xy, visibility = person.xy_px.copy(), person.visibility.copy()
    xy[:, [15, 27]] += 0.33 * person.size_px[:, None, None] * np.array([0.6, 0.8])
    visibility[:, [15, 27]] = 0.0
    left = perspective_residuals(replace(person, xy_px=xy, visibility=visibility), 960 * GRID)
    assert left.argmin() == 6
    assert left[6] < 0.03
    assert perspective_residuals(replace(person, xy_px=xy), 960 * GRID)[6] > 0.06


def test_residuals_against_another_solver() -> None:
    """Gauss-Newton finds the same least squares as scipy, where no landmark is an outlier."""
    rng = np.random.default_rng(7)
    person = seen_from(2.2, 960, count=1)
    person = replace(person, xy_px=person.xy_px + rng.normal(0, 1.5, person.xy_px.shape))
    marks = list(lens_module.COMPARED)
    uv = (person.xy_px[0, marks] - np.array([HW[1], HW[0]]) / 2) / 700
    weight = (person.visibility * person.presence)[0, marks] ** 2 + lens_module.LEAST_WEIGHT
    world = person.world_m[0, marks]

    def misses(at: np.ndarray) -> np.ndarray:
        placed = Rotation.from_rotvec(at[:3]).apply(world) + at[3:]
        return (np.sqrt(weight)[:, None] * (placed[:, :2] / placed[:, 2:] - uv)).ravel()

    best = least_squares(misses, [0, 0, 0, 0, 0, 2.2], xtol=1e-14, ftol=1e-14)
    expected = np.sqrt(2 * best.cost / weight.sum()) / np.ptp(uv, axis=0).max()
    assert perspective_residuals(person, np.array([700.0]))[0] == pytest.approx(expected, rel=0.02)


def test_one_lens_for_everybody_and_where_it_is_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two people of a film whose networks have looked already: the default tracker, fitted in a few steps."""
    people = [seen_from(2.2, 700, count=4), seen_from(3.0, 700, count=4)]
    monkeypatch.setattr(tracker_module, "follow_people", lambda *_: people)
    settings = replace(Settings(), tracking=replace(Settings().tracking, iterations=(2, 2)))
    tracker = LandmarkTracker(BodyModel.open_body(), settings, UNUSED)
    medium = replace(settings, camera=CameraSettings(lens="medium"))
    expected = estimated_lens(people, settings.camera)

    def lenses(tracks: list[Track]) -> list[float]:
        return [float(track.K[0, 0, 0] * track.crop_px[0, 2] / IMAGE_PX) for track in tracks]

    found = tracker.track([], Footage(unit_id="u"))
    assert lenses(found) == pytest.approx([expected.focal_px] * 2)
    assert {track.focal_source for track in found} == {"estimated"}
    assert {track.focal_uncertainty for track in found} == {expected.uncertainty}
    row = clip_row(SEGMENT, UnitCounts(unit_id="u", outcome="kept"), 4, found)
    assert (row["focal_source"], row["focal_uncertainty"]) == ("estimated", expected.uncertainty)
    some_given = [replace(found[0], focal_source="given"), found[1]]  # as sure as the least sure of them
    assert (
        clip_row(SEGMENT, UnitCounts(unit_id="u", outcome="kept"), 4, some_given)["focal_source"]
        == "estimated"
    )
    silent = [replace(each, focal_source=None, focal_uncertainty=None) for each in found]
    known = replace(SEGMENT, clip=replace(SEGMENT.clip, focal_px=700.0))
    for segment, source in ((SEGMENT, "assumed"), (known, "given")):
        assert clip_row(segment, UnitCounts(unit_id="u", outcome="kept"), 4, silent)["focal_source"] == source
    found = tracker.track([], Footage(unit_id="u", stated_focal_px=650.0))
    assert lenses(found) == pytest.approx([650.0] * 2)
    assert {(track.focal_source, track.focal_uncertainty) for track in found} == {("file", None)}
    found = tracker.track([], Footage(unit_id="u", focal_px=600.0, stated_focal_px=650.0))
    assert lenses(found) == pytest.approx([600.0] * 2)
    assert {track.focal_source for track in found} == {"given"}
    found = LandmarkTracker(BodyModel.open_body(), medium, UNUSED).track([], Footage(unit_id="u"))
    sides = [float(np.median(track.crop_px[:, 2])) for track in found]
    assert lenses(found) == pytest.approx([settings.camera.medium_focal * side for side in sides])
    assert {track.focal_source for track in found} == {"assumed"}


def test_the_order_of_trust() -> None:
    settings = CameraSettings()
    both = Footage(unit_id="u", focal_px=900.0, stated_focal_px=800.0)
    stated, unknown = Footage(unit_id="u", stated_focal_px=800.0), Footage(unit_id="u")
    assert known_lens(both, settings).focal_px == 900
    assert known_lens(both, settings).source == "given"
    assert known_lens(stated, settings).source == "file"
    assert known_lens(stated, CameraSettings(file_lens=False)) == ASSUMED
    assert known_lens(unknown, settings) == ASSUMED
    assert estimated_lens([], settings) == ASSUMED


@pytest.mark.parametrize(
    "change", [{"typical_focal": 0.0}, {"typical_spread": -1.0}, {"perspective_weight": -1.0}]
)
def test_settings_that_cannot_be(change: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=r"camera\."):
        CameraSettings(**change)
