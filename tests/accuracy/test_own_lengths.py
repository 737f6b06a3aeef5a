"""People with limbs of their own lengths: bones grow as told, hands and head keep theirs, figures know the truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import JOINT_NAMES, LANDMARK_NAMES
from pipeline.config import TrackingSettings
from tests.accuracy.depth_figures import body_figures
from tests.accuracy.motions import made_motions
from tests.accuracy.observing import _digest
from tests.accuracy.own_lengths import LENGTH_SIGMA, LENGTHS, MOST_SIGMAS, drawn_lengths, with_lengths
from tests.accuracy.scenes import MotionScene, scenes_of

LOG_LENGTHS = np.array([0.04, -0.03, 0.05, -0.02, 0.03])
BONES = {
    "thigh": ("left_hip", "left_knee"), "shank": ("right_knee", "right_ankle"),
    "upper arm": ("left_shoulder", "left_elbow"), "forearm": ("right_elbow", "right_wrist"),
}  # fmt: skip


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.open_body()


@pytest.fixture(scope="module")
def stretched(body: BodyModel) -> BodyModel:
    return with_lengths(body, LOG_LENGTHS)


def test_bones_grow_by_the_factors_that_were_asked_for(body: BodyModel, stretched: BodyModel) -> None:
    found = []
    for name in LENGTHS[1:]:
        ends = [JOINT_NAMES.index(joint) for joint in BONES[name]]
        lengths = [np.linalg.norm(np.diff(each.joint_template[ends], axis=0)) for each in (stretched, body)]
        found.append(np.log(lengths[0] / lengths[1]))
    np.testing.assert_allclose(found, LOG_LENGTHS[1:], atol=1e-9)
    heights = [
        each.joint_template[JOINT_NAMES.index("neck"), 1] - each.joint_template[0, 1]
        for each in (stretched, body)
    ]
    assert np.log(heights[0] / heights[1]) == pytest.approx(LOG_LENGTHS[0])


def test_skin_goes_with_the_bones(body: BodyModel, stretched: BodyModel) -> None:
    """Ends of limbs and the head keep their form; landmarks, read off the skin, are within 10 mm of the joints."""
    moved = stretched.joint_template - body.joint_template
    for joint in (15, 22, 23, 10, 11):
        own = body.weights[:, joint] > 0.999
        assert own.sum() > 10
        np.testing.assert_allclose(
            (stretched.template - body.template)[own], np.tile(moved[joint], (own.sum(), 1)), atol=2e-4
        )
    still = np.zeros((24, 3)), np.zeros(10), np.zeros(3)
    marks = stretched.landmarks(*still) - body.landmarks(*still)
    for name in ("left_shoulder", "right_elbow", "left_wrist", "right_hip", "left_knee", "right_ankle"):
        apart = marks[LANDMARK_NAMES.index(name)] - moved[JOINT_NAMES.index(name)]
        assert np.linalg.norm(apart) < 0.01, name


def test_nobody_differs_without_lengths_of_their_own(body: BodyModel) -> None:
    same = with_lengths(body, np.zeros(len(LENGTHS)))
    np.testing.assert_allclose(same.template, body.template, atol=1e-12)
    np.testing.assert_allclose(same.joint_template, body.joint_template, atol=1e-12)


def test_lengths_that_are_drawn_vary_as_much_as_they_say() -> None:
    drawn = np.stack([drawn_lengths(np.random.default_rng(seed)) for seed in range(400)])
    assert np.abs(drawn).max() <= MOST_SIGMAS * LENGTH_SIGMA
    np.testing.assert_allclose(drawn.std(axis=0), 0.96 * LENGTH_SIGMA, rtol=0.1)


def test_scenes_are_the_same_but_for_the_lengths(body: BodyModel) -> None:
    usual, own = (
        next(iter(scenes_of(body, made_motions(4), 1, ["level"], "tuning", own_lengths=each)))
        for each in (False, True)
    )
    np.testing.assert_array_equal(own.performance.betas, usual.performance.betas)
    np.testing.assert_array_equal(own.performance.pose[:, 1:], usual.performance.pose[:, 1:])
    assert np.abs(own.body.template - usual.body.template).max() > 0.01
    assert usual.body is body
    # landmarks that are kept on disk are never those of somebody else's film
    as_usual = replace(own, own_lengths=False)
    digests = {_digest(scene, TrackingSettings()) for scene in (usual, own, as_usual)}
    assert len(digests) == 3
    _figures_know_the_truth(body, own)


def _figures_know_the_truth(body: BodyModel, scene: MotionScene) -> None:
    truth = scene.performance
    index = np.arange(4)
    found = truth.pose[index], truth.betas, truth.translation[index]
    errors = [
        body_figures(fitted, truth, index, np.ones(4, bool), *found, scene.body)
        for fitted in (scene.body, body)
    ]
    assert errors[0].mpjpe_mm < 1e-6
    assert errors[0].depth_mm < 1e-6
    assert errors[1].mpjpe_mm > 3
    assert errors[1].depth_mm > 0.1
