"""The test bed's own figures and scenes: the truth has no error, known errors are told, scenes are what they say."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from pipeline.tracking.depth_bias import without_depth_bias
from schemas.errors import DatasetError
from tests.accuracy.depth_figures import BodyFigures, body_figures
from tests.accuracy.learn_prior import teachers
from tests.accuracy.motions import REPORTED, made_motions, motion_capture
from tests.accuracy.oracles import true_pixels, true_rotation, true_sides, true_space
from tests.accuracy.same_motion import repeats
from tests.accuracy.scenes import FRAMES, HALVES, KINDS, MotionScene, scenes_of
from tests.accuracy.true_start import true_start
from tests.accuracy.unseen_prior import UnseenPriors
from tests.support.rendered_people import Performance, walking
from tests.support.toy_people import observations


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.open_body()


@pytest.fixture(scope="module")
def scenes(body) -> list[MotionScene]:
    return list(scenes_of(body, made_motions(), 1))


def figures(body: BodyModel, truth: Performance, found: Performance) -> BodyFigures:
    index = np.arange(len(truth.pts_s))
    kept = np.ones(len(index), bool)
    return body_figures(body, truth, index, kept, found.pose, found.betas, found.translation)


def test_the_truth_has_no_error(body):
    truth = walking(turn_deg=40, seconds=0.3)
    errors = asdict(figures(body, truth, truth))
    assert errors.pop("size") == errors.pop("found") == errors.pop("kept") == 1
    assert max(abs(error) for error in errors.values()) < 1e-3


def test_a_lean_is_told_as_rotation_and_depth(body):
    """A body that stands upright, turned by 5 degrees about x: ankles .8 m below the hips lie 7 cm off in depth."""
    truth = walking(turn_deg=0, seconds=0.2)
    turn = Rotation.from_euler("x", 5, degrees=True)
    pose = truth.pose.copy()
    pose[:, 0] = (turn * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    found = figures(body, truth, replace(truth, pose=pose))
    joints = truth.joints(body)
    below = (joints[:, [7, 8], 1].mean() - joints[:, [1, 2], 1].mean()) * 1000
    assert found.rotation_deg == pytest.approx(5, abs=1e-3)
    assert found.pa_mm < 1e-3
    assert found.ankles_mm == pytest.approx(below * np.sin(np.deg2rad(5)), rel=0.1)
    assert found.shoulders_mm < -20
    assert found.exchanged == 0
    assert found.depth_mm > 10


def test_a_person_turned_round_is_exchanged(body):
    truth = walking(turn_deg=0, seconds=0.2)
    found = figures(body, truth, walking(turn_deg=180, seconds=0.2))
    assert found.exchanged == 1


def test_a_limb_that_reaches_the_wrong_way_is_counted(body):
    truth = walking(turn_deg=0, seconds=0.1)
    pose = truth.pose.copy()
    pose[:, 16] = Rotation.from_euler("y", -60, degrees=True).as_rotvec()
    truth = replace(truth, pose=pose)
    wrong = pose.copy()
    wrong[:, 16] *= -1
    found = figures(body, truth, replace(truth, pose=wrong))
    assert 0.1 < found.wrong_signs <= 0.5


def test_scenes_are_of_every_kind_and_half(scenes):
    assert [(scene.kind, scene.is_reported) for scene in scenes] == [
        (kind, half) for kind in KINDS for half in (False, True)
    ]


def test_scenes_of_one_half_are_the_same_as_among_all(body, scenes):
    for half in HALVES:
        alone = list(scenes_of(body, made_motions(), 1, ["near"], half))
        (among,) = [
            scene for scene in scenes if scene.kind == "near" and scene.is_reported == (half == "reported")
        ]
        assert [scene.name for scene in alone] == [among.name]
        np.testing.assert_array_equal(alone[0].performance.pose, among.performance.pose)


def test_steep_films_look_down_and_up_at_people_from_all_sides(body) -> None:
    """Of people who stand still, so that their vertical is the root's: elevation and azimuth of the camera from them.

    The person's place in the picture adds up to 8 degrees to the camera's pitch, of either sign.
    """
    standing = [
        replace(take, pose=np.zeros_like(take.pose), place=np.zeros_like(take.place))
        for take in made_motions()
    ]
    elevation_deg, azimuth_deg = [], []
    for scene in scenes_of(body, standing, 24, ["steep"], "tuning"):
        truth = scene.performance
        root = Rotation.from_rotvec(truth.pose[0, 0])
        to_camera = root.inv().apply(-truth.joints(body)[0, 0])
        elevation_deg.append(np.rad2deg(np.arcsin(to_camera[1] / np.linalg.norm(to_camera))))
        azimuth_deg.append(np.rad2deg(np.arctan2(to_camera[0], to_camera[2])))
    from_below = np.arange(24) % 3 == 2
    above_deg, below_deg = np.array(elevation_deg)[~from_below], -np.array(elevation_deg)[from_below]
    assert above_deg.min() > 20 - 8
    assert above_deg.max() < 35 + 8
    assert below_deg.min() > 10 - 8
    assert below_deg.max() < 25 + 8
    assert min(np.ptp(above_deg), np.ptp(below_deg)) > 8
    quadrants = np.round(np.array(azimuth_deg)[~from_below] / 90).astype(int) % 4
    assert set(quadrants) == {0, 1, 2, 3}


def test_people_are_in_the_picture_unless_they_are_cut(body, scenes):
    for scene in scenes:
        truth = scene.performance
        marks = body.landmarks(truth.pose, truth.betas, truth.translation)
        px, (height, width) = truth.camera.px_from_cam(marks), truth.camera.hw
        inside = ((px > 0) & (px < [width, height])).all(axis=-1)
        assert len(truth.pts_s) == FRAMES
        assert marks[..., 2].min() > 0.25
        if scene.kind == "cut":
            assert 0.3 < inside.mean() < 0.999
        elif scene.kind != "near":
            assert inside.all(), scene.name


def test_a_fit_that_starts_at_the_truth_has_it_before_its_first_step(body, scenes):
    """Also under another focal length: the same picture."""
    truth = scenes[0].performance
    frames = np.arange(0, FRAMES, 5)
    for factor in (1.0, 1.7):
        camera = Camera(truth.camera.K * [[factor, 1, 1], [1, factor, 1], [1, 1, 1]], truth.camera.hw)
        start = true_start(truth, frames, camera)
        root = Rotation.from_matrix(start.rotation).as_rotvec()
        np.testing.assert_allclose(
            Rotation.from_rotvec(root).as_matrix(), Rotation.from_rotvec(truth.pose[frames, 0]).as_matrix()
        )
        np.testing.assert_array_equal(start.body_pose, truth.pose[frames, 1:])
        np.testing.assert_allclose(
            camera.px_from_cam(start.translation), truth.camera.px_from_cam(truth.translation[frames])
        )


def test_an_unseen_prior_has_not_seen_whom_it_judges_nor_anybody_reported(scenes) -> None:
    """It stays the same, bit for bit, when their takes are others, and is another when somebody else's are."""
    takes = made_motions()
    tuning = [scene.person for scene in scenes if not scene.is_reported]
    judged, other = sorted(set(tuning))[:2]
    assert judged in {take.person for take in takes}

    def prior_with(changed: set[str]) -> np.ndarray:
        told = [replace(t, pose=0.5 * t.pose if t.person in changed else t.pose) for t in takes]
        return UnseenPriors(told, components=1).of(judged).means

    expected = prior_with(set())
    np.testing.assert_array_equal(prior_with({judged, *REPORTED}), expected)
    assert np.abs(prior_with({other}) - expected).max() > 1e-4


def test_a_prior_of_everybody_else_has_not_seen_whom_it_judges_by_any_name() -> None:
    """Not in a copy that another program retargeted, nor as somebody who may be the same; the other half teaches."""
    takes = [
        replace(take, person=name)
        for take, name in zip(made_motions(5), ("01", "signals", "a", "jumping", "b"))
    ]
    turned = takes[0].pose.copy()
    turned[:, 1:] += 0.02 * np.random.default_rng(5).standard_normal((23, 3))
    takes.append(replace(takes[0], name="a copy", person="c", pose=turned))

    def named(person: str, reported_too: bool) -> list[str]:
        return [take.person for take in teachers(takes, person, reported_too=reported_too)]

    assert named("a", True) == ["01", "signals", "jumping", "b", "c"]
    assert named("a", False) == ["jumping", "b", "c"]
    assert named("01", True) == ["signals", "a", "jumping", "b"]
    assert named("jumping", True) == ["01", "a", "b", "c"]
    assert named("", True) == [take.person for take in takes]


def test_a_recording_is_found_in_a_longer_one_and_not_in_another_of_the_same_kind() -> None:
    walks = [take for take in made_motions(60) if take.name.startswith("walk")][:3]
    assert len(walks) == 3
    part = replace(walks[0], name="part", pose=walks[0].pose[20:70])
    assert repeats(part, walks) == walks[:1]
    assert repeats(walks[0], [*walks[1:], part]) == [part]


def test_takes_of_one_folder_are_of_one_person(tmp_path: Path) -> None:
    pose = np.arange(5 * 24 * 3).reshape(5, 24, 3) / 1000
    file, names = tmp_path / "motion.npz", np.array(["a/01/walk.bvh", "a/walking_extra/w.bvh", "alone"])
    stored = {"pose": pose, "trans": pose[:, 0], "length": np.array([2, 1, 2]), "name": names}
    np.savez(file, **stored)
    takes = motion_capture(file)
    assert [(take.person, take.is_reported) for take in takes] == [
        ("01", True),
        ("007", False),
        ("alone", False),
    ]
    np.testing.assert_array_equal(takes[2].pose, pose[3:])
    np.savez(file, **stored, fps=np.array(60.0))
    with pytest.raises(DatasetError, match="60 frames a second"):
        motion_capture(file)


def test_oracles_give_what_they_name(body, scenes):
    scene = scenes[0]
    truth = scene.performance
    marks = body.landmarks(truth.pose, truth.betas, truth.translation)
    px = truth.camera.px_from_cam(marks)
    seen = observations(truth.pts_s, px + 3.0, marks * [1.0, 1.0, 0.5] + 0.1, image_hw=truth.camera.hw)
    np.testing.assert_allclose(true_pixels(scene, seen, body).xy_px, px)
    np.testing.assert_array_equal(true_sides(scene, seen, body).xy_px, seen.xy_px)
    space = true_space(scene, seen, body).world_m
    lengths = [np.linalg.norm(each[:, 25] - each[:, 23], axis=-1) for each in (space, marks)]
    np.testing.assert_allclose(*lengths)
    turned = true_rotation(scene, seen, body).world_m
    unbiased = without_depth_bias(seen.world_m)
    spread = [np.linalg.norm(w - w.mean(axis=1, keepdims=True), axis=-1) for w in (turned, unbiased)]
    np.testing.assert_allclose(*spread)
    errors = [
        np.linalg.norm(w - w.mean(axis=1, keepdims=True) - space + space.mean(axis=1, keepdims=True))
        for w in (turned, unbiased)
    ]
    assert errors[0] <= errors[1]
