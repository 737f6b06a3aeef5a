"""The torch body against loops over 4x4 matrices, rotations against scipy, gradients against differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from tests.support.torch_body import BodyTensors, rotation_from_axis_angle, rotation_from_two_columns
from tests.support.toy_people import ToyBody


@pytest.fixture(scope="module", params=["toy", "open"])
def body(request):
    return ToyBody() if request.param == "toy" else BodyModel.open_body()


def random_poses(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, 0.6, (count, 24, 3))
    pose[0] = 0
    pose[:, 0] = Rotation.random(count, random_state=seed).as_rotvec()
    return pose


def rotations_of(pose: np.ndarray) -> torch.Tensor:
    matrices = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape[:-1], 3, 3)
    return torch.tensor(matrices, dtype=torch.float32)


def test_landmarks_and_surface_are_the_bodys(body):
    pose, betas = random_poses(5, 1), np.random.default_rng(2).normal(size=10)
    some = np.arange(0, len(body.template), max(1, len(body.template) // 200))
    tensors = BodyTensors(body, some)
    shape = torch.tensor(betas, dtype=torch.float32)
    transforms = tensors.transforms(rotations_of(pose), shape)
    landmarks = body.landmarks(pose, betas, np.zeros(3))
    surface = body.vertices(pose, betas, np.zeros(3))[:, some]
    np.testing.assert_allclose(tensors.landmarks(transforms, shape).numpy(), landmarks, atol=3e-6)
    np.testing.assert_allclose(tensors.surface(transforms, shape).numpy(), surface, atol=3e-6)


def test_joint_rotations_are_products_along_the_tree(body):
    rotations = rotations_of(random_poses(3, 4))
    found = BodyTensors(body, np.arange(3)).transforms(rotations, torch.zeros(10)).rotation
    for joint in range(24):
        product, at = rotations[:, joint], int(body.parents[joint])
        while at >= 0:
            product, at = rotations[:, at] @ product, int(body.parents[at])
        np.testing.assert_allclose(found[:, joint], product, atol=1e-6)


def test_the_oracle_agrees_with_the_body_model():
    """The loops over joints as a second opinion on the body model's own skinning."""
    body, oracle = BodyModel.open_body(), ToyBody()
    for name in ("joint_template", "joint_shapedirs", "template", "shapedirs", "weights", "parents"):
        setattr(oracle, name, getattr(body, name))
    pose, betas, place = random_poses(2, 7), np.random.default_rng(8).normal(size=10), np.array([0.1, 0.2, 3])
    np.testing.assert_allclose(
        body.vertices(pose, betas, place), oracle.vertices(pose, betas, place), rtol=0, atol=1e-9
    )


def test_gradients_against_differences():
    body, rng = ToyBody(), np.random.default_rng(3)
    pose, betas, weight = random_poses(1, 5), rng.normal(size=10), rng.normal(size=(33, 3))
    tensors = BodyTensors(body, np.arange(2))

    def value(pose: np.ndarray, betas: np.ndarray) -> float:
        return float((body.landmarks(pose, betas, np.zeros(3))[0] * weight).sum())

    axis_angle = torch.tensor(pose, dtype=torch.float32, requires_grad=True)
    shape = torch.tensor(betas, dtype=torch.float32, requires_grad=True)
    placed = tensors.landmarks(tensors.transforms(rotation_from_axis_angle(axis_angle), shape), shape)
    total = (placed[0] * torch.tensor(weight, dtype=torch.float32)).sum()
    by_angle, by_shape = torch.autograd.grad(total, [axis_angle, shape])
    step = 1e-5
    for joint, axis in [(0, 1), (1, 0), (4, 0), (9, 2), (16, 2), (18, 1), (20, 0)]:
        moved = np.zeros_like(pose)
        moved[0, joint, axis] = step
        slope = (value(pose + moved, betas) - value(pose - moved, betas)) / (2 * step)
        assert float(by_angle[0, joint, axis]) == pytest.approx(slope, rel=1e-3, abs=1e-4)
    for at in range(10):
        moved = step * np.eye(10)[at]
        slope = (value(pose, betas + moved) - value(pose, betas - moved)) / (2 * step)
        assert float(by_shape[at]) == pytest.approx(slope, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_axis_angles_against_scipy(lead):
    rng = np.random.default_rng(6)
    angles = rng.normal(size=(*lead, 3)) * 2
    expected = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(*lead, 3, 3)
    np.testing.assert_allclose(rotation_from_axis_angle(torch.tensor(angles)), expected, atol=1e-9)


@pytest.mark.parametrize("size", [0.0, 1e-12, 1e-8, 1e-4, np.pi, 2 * np.pi, 7.0])
def test_axis_angles_at_special_sizes(size):
    axis = np.array([2.0, -1.0, 2.0]) / 3
    found = rotation_from_axis_angle(torch.tensor(size * axis)).numpy()
    np.testing.assert_allclose(found, Rotation.from_rotvec(size * axis).as_matrix(), atol=1e-6)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-6)


def test_the_gradient_at_zero_is_the_generators():
    """dR/da_i at a = 0 is the cross product with e_i; finite, not NaN."""
    for dtype in (torch.float32, torch.float64):
        jacobian = torch.autograd.functional.jacobian(rotation_from_axis_angle, torch.zeros(3, dtype=dtype))
        for axis in range(3):
            np.testing.assert_allclose(
                jacobian[:, :, axis], np.cross(np.eye(3), np.eye(3)[axis]).T.T, atol=1e-5
            )


def test_axis_angles_pass_gradcheck():
    angles = torch.tensor(np.random.default_rng(1).normal(size=(4, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(rotation_from_axis_angle, (angles,))


def test_two_columns():
    rotation = torch.tensor(Rotation.random(50, random_state=9).as_matrix())
    columns = torch.cat([rotation[..., 0], rotation[..., 1]], -1)
    np.testing.assert_allclose(rotation_from_two_columns(columns), rotation, atol=1e-12)
    # lengths, and what the second has of the first, do not matter
    bent = torch.cat([3 * rotation[..., 0], 0.2 * rotation[..., 1] + 5 * rotation[..., 0]], -1)
    np.testing.assert_allclose(rotation_from_two_columns(bent), rotation, atol=1e-12)
    any_six = torch.tensor(np.random.default_rng(2).normal(size=(2, 5, 6)), requires_grad=True)
    found = rotation_from_two_columns(any_six).detach()
    np.testing.assert_allclose(torch.linalg.det(found), torch.ones(2, 5), atol=1e-9)
    np.testing.assert_allclose(found @ found.mT, torch.eye(3).expand(2, 5, 3, 3), atol=1e-9)
    assert torch.autograd.gradcheck(rotation_from_two_columns, (any_six,))
