"""Recorded movements before the studio's camera, and cameras that are pitched and rolled."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.commands.main import main
from pipeline.studio.clip import StudioClip
from pipeline.studio.recorded_motion import RecordedScript, Take, read_takes, recorded_script
from pipeline.studio.settings import StudioSettings
from schemas.errors import DatasetError, SettingsError

SMALL = StudioSettings(
    duration_s=0.4, fps=10, height_px=160, width_px=160, supersampling=1, noise=0.0, drift=0.0, crf=1
)
KNEE = 4


def bending(frames: int = 31, fps: float = 30.0) -> Take:
    """Somebody who bends a knee at 2 rad/s while turning left at 1 rad/s and walking along x at 1.5 m/s."""
    time_s = np.arange(frames) / fps
    pose = np.zeros((frames, 24, 3))
    pose[:, 0, 1], pose[:, KNEE, 0] = time_s, 2 * time_s
    place = np.stack([1.5 * time_s, 0.9 + 0 * time_s, 0.3 * time_s**2], axis=-1)
    return Take(name="bending", fps=fps, pose=pose, place_m=place)


def stored(path: Path, **changed: object) -> Path:
    take = bending()
    arrays = {"pose": take.pose, "trans": take.place_m, "length": np.array([20, 11])}
    np.savez(path, **{name: value for name, value in (arrays | changed).items() if value is not None})  # type: ignore[arg-type]
    return path


def test_between_frames_joints_turn_evenly() -> None:
    script = RecordedScript(bending(), yaw_rad=0.0)
    times_s = np.array([0.1, 0.317, 0.5])
    np.testing.assert_allclose(script.at(times_s).pose[:, KNEE, 0], 2 * times_s, atol=1e-12)


def test_before_and_after_the_take_it_rests() -> None:
    script = RecordedScript(bending(), yaw_rad=0.4)
    early, late, first, last = script.at(np.array([-0.08, 9.0, 0.0, 1.0])).pose
    np.testing.assert_array_equal(early, first)
    np.testing.assert_allclose(late, last, atol=1e-12)


def test_up_is_up_and_left_is_left() -> None:
    """y up becomes y down; who turns left by a about the recorded vertical does so before the camera."""
    script = RecordedScript(bending(), yaw_rad=0.5)
    rotation = Rotation.from_rotvec(script.at(np.array([0.2])).pose[0, 0])
    np.testing.assert_allclose(rotation.apply([0, 1, 0]), [0, -1, 0], atol=1e-12)
    facing = rotation.apply([0, 0, 1])
    np.testing.assert_allclose(facing, [np.sin(0.7), 0, -np.cos(0.7)], atol=1e-12)


def test_the_camera_goes_along_with_who_walks() -> None:
    ground = RecordedScript(bending(), yaw_rad=1.0).at(np.arange(31) / 30).ground_m
    time_s = np.arange(31) / 30
    np.testing.assert_allclose(np.polyfit(time_s, ground, 1)[0], 0, atol=1e-12)
    np.testing.assert_allclose(ground.mean(axis=0), 0, atol=1e-12)
    assert np.linalg.norm(ground, axis=1).max() > 0.02  # what is no even walk stays


def test_parts_are_drawn_by_the_seed_and_long_enough() -> None:
    takes = [bending(5), bending(60), bending(90)]
    drawn = [recorded_script(takes, seed, replace(SMALL, duration_s=1.0)) for seed in range(20)]
    again = [recorded_script(takes, seed, replace(SMALL, duration_s=1.0)) for seed in range(20)]
    assert all(len(script.take.pose) == 31 for script in drawn if script is not None)
    assert len({script.yaw_rad for script in drawn if script is not None}) == 20
    for one, other in zip(drawn, again, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.take.pose, other.take.pose)
    assert recorded_script([], 0, SMALL) is None


def test_a_film_of_recorded_motion_is_known_again_without_its_file(tmp_path: Path) -> None:
    motion = stored(tmp_path / "motion.npz")
    arguments = ["--clips", "1", "--seed", "3", "--motion", str(motion), "--set", "pitch_deg=10"]
    small = [
        f"--set={name}={value}" for name, value in (("duration_s", 0.3), ("height_px", 96), ("width_px", 96))
    ]
    assert main(["studio", "film", "--out", str(tmp_path / "films"), *arguments, *small]) == 0
    motion.unlink()
    facts = tmp_path / "films/studio-000003.json"
    clip = StudioClip.load(facts)
    settings = replace(StudioSettings(), duration_s=0.3, height_px=96, width_px=96, pitch_deg=10)
    expected = StudioClip(3, settings, script=recorded_script(read_takes(stored(motion)), 3, settings))
    np.testing.assert_array_equal(clip.at(0.15).surface, expected.at(0.15).surface)
    broken = json.loads(facts.read_text())
    broken["motion"]["pose"] = broken["motion"]["pose"][:-1]
    facts.write_text(json.dumps(broken))
    with pytest.raises(DatasetError, match="places have shape"):
        StudioClip.load(facts)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pose": np.zeros((31, 22, 3))}, r"pose has shape \(31, 22, 3\)"),
        ({"trans": np.full((31, 3), np.nan)}, "not finite"),
        ({"length": np.array([20, 10])}, "length sums to 30, pose has 31"),
        ({"length": np.array([31.0])}, "whole numbers"),
        ({"name": np.array(["one"])}, "1 names for 2 takes"),
        ({"fps": np.array(0.0)}, "frame rate of 0.0"),
        ({"trans": None}, "trans"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    with pytest.raises(DatasetError, match=said):
        read_takes(stored(tmp_path / "motion.npz", **changed))


@pytest.mark.parametrize(("name", "said"), [("missing.npz", "No such file"), ("", "Is a directory")])
def test_what_is_no_file_is_said_plainly(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(DatasetError, match=f"is not a file of motion capture: {said}"):
        read_takes(tmp_path / name)


def test_a_tilted_camera_sees_the_same_person_tilted() -> None:
    """Pitch and roll move nothing about the set's middle: distances between points stay, and so does the middle."""
    level, tilted = StudioClip(4, SMALL), StudioClip(4, replace(SMALL, pitch_deg=20, roll_deg=20))
    one, other = level.at(0.2).body, tilted.at(0.2).body
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(one, axis=0), axis=1),
        np.linalg.norm(np.diff(other, axis=0), axis=1),
        atol=1e-9,
    )
    assert np.abs(one - other).max() > 0.02
    middle = np.array([0, level.stage.eye_height_m - 0.9, level.stage.distance_m])
    shaken = tilted.stage.cam_from_stage(middle, 0.2)
    np.testing.assert_allclose(np.linalg.norm(shaken), np.linalg.norm(middle))
    np.testing.assert_allclose(shaken, level.stage.cam_from_stage(middle, 0.2), atol=1e-12)


def test_the_numbers_of_a_tilted_body_are_its_vertices() -> None:
    clip = StudioClip(6, replace(SMALL, pitch_deg=15, roll_deg=15, shake_deg=2.0))
    body = clip.body_at(0.3)
    vertices = clip.actor.body.vertices(body.pose, body.betas, body.translation)
    np.testing.assert_allclose(vertices, clip.at(0.3).body, atol=1e-12)


def test_a_camera_that_looks_down_sees_feet_farther_off_than_a_level_one() -> None:
    """Positive pitch looks down: seen from above, feet are farther from the camera than the head is."""
    found = []
    for seed in range(12):
        clip = StudioClip(seed, replace(SMALL, pitch_deg=25))
        down = clip.stage.turn(0.0) @ np.array([0, 1.0, 0])  # the way to the floor
        found.append(down[2])
        level = StudioClip(seed, SMALL)
        head, feet = level.at(0.0).body[:, 1].argmin(), level.at(0.0).body[:, 1].argmax()
        change = clip.at(0.0).body[[head, feet], 2] - level.at(0.0).body[[head, feet], 2]
        assert np.sign(change[1] - change[0]) == np.sign(down[2])
    assert np.std(found) > 0.2


@pytest.mark.parametrize("override", ["least_focal=3", "least_focal=0.1", "pitch_deg=40", "roll_deg=-1"])
def test_impossible_cameras_are_refused(override: str, tmp_path: Path) -> None:
    from schemas.settings import with_overrides

    with pytest.raises(SettingsError):
        with_overrides(StudioSettings(), [override])
