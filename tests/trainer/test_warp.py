"""The warp against closed forms, against the pipeline's geometry, and its gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from schemas.motion import decode_motion
from trainer.warp import pixel_rays, project, reference_points, rotate, sample_at


def camera_K(focal: float = 300.0, centre: tuple[float, float] = (12.5, 9.0)) -> torch.Tensor:
    return torch.tensor([[[focal, 0, centre[0]], [0, focal, centre[1]], [0, 0, 1]]], dtype=torch.float64)


def test_rays_are_those_of_the_pipelines_camera() -> None:
    K, hw = camera_K(), (6, 8)
    v, u = np.mgrid[0:6, 0:8] + 0.5
    expected = Camera(K[0].numpy(), hw).cam_from_px(np.stack([u, v], -1), np.ones(hw))
    np.testing.assert_allclose(pixel_rays(K, hw)[0].permute(1, 2, 0), expected, atol=1e-14)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1e-4, 1.0, np.pi])
def test_rotate_is_scipys(scale: float) -> None:
    rng = np.random.default_rng(1)
    rotvec, vector = rng.standard_normal((5, 3)), rng.standard_normal((5, 3))
    rotvec *= scale / np.linalg.norm(rotvec, axis=-1, keepdims=True)
    given = (torch.from_numpy(part.T.copy()).reshape(3, 1, 5) for part in (rotvec, vector))
    np.testing.assert_allclose(rotate(*given)[:, 0].T, Rotation.from_rotvec(rotvec).apply(vector), atol=1e-12)


def test_rotation_has_a_gradient_at_zero() -> None:
    rotvec = torch.zeros(3, 1, 1, dtype=torch.float64, requires_grad=True)
    vector = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64).view(3, 1, 1)
    rotate(rotvec, vector)[0].sum().backward()
    assert rotvec.grad is not None
    np.testing.assert_allclose(rotvec.grad.flatten(), [0, 3, -2], atol=1e-12)  # d(r x v)_x / dr


def random_scene(rng: np.random.Generator, hw: tuple[int, int] = (7, 9)) -> dict[str, torch.Tensor]:
    depth = torch.from_numpy(rng.uniform(4, 5, (1, 1, *hw)))
    motion = torch.from_numpy(rng.standard_normal((1, 2, 6, *hw)) * 0.2)
    return {"base_depth": depth, "motion": motion, "rays": pixel_rays(camera_K(), hw)}


def test_points_follow_the_published_formula() -> None:
    """x_ref = R (D K^-1 p) + t with the decoder's R and t, for a depth that is not the base's."""
    rng = np.random.default_rng(2)
    scene = random_scene(rng)
    offset = torch.from_numpy(rng.uniform(-0.1, 0.1, (1, 1, 7, 9)))
    found = reference_points(offset, **scene)
    for reference in range(2):
        motion = scene["motion"][0, reference].permute(1, 2, 0).numpy()
        R, t = decode_motion(motion, scene["base_depth"][0, 0].numpy(), camera_K()[0].numpy(), (7, 9))
        point = (scene["rays"] * (scene["base_depth"] + offset))[0].permute(1, 2, 0).numpy()
        expected = np.einsum("hwij,hwj->hwi", R, point) + t
        np.testing.assert_allclose(found[0, reference].permute(1, 2, 0), expected, atol=1e-12)


def test_pixels_agree_with_the_pipelines_camera_in_float32() -> None:
    rng = np.random.default_rng(3)
    scene = {name: value.float() for name, value in random_scene(rng).items()}
    offset = torch.from_numpy(rng.uniform(-0.1, 0.1, (1, 1, 7, 9))).float()
    points = reference_points(offset, **scene)
    px, in_front = project(points, camera_K().float().expand(1, 2, 3, 3))
    exact = Camera(camera_K()[0].numpy(), (7, 9)).px_from_cam(points.double().movedim(2, -1).numpy())
    assert in_front.all()
    np.testing.assert_allclose(px.numpy(), exact, atol=1e-4)


def test_points_behind_the_camera_have_no_pixel() -> None:
    points = torch.tensor([0.1, 0.2, -1.0]).view(1, 1, 3, 1, 1)
    px, in_front = project(points, camera_K().float().view(1, 1, 3, 3))
    assert not in_front.any()
    assert torch.isfinite(px).all()


def test_a_linear_picture_is_sampled_exactly() -> None:
    height, width = 5, 8
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    picture = torch.stack([u, v])[None, None].double()
    px = torch.tensor([[0.5, 0.5], [3.25, 2.75], [7.5, 4.5], [6.0, 1.0]], dtype=torch.float64).view(
        1, 1, 1, 4, 2
    )
    colours, inside = sample_at(picture, px)
    assert inside.all()
    np.testing.assert_allclose(colours[0, 0, :, 0].T, px[0, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("point", "is_inside"),
    [((0.0, 0.0), True), ((8.0, 5.0), True), ((-0.01, 2), False), ((8.01, 2), False), ((3, 5.01), False)],
)
def test_points_outside_are_reported_not_clamped(point: tuple[float, float], is_inside: bool) -> None:
    px = torch.tensor(point).view(1, 1, 1, 1, 2)
    assert bool(sample_at(torch.ones(1, 1, 3, 5, 8), px)[1]) is is_inside


def test_the_warp_is_differentiable() -> None:
    rng = np.random.default_rng(4)
    scene = random_scene(rng, (3, 4))
    scene["motion"] = scene["motion"] * 0.02
    pictures = torch.from_numpy(rng.uniform(size=(1, 2, 3, 20, 26)))
    K = camera_K(300.0, (13.0, 10.0)).expand(1, 2, 3, 3)

    def colours(offset: torch.Tensor) -> torch.Tensor:
        px, _ = project(reference_points(offset, **scene), K)
        return sample_at(pictures, px)[0]

    offset = torch.from_numpy(rng.uniform(-0.05, 0.05, (1, 1, 3, 4))).requires_grad_()
    assert torch.autograd.gradcheck(colours, (offset,), eps=1e-7, atol=1e-5)
