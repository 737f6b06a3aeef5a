"""The limbs of the start: along the landmarks, bent about their hinges, untouched where nothing is seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.tracking.limb_start import LIMBS, Limb, limbs_along
from schemas.conventions import JOINT_COUNT, LANDMARK_COUNT
from tests.support.toy_people import ToyBody

BODY, COUNT = ToyBody(), 200


def moved(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Poses (T, 24, 3) of random roots and limbs whose hinges bend forwards by 20 to 130 degrees, and landmarks."""
    pose = np.zeros((COUNT, JOINT_COUNT, 3))
    pose[:, 0] = Rotation.random(COUNT, random_state=1).as_rotvec()
    for number, limb in enumerate(LIMBS):
        pose[:, limb.joints[0]] = Rotation.random(COUNT, random_state=2 + number).as_rotvec()
        bend = np.deg2rad(rng.uniform(20, 130, COUNT))
        pose[:, limb.joints[1]] = bend[:, None] * np.array(limb.hinge, float)
    return pose, marks_of(pose)


def marks_of(pose: np.ndarray) -> np.ndarray:
    """(T, 33, 3): the limbs' joints at their landmarks, by forward kinematics written out."""
    turn, place = [Rotation.from_rotvec(pose[:, 0])], [np.zeros((len(pose), 3))]
    for joint in range(1, JOINT_COUNT):
        parent = BODY.parents[joint]
        bone = BODY.joint_template[joint] - BODY.joint_template[parent]
        place.append(place[parent] + turn[parent].apply(bone))
        turn.append(turn[parent] * Rotation.from_rotvec(pose[:, joint]))
    marks = np.zeros((len(pose), LANDMARK_COUNT, 3))
    for limb in LIMBS:
        for mark, joint in zip(limb.landmarks, limb.joints, strict=True):
            marks[:, mark] = place[joint]
    return marks


def trunk_of(pose: np.ndarray) -> np.ndarray:
    return np.asarray(Rotation.from_rotvec(pose[:, 0]).as_matrix())


def with_limbs(pose: np.ndarray, marks: np.ndarray, before: np.ndarray | None = None) -> np.ndarray:
    start = np.zeros_like(pose[:, 1:]) if before is None else before
    return np.concatenate([pose[:, :1], limbs_along(BODY, trunk_of(pose), start, marks)], axis=1)


def test_segments_lie_along_the_landmarks():
    pose, marks = moved(np.random.default_rng(0))
    # another size, somewhere else: directions alone count
    found = with_limbs(pose, 1.3 * marks + [0.2, -1, 3])
    np.testing.assert_allclose(marks_of(found), marks, atol=1e-6)


@pytest.mark.parametrize("limb", LIMBS, ids=("left leg", "right leg", "left arm", "right arm"))
def test_limbs_bend_forwards_about_their_hinges(limb: Limb):
    """Not only the joints come back: the turn of a segment about itself does too, which joints do not show."""
    pose, marks = moved(np.random.default_rng(0))
    found = with_limbs(pose, marks)
    for joint in limb.joints[:2]:
        between = Rotation.from_rotvec(pose[:, joint]).inv() * Rotation.from_rotvec(found[:, joint])
        # the toy's knees and elbows are not quite straight at rest
        assert np.rad2deg(between.magnitude()).max() < 8


def test_straight_limbs_keep_their_hinge():
    """The start's own axis, swung along: the upper segment turns by the smallest rotation."""
    pose = np.zeros((50, JOINT_COUNT, 3))
    for limb in LIMBS:
        first, middle, _ = (BODY.joint_template[joint] for joint in limb.joints)
        across = np.cross(middle - first, [0.3, 0.4, 0.5])
        pose[:, limb.joints[0]] = np.linspace(0, 1.4, 50)[:, None] * across / np.linalg.norm(across)
    marks = np.zeros((50, LANDMARK_COUNT, 3))
    for limb in LIMBS:
        first, middle, _ = (BODY.joint_template[joint] for joint in limb.joints)
        way = Rotation.from_rotvec(pose[:, limb.joints[0]]).apply(middle - first)
        marks[:, limb.landmarks[1]], marks[:, limb.landmarks[2]] = way, 2 * way
    found = with_limbs(pose, marks)
    for limb in LIMBS:
        np.testing.assert_allclose(found[:, limb.joints[0]], pose[:, limb.joints[0]], atol=1e-6)


def test_coinciding_landmarks_leave_a_limb_as_it_is():
    pose, marks = moved(np.random.default_rng(0))
    before = np.random.default_rng(1).normal(0, 0.3, (COUNT, JOINT_COUNT - 1, 3))
    marks[::2] = 0.0
    found = with_limbs(pose, marks, before)
    np.testing.assert_array_equal(found[::2, 1:], before[::2])
    assert np.isfinite(found).all()
    assert (found[1::2, 1:] != before[1::2]).any()


def test_nothing_else_is_touched():
    pose, marks = moved(np.random.default_rng(0))
    turned = sorted(joint - 1 for limb in LIMBS for joint in limb.joints[:2])
    before = np.random.default_rng(1).normal(0, 0.3, (COUNT, JOINT_COUNT - 1, 3))
    others = np.setdiff1d(np.arange(JOINT_COUNT - 1), turned)
    np.testing.assert_array_equal(
        limbs_along(BODY, trunk_of(pose), before, marks)[:, others], before[:, others]
    )
