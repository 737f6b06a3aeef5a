"""Offsets turn with their joints, are mirror-symmetric, and are found again from what was shifted by them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.body.landmark_offsets import learned_offsets
from pipeline.body.model import BodyModel
from pipeline.tracking.landmark_twins import mirror_permutation
from tests.accuracy.learn_landmark_offsets import Misses, offset_of
from tests.pipeline.body.toy_body import random_motion, toy_body
from tests.support.torch_body import BodyTensors, rotation_from_axis_angle, turned_offsets


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.open_body()


def poses(count: int) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 0.5, (count, 24, 3))


def test_drawn_landmarks_lie_off_the_named_ones_and_turn_with_the_body(body):
    offsets, turn = learned_offsets(), Rotation.from_rotvec([0.3, -1.1, 0.4])
    pose = np.zeros((24, 3))
    for turned in (np.zeros(3), turn.as_rotvec()):
        pose[0] = turned
        given = pose, np.ones(10), np.array([0.1, 0.2, 3.0])
        apart = body.landmarks(*given) - body.as_named.landmarks(*given)
        np.testing.assert_allclose(apart, Rotation.from_rotvec(turned).apply(offsets.offset_m), atol=1e-12)
    assert body.as_named.landmark_offsets is None


@pytest.mark.parametrize("posedirs", [False, True], ids=["plain", "pose-blend-shapes"])
def test_every_body_that_is_loaded_has_them(tmp_path, posedirs):
    """A bent forearm carries its wrist's: joint by joint, whether landmarks come from vertices or from joints."""
    toy = toy_body(tmp_path, posedirs=posedirs)
    pose, betas, translation = random_motion(np.random.default_rng(3))
    apart = toy.landmarks(pose, betas, translation) - toy.as_named.landmarks(pose, betas, translation)
    world = [Rotation.from_rotvec(pose[0])]
    for joint in range(1, 24):
        world.append(world[toy.parents[joint]] * Rotation.from_rotvec(pose[joint]))
    offsets = learned_offsets()
    expected = [world[joint].apply(offset) for joint, offset in zip(offsets.joint, offsets.offset_m)]
    np.testing.assert_allclose(apart, expected, atol=1e-12)


def test_numpy_and_torch_agree(body):
    tensors = BodyTensors(body, np.arange(3))
    local = rotation_from_axis_angle(torch.tensor(poses(4), dtype=torch.float32))
    rotation = tensors.transforms(local, torch.zeros(10)).rotation
    found = turned_offsets(learned_offsets(), rotation)
    np.testing.assert_allclose(found.numpy(), learned_offsets().turned(rotation.double().numpy()), atol=1e-6)


def test_left_and_right_are_mirror_images():
    offsets, twin = learned_offsets(), mirror_permutation()
    np.testing.assert_allclose(offsets.offset_m[twin], offsets.offset_m * [-1, 1, 1], atol=1e-7)
    assert np.abs(offsets.offset_m).max() < 0.05


def test_an_offset_is_found_again():
    rng = np.random.default_rng(6)
    slope = rng.normal(0, 0.5, (300, 33, 24, 2, 3))
    true, mirror = np.array([0.01, 0.02, -0.015]), np.diag([-1.0, 1, 1])
    miss = rng.normal(0, 0.003, (300, 33, 2))
    miss[:, 23] += slope[:, 23, 0] @ true
    miss[:, 24] += slope[:, 24, 0] @ (mirror @ true)
    miss[:20] += 0.5  # frames in which something else was seen
    misses = Misses(miss=miss, slope=slope, weight=np.ones((300, 33)))
    found = offset_of(misses, [(23, 0, np.eye(3)), (24, 0, mirror)])
    np.testing.assert_allclose(found, true, atol=1e-3)
