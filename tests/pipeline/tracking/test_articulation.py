"""The torch body against loops over 4x4 matrices, rotations against scipy, gradients against differences."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.tracking.articulation import rotation_from_axis_angle, spread_vertices
from tests.support.torch_body import BodyTensors, rotation_from_two_columns
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


def strip_of_triangles(widths: np.ndarray) -> SimpleNamespace:
    """Separate triangles of height 1 and the given widths, and one vertex that no triangle uses."""
    left = np.arange(len(widths)) * 10.0
    zero = np.zeros(len(widths))
    corners = np.stack(
        [
            np.stack([left, zero, zero], -1),
            np.stack([left + widths, zero, zero], -1),
            np.stack([left, zero + 1, zero], -1),
        ],
        axis=1,
    )
    template = np.concatenate([corners.reshape(-1, 3), [[0, 0, 9.0]]])
    return SimpleNamespace(template=template, faces=np.arange(3 * len(widths)).reshape(-1, 3))


def test_vertices_are_drawn_by_the_area_around_them():
    widths = np.array([1.0, 2.0, 3.0, 6.0])
    strip, generator = strip_of_triangles(widths), torch.Generator().manual_seed(0)
    drawn = np.concatenate([spread_vertices(strip, 1, generator) for _ in range(3000)])
    counts = np.bincount(drawn, minlength=13)
    assert counts[12] == 0
    expected = np.repeat(widths / widths.sum() / 3, 3) * 3000
    # chi squared with 11 degrees of freedom: 31.3 is the 0.1 % quantile
    assert ((counts[:12] - expected) ** 2 / expected).sum() < 31.3


def test_vertices_are_distinct_sorted_and_decided_by_the_generator(body):
    def draw(seed: int, count: int) -> np.ndarray:
        return spread_vertices(body, count, torch.Generator().manual_seed(seed))

    few = draw(1, 60)
    assert len(few) == 60
    assert (np.diff(few) > 0).all()
    np.testing.assert_array_equal(few, draw(1, 60))
    assert not np.array_equal(few, draw(2, 60))
    everything = draw(1, 10**6)
    used = np.unique(body.faces)
    assert len(everything) <= len(used)
    assert len(everything) > 0.99 * len(used)


def test_the_open_bodys_surface_is_covered_evenly():
    """Half of the vertices are on head and hands, a small part of the skin; drawn by area they are few."""
    body = BodyModel.open_body()
    extremities = body.weights[:, [12, 15, 20, 21, 22, 23]].sum(axis=1) > 0.5
    drawn = spread_vertices(body, 1000, torch.Generator().manual_seed(3))
    corners = body.template[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    share_of_skin = area[extremities[body.faces].mean(axis=1) > 0.5].sum() / area.sum()
    assert abs(extremities[drawn].mean() - share_of_skin) < 0.05
