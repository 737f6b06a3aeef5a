"""The lifter's laws with random weights, and what its term in the fit measures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.geometry.camera import Camera
from pipeline.tracking.fit import fit_track
from pipeline.tracking.fit_start import HIPS, camera_from_ray, rotation_to_ray
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.lifter import Lifter, decoded, lifted, lifter_of, network_input, smooth_size
from pipeline.tracking.lifter_term import LiftedTrack, lifted_slopes
from pipeline.tracking.people import Observations
from schemas.errors import SettingsError
from tests.accuracy.learn_lifter import LifterNetwork
from tests.accuracy.learn_lifter import decoded as decoded_tensors
from tests.support.toy_people import observations, walking_stick


@pytest.fixture(scope="module")
def network() -> LifterNetwork:
    torch.manual_seed(3)
    return LifterNetwork().eval()


@pytest.fixture(scope="module")
def lifter(network) -> Lifter:
    return Lifter(network.weights())


CAMERA = Camera(np.array([[700.0, 0, 320], [0, 700, 240], [0, 0, 1]]), (480, 640))


def walker(times_s: np.ndarray, at_m: tuple[float, float, float] = (0.6, 0.1, 4.0)) -> Observations:
    world = walking_stick(times_s, 0.5 + 0.4 * times_s)
    return observations(times_s, CAMERA.px_from_cam(world + np.array(at_m)), world, image_hw=CAMERA.hw)


def test_numpy_and_torch_agree(network, lifter):
    rng = np.random.default_rng(0)
    uv, visibility, world = (
        rng.normal(0, 0.1, (40, 33, 2)),
        rng.random((40, 33)),
        rng.normal(0, 0.4, (40, 33, 3)),
    )
    given = network_input(uv, visibility, world)
    with torch.no_grad():
        expected = network(torch.from_numpy(given)[None])
        points, log_sigma = decoded_tensors(
            expected, torch.tensor(uv)[None], torch.tensor(smooth_size(uv))[None]
        )
    raw = lifter.raw(given)
    np.testing.assert_allclose(raw, expected[0].numpy(), atol=1e-5)
    found, sigma = decoded(raw, uv)
    np.testing.assert_allclose(found, points[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(np.log(sigma), log_sigma[0].numpy(), atol=1e-5)


def test_a_mirror_image_is_lifted_to_the_mirror_image(lifter):
    seen, twin = walker(np.arange(20) / 30), mirror_permutation()
    mirrored = replace(
        seen, xy_px=seen.xy_px[:, twin] * [-1, 1] + [640, 0], world_m=seen.world_m[:, twin] * [-1, 1, 1]
    )
    a, b = lifted(seen, CAMERA, lifter), lifted(mirrored, CAMERA, lifter)
    np.testing.assert_allclose(b.points_m, a.points_m[:, twin] * [-1, 1, 1], atol=1e-6)
    np.testing.assert_allclose(b.sigma_m, a.sigma_m[:, twin], atol=1e-6)


def test_time_is_presentation_time(lifter):
    """Twice the frames a second tell the same; so does a film that starts later."""
    slow, fast = walker(np.arange(15) / 30), walker(np.arange(29) / 60)
    late = replace(slow, pts_s=slow.pts_s + 100.0)
    expected = lifted(slow, CAMERA, lifter).points_m
    np.testing.assert_allclose(lifted(fast, CAMERA, lifter).points_m[::2], expected, atol=1e-6)
    np.testing.assert_allclose(lifted(late, CAMERA, lifter).points_m, expected, atol=1e-6)


def test_a_photo_is_a_film_in_which_nothing_moves(lifter):
    still = walker(np.zeros(1))
    long = replace(
        observations(
            np.arange(9) / 30,
            np.repeat(still.xy_px, 9, 0),
            np.repeat(still.world_m, 9, 0),
            image_hw=CAMERA.hw,
        )
    )
    one, many = lifted(still, CAMERA, lifter), lifted(long, CAMERA, lifter)
    np.testing.assert_allclose(one.points_m[0], many.points_m[4], atol=1e-6)


def test_the_place_in_the_picture_does_not_matter(lifter):
    """What a camera sees that is turned about its centre is the same along the ray."""
    seen = walker(np.arange(12) / 30, (0.0, 0.0, 3.0))
    turn = Rotation.from_euler("y", 15, degrees=True)
    rays = np.concatenate([(seen.xy_px - [320, 240]) / 700, np.ones((12, 33, 1))], -1)
    turned = turn.apply(rays.reshape(-1, 3)).reshape(rays.shape)
    moved = replace(seen, xy_px=CAMERA.px_from_cam(turned))
    a, b = lifted(seen, CAMERA, lifter), lifted(moved, CAMERA, lifter)
    assert np.abs(a.points_m - b.points_m).max() < 0.02
    axes = camera_from_ray(moved, CAMERA)
    np.testing.assert_allclose(axes[0], turn.as_matrix(), atol=0.02)


def test_a_file_that_is_no_lifter_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"tracking\.lifter.*nothing\.npz"):
        lifter_of(str(tmp_path / "nothing.npz"))
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    with pytest.raises(SettingsError, match="takes 0 inputs instead of 200"):
        lifter_of(str(tmp_path / "other.npz"))


def test_the_fit_reads_the_file_that_the_settings_name(tmp_path, lifter, network):
    path = tmp_path / "lifter.npz"
    np.savez(path, **network.weights())
    seen = walker(np.arange(9) / 30)
    np.testing.assert_allclose(
        lifted(seen, CAMERA, lifter_of(str(path))).points_m, lifted(seen, CAMERA, lifter).points_m, atol=1e-6
    )
    settings = replace(Settings().tracking, iterations=(3, 3))
    found = [
        fit_track(BodyModel.open_body(), seen, None, CAMERA, each, np.random.default_rng(1)).pose
        for each in (settings, replace(settings, lifter=str(path)))
    ]
    assert np.abs(found[1] - found[0]).max() > 1e-3


def test_rotations_to_rays():
    rays = np.random.default_rng(1).normal(size=(50, 3)) * [1, 1, 0.3] + [0, 0, 1.5]
    turns = rotation_to_ray(rays)
    np.testing.assert_allclose(turns[..., 2], rays / np.linalg.norm(rays, axis=-1, keepdims=True))
    np.testing.assert_allclose(
        turns @ np.swapaxes(turns, 1, 2), np.broadcast_to(np.eye(3), turns.shape), atol=1e-12
    )


def test_the_term_is_zero_for_what_was_lifted_and_its_turn_and_place_are_free():
    rng = np.random.default_rng(2)
    along = rng.normal(0, 0.4, (5, 33, 3))
    along -= along[:, HIPS].mean(axis=1, keepdims=True)
    axes = rotation_to_ray(rng.normal(0, 0.2, (5, 3)) + [0, 0, 1])
    turns = rng.normal(0, 0.1, (5, 3))
    precision = 1 / rng.uniform(0.02, 0.1, (5, 33, 3))
    given, weight = LiftedTrack(along, precision, axes), np.ones(33)

    def value(points: np.ndarray) -> float:
        return lifted_slopes(points, given, turns, np.eye(5), np.array([0.1]), weight)[0]

    turned = along @ Rotation.from_rotvec(turns).as_matrix().swapaxes(1, 2)
    placed = 1.1051709180756477 * turned @ axes.swapaxes(1, 2)
    assert value(placed) < 1e-9  # rotations of the term are float32
    assert value(placed + [0.3, -0.2, 4.0]) < 1e-9
    limbs = [at for at in range(33) if at not in HIPS]
    placed[:, limbs] += 0.05 * axes[:, None, :, 2]  # along the ray
    squares = (0.05 * precision[:, limbs, 2]) ** 2
    assert value(placed) == pytest.approx((squares / (1 + squares / 9)).sum(axis=1).mean(), rel=1e-4)
