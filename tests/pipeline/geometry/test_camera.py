"""Cameras: projection laws, crops and sizes, weak perspective."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.camera import (
    Camera,
    translation_from_weak_perspective,
    weak_perspective_from_translation,
)
from tests.support.scenes import square_camera

K = np.array([[571.4, 0.0, 130.0], [0.0, 560.0, 121.5], [0.0, 0.0, 1.0]])
CAMERA = Camera(K, (240, 256))
BATCHES = [(), (3,), (2, 3)]


def _points(batch: tuple[int, ...]) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.uniform([-1, -1, 2], [1, 1, 6], (*batch, 3))


@pytest.mark.parametrize("batch", BATCHES)
def test_pixels_are_the_homogeneous_product_with_K(batch: tuple[int, ...]) -> None:
    points = _points(batch)
    product = points @ K.T
    np.testing.assert_allclose(
        CAMERA.px_from_cam(points), product[..., :2] / product[..., 2:], rtol=0, atol=1e-11
    )
    assert CAMERA.px_from_cam(points).shape == (*batch, 2)


@pytest.mark.parametrize("batch", BATCHES)
def test_lifting_inverts_projecting(batch: tuple[int, ...]) -> None:
    points = _points(batch)
    lifted = CAMERA.cam_from_px(CAMERA.px_from_cam(points), points[..., 2])
    np.testing.assert_allclose(lifted, points, rtol=0, atol=1e-13)


def test_points_behind_the_camera_have_no_image() -> None:
    px = CAMERA.px_from_cam(np.array([[0.1, 0.1, -1.0], [0.1, 0.1, 0.0], [0.0, 0.0, 1.0]]))
    assert np.isnan(px[:2]).all()
    np.testing.assert_allclose(px[2], [130.0, 121.5])


def test_resizing_scales_pixels_about_the_corner() -> None:
    points = _points((50,))
    px = CAMERA.resized((480, 128)).px_from_cam(points)
    np.testing.assert_allclose(px, CAMERA.px_from_cam(points) * [0.5, 2.0], rtol=0, atol=1e-9)


@pytest.mark.parametrize("crop", [(120.0, 110.0, 90.0), (10.5, 300.25, 77.7), (128.0, 120.0, 256.0)])
def test_cropping_moves_and_scales_pixels(crop: tuple[float, float, float]) -> None:
    points = _points((50,))
    cropped = CAMERA.cropped(np.array(crop), 512)
    corner = np.array(crop[:2]) - crop[2] / 2
    expected = (CAMERA.px_from_cam(points) - corner) * 512 / crop[2]
    np.testing.assert_allclose(cropped.px_from_cam(points), expected, rtol=0, atol=1e-9)
    assert cropped.hw == (512, 512)


def test_cropping_then_resizing_is_cropping_to_that_size() -> None:
    crop = np.array([100.0, 90.0, 66.0])
    np.testing.assert_allclose(
        CAMERA.cropped(crop, 512).resized((256, 256)).K, CAMERA.cropped(crop, 256).K, atol=1e-9
    )


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (31.0, -12.5)])
def test_weak_perspective_round_trip(batch: tuple[int, ...], shift_px: tuple[float, float]) -> None:
    camera = square_camera(256, shift_px=shift_px)
    weak = np.random.default_rng(2).uniform([0.5, -0.3, -0.3], [1.2, 0.3, 0.3], (*batch, 3))
    translation = translation_from_weak_perspective(weak, camera)
    assert translation.shape == (*batch, 3)
    np.testing.assert_allclose(
        weak_perspective_from_translation(translation, camera), weak, rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("shift_px", [(0.0, 0.0), (31.0, -12.5)])
def test_weak_perspective_equation_holds_at_the_body_origin(shift_px: tuple[float, float]) -> None:
    """x2d = s (X_xy + [tx, ty]) in [-1, 1] of the image, exact for points at the depth of the body's origin."""
    camera, weak = square_camera(256, shift_px=shift_px), np.array([0.9, 0.07, -0.11])
    translation = translation_from_weak_perspective(weak, camera)
    in_plane = np.array([[0.0, 0.0, 0.0], [0.3, -0.2, 0.0], [-0.1, 0.8, 0.0]])
    in_unit = camera.px_from_cam(in_plane + translation) / 128 - 1
    expected = weak[0] * (in_plane[:, :2] + weak[1:])
    if shift_px == (0.0, 0.0):
        np.testing.assert_allclose(in_unit, expected, rtol=0, atol=1e-12)
        np.testing.assert_allclose(translation, [0.07, -0.11, camera.K[0, 0] / (128 * 0.9)], rtol=1e-14)
    np.testing.assert_allclose(in_unit[0], expected[0], rtol=0, atol=1e-12)


def test_weak_perspective_keeps_a_size_that_the_focal_length_does_not_change() -> None:
    """The depth follows f, so that the same s, tx, ty look the same: method, section 1 (checkpoints with f = 5000)."""
    weak = np.array([0.9, 0.07, -0.11])
    for focal in (1.0, 2.2, 22.3):
        camera = square_camera(224, focal_per_side=focal)
        px = camera.px_from_cam(translation_from_weak_perspective(weak, camera) + [[0, 0, 0], [0, 0.5, 0]])
        np.testing.assert_allclose(px[1] - px[0], [0, 0.5 * 0.9 * 112], atol=1e-10)


@pytest.mark.parametrize(
    ("matrix", "hw", "says"),
    [
        (K[:2], (240, 256), "finite"),
        (np.where(K == 130.0, np.nan, K), (240, 256), "finite"),
        (K * [[-1], [1], [1]], (240, 256), "positive focal"),
        (K + [[0, 2, 0], [0, 0, 0], [0, 0, 0]], (240, 256), "skew"),
        (K * 2, (240, 256), "last row"),
        (K, (0, 256), "positive image size"),
    ],
)
def test_bad_cameras_are_refused(matrix: np.ndarray, hw: tuple[int, int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Camera(matrix, hw)


def test_weak_perspective_needs_a_square_image() -> None:
    with pytest.raises(ValueError, match="square"):
        translation_from_weak_perspective(np.ones(3), CAMERA)
    with pytest.raises(ValueError, match="square"):
        weak_perspective_from_translation(np.ones(3), Camera(square_camera(64).K, (64, 65)))
