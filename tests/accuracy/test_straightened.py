"""Takes with a tipped pelvis: limbs point where they did, pelvis and trunk turn, other takes stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import JOINT_PARENTS
from tests.accuracy.motions import made_motions, motion_capture
from tests.accuracy.same_motion import LIMBS
from tests.accuracy.straightened import TURNS_RAD, straightened

POSE = made_motions(2)[0].pose


def whole(pose: np.ndarray) -> list[Rotation]:
    found: list[Rotation] = []
    for joint, parent in enumerate(JOINT_PARENTS):
        own = Rotation.from_rotvec(pose[:, joint])
        found.append(own if joint == 0 else found[parent] * own)
    return found


def test_pelvis_and_trunk_turn_about_their_own_x_and_nothing_else_turns() -> None:
    for joint, (before, after) in enumerate(zip(whole(POSE), whole(straightened(POSE)), strict=True)):
        expected = np.tile([TURNS_RAD.get(joint, 0.0), 0, 0], (len(POSE), 1))
        np.testing.assert_allclose((before.inv() * after).as_rotvec(), expected, atol=1e-9)


def test_limbs_point_where_they_did() -> None:
    body = BodyModel.open_body()
    before, after = (
        body.joints(pose, np.zeros(10), np.zeros((len(pose), 3))) for pose in (POSE, straightened(POSE))
    )
    limbs = [(a, b) for a, b in LIMBS if a not in TURNS_RAD and b not in TURNS_RAD]
    assert len(limbs) == 8
    for a, b in limbs:
        np.testing.assert_allclose(after[:, b] - after[:, a], before[:, b] - before[:, a], atol=1e-9)


def test_only_takes_of_that_program_are_straightened(tmp_path: Path) -> None:
    file, count = tmp_path / "motion.npz", len(POSE)
    names = np.array(["data/iclone/All/005/a.bvh", "data/CMU/02/a.amc"])
    pose = np.concatenate([POSE, POSE])
    np.savez(file, pose=pose, trans=pose[:, 0], length=np.array([count, count]), name=names)
    first, second = motion_capture(file, straighten=True)
    np.testing.assert_allclose(first.pose, straightened(POSE))
    np.testing.assert_array_equal(second.pose, POSE)
    np.testing.assert_array_equal(motion_capture(file)[0].pose, POSE)
