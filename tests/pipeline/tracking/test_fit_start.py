"""Where the fit starts: Kabsch, the viewing ray's axes, depth from size."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.tracking.fit_start import (
    HIPS,
    TORSO,
    _rotations,
    camera_from_ray,
    landmark_confidence,
    start_of,
)
from tests.support.toy_people import ToyBody, observations, stick_figure

CAMERA = Camera(np.array([[900.0, 0, 640], [0, 900.0, 360], [0, 0, 1]]), (720, 1280))


def test_kabsch_recovers_rotations():
    rest = stick_figure()[TORSO]
    rest = rest - rest.mean(axis=0)
    rotation = Rotation.random(200, random_state=1).as_matrix()
    noisy = np.einsum("tij,kj->tki", rotation, rest) + [0.3, -2, 5]
    np.testing.assert_allclose(_rotations(rest, noisy), rotation, atol=1e-7)


def test_kabsch_never_reflects():
    rng = np.random.default_rng(2)
    rest = rng.normal(size=(4, 3))
    rest -= rest.mean(axis=0)
    mirrored = np.einsum("tij,kj->tki", Rotation.random(200, random_state=3).as_matrix(), rest * [-1, 1, 1])
    for seen in (mirrored, rng.normal(size=(300, 4, 3))):
        found = _rotations(rest, seen)
        np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-9)
        np.testing.assert_allclose(
            found @ np.swapaxes(found, 1, 2), np.broadcast_to(np.eye(3), found.shape), atol=1e-9
        )
        # the best of all rotations: scipy's solution leaves the same residual
        centred = seen - seen.mean(axis=1, keepdims=True)
        for t in range(0, len(seen), 20):
            best = Rotation.align_vectors(centred[t], rest)[0].as_matrix()
            left = [((centred[t] - rest @ each.T) ** 2).sum() for each in (found[t], best)]
            assert left[0] == pytest.approx(left[1], rel=1e-9, abs=1e-12)


def test_rays_axes():
    rng = np.random.default_rng(4)
    hips = rng.uniform([0, 0], [1280, 720], (100, 2))
    hips[0] = CAMERA.K[:2, 2]
    xy = np.zeros((100, 33, 2))
    xy[:, HIPS] = hips[:, None] + np.array([[-8.0, 3.0], [8.0, -3.0]])
    seen = observations(np.arange(100) / 30, xy, np.zeros((100, 33, 3)), image_hw=CAMERA.hw)
    rotation = camera_from_ray(seen, CAMERA)
    np.testing.assert_allclose(rotation[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), 1)
    np.testing.assert_allclose(
        rotation @ np.swapaxes(rotation, 1, 2), np.broadcast_to(np.eye(3), (100, 3, 3)), atol=1e-12
    )
    # e_z goes to the ray through the hips
    np.testing.assert_allclose(CAMERA.px_from_cam(rotation[..., 2]), hips)
    # and no rotation that does that is smaller than the angle between them
    angle = np.linalg.norm(Rotation.from_matrix(rotation).as_rotvec(), axis=-1)
    np.testing.assert_allclose(angle, np.arccos(rotation[:, 2, 2]), atol=1e-7)
    assert angle.max() > 0.5


def test_confidence():
    seen = observations(np.zeros(1), np.zeros((1, 33, 2)), np.zeros((1, 33, 3)), image_hw=(10, 10))
    seen.visibility[0, :3], seen.presence[0, :3] = [1.0, 0.5, 0.0], [1.0, 0.5, 1.0]
    np.testing.assert_allclose(landmark_confidence(seen)[0, :3], [1.1, 0.0625 + 0.1, 0.1])


@pytest.mark.parametrize("depth_m", [3.0, 8.0])
@pytest.mark.parametrize("to_the_side_m", [0.0, 1.5])
def test_depth_and_place_of_a_known_person(depth_m, to_the_side_m):
    """Hip-centred landmarks in camera axes and their image at a known place: the start is there."""
    body, count = ToyBody(), 30
    rotation = Rotation.from_rotvec(np.linspace([0, 0, 0], [0, 1.2, 0], count)) * Rotation.from_rotvec(
        [np.pi, 0, 0]
    )
    pose = np.zeros((count, 24, 3))
    pose[:, 0] = rotation.as_rotvec()
    translation = np.array([to_the_side_m, 0.1, depth_m]) + np.linspace(0, 0.05, count)[:, None]
    points = body.landmarks(pose, np.zeros(10), translation)
    world = points - points[:, HIPS].mean(axis=1, keepdims=True)
    seen = observations(np.arange(count) / 30, CAMERA.px_from_cam(points), world, image_hw=CAMERA.hw)
    start = start_of(body, seen, world, CAMERA)
    np.testing.assert_allclose(start.rotation, rotation.as_matrix(), atol=1e-6)
    # size is compared with an orthographic view along the camera's axis: right to a few per cent of the depth, and to
    # a seventh for a person seen 27 degrees off the axis
    assert np.abs(start.translation[:, 2] / translation[:, 2] - 1).max() < (
        0.05 if to_the_side_m < depth_m / 3 else 0.15
    )
    hips = CAMERA.px_from_cam(
        np.einsum(
            "tij,j->ti",
            start.rotation,
            body.landmarks(np.zeros((24, 3)), np.zeros(10), np.zeros(3))[HIPS].mean(axis=0),
        )
        + start.translation
    )
    np.testing.assert_allclose(hips, seen.xy_px[:, HIPS].mean(axis=1), atol=1e-6)
    # twice the size: half as far
    closer = observations(
        seen.pts_s, CAMERA.K[:2, 2] + 2 * (seen.xy_px - CAMERA.K[:2, 2]), world, image_hw=CAMERA.hw
    )
    half = start_of(body, closer, world, CAMERA).translation[:, 2] / start.translation[:, 2]
    np.testing.assert_allclose(half, 0.5, rtol=0.02)


@pytest.mark.parametrize("fps", [15, 30, 60])
def test_one_bad_size_is_smoothed_over(fps):
    """The Gaussian of .25 s gives one frame of duration d the share d / (.25 sqrt(2 pi)) of the depth."""
    body, count = ToyBody(), 181
    pose = np.zeros((24, 3))
    pose[0, 0] = np.pi
    points = body.landmarks(pose, np.zeros(10), np.array([0.0, 0, 5]))
    world = np.repeat((points - points[HIPS].mean(axis=0))[None], count, axis=0)
    xy = np.repeat(CAMERA.px_from_cam(points)[None], count, axis=0)
    depth = []
    for scale in (1.0, 2.0):
        xy[90] = xy[0].mean(axis=0) + scale * (xy[0] - xy[0].mean(axis=0))
        seen = observations(np.arange(count) / fps, xy, world, image_hw=CAMERA.hw)
        depth.append(start_of(body, seen, world, CAMERA).translation[:, 2])
    missing = (1 - depth[1] / depth[0])[:: fps // 5]
    share = 1 / fps / (0.25 * np.sqrt(2 * np.pi))
    offsets = (np.arange(count)[:: fps // 5] - 90) / fps
    np.testing.assert_allclose(missing, 0.5 * share * np.exp(-0.5 * (offsets / 0.25) ** 2), atol=0.03 * share)
