"""Crops against Camera.cropped, closed forms and laws of the smoothing."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.geometry.camera import Camera
from pipeline.video.crops import crop_image, decode_image, encode_jpeg, smooth_crops
from schemas.errors import DecodeError


def blob_image(centre_px, sigma_px, hw=(300, 400)) -> np.ndarray:
    """A Gaussian blob, exact pixel averages to first order, in all three channels."""
    v, u = np.mgrid[: hw[0], : hw[1]] + 0.5
    blob = 250 * np.exp(-((u - centre_px[0]) ** 2 + (v - centre_px[1]) ** 2) / (2 * sigma_px**2))
    return np.repeat(np.rint(blob).astype(np.uint8)[..., None], 3, axis=-1)


def displacement(image, centre_px, sigma_px) -> np.ndarray:
    """(2,) pixels by which a blob lies off `centre_px`: least squares of image = model - displacement . gradient."""
    v, u = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    offset = np.stack([u - centre_px[0], v - centre_px[1]])
    model = np.exp(-(offset**2).sum(axis=0) / (2 * sigma_px**2))
    model *= (image[..., 0] * model).sum() / (model**2).sum()
    gradient = -offset / sigma_px**2 * model
    return -((image[..., 0] - model) * gradient).sum(axis=(1, 2)) / (gradient**2).sum(axis=(1, 2))


@pytest.mark.parametrize("side", [64.0, 100.0, 128.0, 157.3, 300.0])
def test_a_projected_point_lands_on_the_same_content(side):
    rng = np.random.default_rng(3)
    camera = Camera(np.array([[420.0, 0, 196.5], [0, 420.0, 151.2], [0, 0, 1]]), (300, 400))
    side_px, sigma_px = 128, 0.06 * side
    errors = []
    for _ in range(12):
        point = np.array([*rng.uniform(-0.1, 0.1, 2), 3.0])
        centre = camera.px_from_cam(point)
        crop_px = np.array([*(centre + rng.uniform(-0.12, 0.12, 2) * side), side])
        expected = camera.cropped(crop_px, side_px).px_from_cam(point)
        crop = crop_image(blob_image(centre, sigma_px), crop_px, side_px)
        errors.append(displacement(crop, expected, sigma_px * side_px / side))
    assert np.abs(errors).max() < 1e-2


def test_an_aligned_crop_copies_pixels():
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_image(image, np.array([40.0, 30.0, 32.0]), 32), image[14:46, 24:56])


def test_outside_the_image_is_black():
    image = np.full((60, 80, 3), 200, dtype=np.uint8)
    crop = crop_image(image, np.array([0.0, 30.0, 40.0]), 40)
    assert (crop[:, :19] == 0).all()
    assert (crop[:, 21:] == 200).all()
    assert not crop_image(image, np.array([500.0, 30.0, 40.0]), 20).any()
    assert not crop_image(image, np.array([500.0, -900.0, 400.0]), 20).any()


@pytest.mark.parametrize("shrink", [2.0, 3.3, 6.0])
def test_shrinking_does_not_alias(shrink):
    side = 40 * shrink
    size = int(side) + 60
    stripes = np.where(np.arange(size) % 2, 255, 0).astype(np.uint8)
    image = np.broadcast_to(stripes[None, :, None], (size, size, 3)).copy()
    crop = crop_image(image, np.array([size / 2 + 0.3, size / 2, side]), 40).astype(float)
    assert (
        np.abs(crop[10:-10, 10:-10] - 127.5).max() < 12
    )  # plain bilinear sampling gives stripes of full contrast


def test_shrinking_keeps_brightness_and_slope():
    ramp = np.broadcast_to(np.linspace(20, 220, 201)[None, :, None], (201, 201, 3))
    crop = crop_image(np.rint(ramp).astype(np.uint8), np.array([100.5, 100.5, 120.0]), 30).astype(float)
    expected = 20 + (100.5 - 60 + 4 * (np.arange(30) + 0.5) - 0.5)
    np.testing.assert_allclose(crop[15, :, 0], expected, atol=0.6)


def boxes_along(times, centre_of, size_of) -> np.ndarray:
    centre = np.array([centre_of(time) for time in times])
    size = np.array([size_of(time) for time in times])
    return np.concatenate([centre - size / 2, centre + size / 2], axis=-1)


def test_an_even_walk_is_followed_without_lag():
    times = np.sort(np.random.default_rng(2).uniform(0, 4, 90))
    box = boxes_along(times, lambda t: (100 + 80 * t, 300 - 25 * t), lambda t: (120.0, 240.0))
    crops = smooth_crops(box, times, 1.2)
    np.testing.assert_allclose(crops[:, 0], 100 + 80 * times, atol=1e-6)
    np.testing.assert_allclose(crops[:, 1], 300 - 25 * times, atol=1e-6)
    np.testing.assert_allclose(crops[:, 2], 288.0, atol=1e-6)


def test_the_box_is_never_cut_and_jitter_is_smoothed():
    rng = np.random.default_rng(4)
    times = np.arange(120) / 30
    box = boxes_along(
        times, lambda t: (300 + 60 * np.sin(2 * t), 250), lambda t: (110 + 30 * np.sin(3 * t), 260 + 20 * t)
    )
    noisy = box + rng.normal(0, 6, box.shape)
    noisy[60] += (-90, 0, 120, 0)  # an arm flung out in one frame
    crops = smooth_crops(noisy, times, 1.0)
    half = crops[:, 2:] / 2
    assert (noisy[:, :2] >= crops[:, :2] - half - 1e-9).all()
    assert (noisy[:, 2:] <= crops[:, :2] + half + 1e-9).all()
    raw_centre = (noisy[:, :2] + noisy[:, 2:]) / 2
    jitter = np.abs(np.diff(crops, n=2, axis=0)).max(axis=0)
    assert (jitter[:2] < 0.08 * np.abs(np.diff(raw_centre, n=2, axis=0)).max(axis=0)).all()
    assert jitter[2] < 4.0
    assert np.abs(np.diff(crops[:, 2])).max() < 6.0


def test_frame_rate_does_not_matter():
    def crops_at(times: np.ndarray) -> np.ndarray:
        box = boxes_along(
            times,
            lambda t: (200 + 50 * np.sin(3 * t), 200 + 20 * np.cos(2 * t)),
            lambda t: (100.0, 200 + 30 * np.sin(t)),
        )
        crops = smooth_crops(box, times, 1.2)
        seconds = np.linspace(0, 3, 40)
        return np.stack([np.interp(seconds, times, crops[:, at]) for at in range(3)], axis=-1)

    expected = crops_at(np.arange(181) / 60)
    for fps in (24, 30):
        np.testing.assert_allclose(crops_at(np.arange(3 * fps + 1) / fps), expected, atol=0.15)
    varying = np.concatenate([np.linspace(0, 1.4, 85), np.linspace(1.4, 3, 25)[1:]])  # 60, then 15 fps
    np.testing.assert_allclose(crops_at(varying), expected, atol=0.4)


def test_shifting_and_scaling_boxes_shifts_and_scales_crops():
    rng = np.random.default_rng(5)
    times = np.arange(40) / 25
    box = boxes_along(times, lambda t: (200, 300), lambda t: (100, 200)) + rng.normal(0, 5, (40, 4))
    crops = smooth_crops(box, times, 1.3)
    moved = smooth_crops(2.0 * box + (7, -3, 7, -3), times + 11.0, 1.3)
    np.testing.assert_allclose(moved, 2.0 * crops + (7, -3, 0), atol=1e-8)


def test_one_frame_and_far_apart_frames():
    box = np.array([[10.0, 20.0, 50.0, 100.0]])
    np.testing.assert_allclose(smooth_crops(box, np.array([3.0]), 1.25), [[30.0, 60.0, 100.0]])
    apart = smooth_crops(np.concatenate([box, box + 40.0]), np.array([0.0, 9.0]), 1.25)
    np.testing.assert_allclose(apart, [[30.0, 60.0, 100.0], [70.0, 100.0, 100.0]])
    assert smooth_crops(np.zeros((0, 4)), np.zeros(0), 1.2).shape == (0, 3)


@pytest.mark.parametrize(
    ("box", "times", "margin"),
    [
        ([[0, 0, 1, np.nan]], [0.0], 1.2),
        ([[0, 0, 0, 5]], [0.0], 1.2),
        ([[0, 0, 5, 5], [0, 0, 5, 5]], [1.0, 1.0], 1.2),
        ([[0, 0, 5, 5]], [0.0, 1.0], 1.2),
        ([[0, 0, 5, 5]], [0.0], 0.5),
    ],
)
def test_nonsense_is_refused(box, times, margin):
    with pytest.raises(ValueError, match="must"):
        smooth_crops(np.array(box, dtype=float), np.array(times), margin)


def test_images_survive_encoding():
    image = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), (0, 0), 3
    )
    image[..., 0] //= 2  # red and blue differ, so a swap would show
    decoded = decode_image(encode_jpeg(image, 95))
    assert np.abs(decoded.astype(int) - image).max() < 12
    with pytest.raises(DecodeError, match="not an image"):
        decode_image(b"nonsense")
    with pytest.raises(DecodeError, match="0 bytes"):
        decode_image(b"")


@pytest.mark.parametrize("crop_px", [[200.3, 160.8, 90.0], [210.0, 150.0, 260.7], [30.0, 280.0, 700.0]])
def test_channels_are_resampled_alone_and_come_out_as_together(crop_px):
    """Against cv2 on the whole picture: enlarged, shrunk, and reaching over the border."""
    image = np.random.default_rng(5).integers(0, 256, (300, 400, 3), np.uint8)
    u, v, side = crop_px
    step = side / 128
    sigma = 0.5 * np.sqrt(max(step**2 - 1, 0))
    padded = cv2.copyMakeBorder(image.astype(np.float32), *[400] * 4, cv2.BORDER_CONSTANT)
    if sigma > 0.1:
        padded = cv2.GaussianBlur(padded, (2 * int(np.ceil(4 * sigma)) + 1,) * 2, sigma)
    corner = np.array([u, v]) - side / 2 + 400
    padded_from_crop = np.array(
        [[step, 0, step / 2 + corner[0] - 0.5], [0, step, step / 2 + corner[1] - 0.5]]
    )
    whole = cv2.warpAffine(
        padded, padded_from_crop, (128, 128), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    crop = crop_image(image, np.array(crop_px), 128)
    assert np.ptp(crop) > 100
    at = (np.arange(128) + 0.5) * step + (corner - 400)[:, None]
    inside = (at > 1) & (
        at < np.array([[399], [299]])
    )  # beyond the border there is nothing, not even its blur
    np.testing.assert_allclose(crop[inside[1]][:, inside[0]], whole[inside[1]][:, inside[0]], atol=0.51)


def test_channels_together_are_channels_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(9).integers(0, 256, (90, 120, 3), np.uint8)
    for crop_px in ([60.3, 40.7, 50.0], [20.0, 80.0, 117.3], [118.0, 45.0, 30.0]):
        together = crop_image(image, np.array(crop_px), 64)
        with monkeypatch.context() as patch:
            patch.setattr("pipeline.video.crops.MOST_AT_ONCE_PX", 0)
            np.testing.assert_array_equal(crop_image(image, np.array(crop_px), 64), together)
