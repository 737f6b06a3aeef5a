"""Regions in closed form, and sampling against an image that is its own answer."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.tracking.regions import NECK, PELVIS, Region, invert, sample, transform


def region(centre=(0.0, 0.0), side=100.0, rotation=0.0) -> Region:
    return Region(centre_px=np.array(centre), side_px=side, rotation_rad=rotation)


@pytest.mark.parametrize(
    ("towards", "rotation"),
    [
        ((0.0, -10.0), 0.0),  # upright: the point on the circle is above
        ((10.0, 0.0), np.pi / 2),  # the head to the right: turned clockwise
        ((0.0, 10.0), np.pi),  # upside down: pi, never -pi
        ((-10.0, 0.0), -np.pi / 2),
        ((-10.0, 10.0), -3 * np.pi / 4),
        ((10.0, -10.0), np.pi / 4),
    ],
)
def test_region_of_key_points(towards, rotation):
    found = Region.from_keypoints(np.array([30.0, 40.0]), np.array([30.0, 40.0]) + towards)
    np.testing.assert_array_equal(found.centre_px, [30, 40])
    assert found.side_px == pytest.approx(2.5 * np.hypot(*towards))
    assert found.rotation_rad == pytest.approx(rotation)


def test_the_circle_point_lies_straight_above_the_centre():
    rng = np.random.default_rng(1)
    for angle in [*rng.uniform(-np.pi, np.pi, 200), 0.0, -0.0, np.pi, -np.pi]:
        centre, radius = rng.uniform(-50, 50, 2), rng.uniform(1, 80)
        circle = centre + radius * np.array([np.cos(angle), np.sin(angle)])
        found = Region.from_keypoints(centre, circle)
        assert -np.pi < found.rotation_rad <= np.pi
        in_crop = transform(invert(found.image_from_crop(256)), np.stack([centre, circle]))
        np.testing.assert_allclose(in_crop, [[128.0, 128.0], [128.0, 128 - 256 / 2.5]], atol=1e-9)


def test_image_from_crop_in_closed_form():
    turned = region((50.0, 20.0), 40.0, np.pi / 2).image_from_crop(80)
    corners = np.array([[0.0, 0.0], [80.0, 0.0], [40.0, 40.0], [40.0, 0.0]])
    # half a pixel of the image per pixel of the crop; what is up in the crop is right in the image
    np.testing.assert_allclose(
        transform(turned, corners), [[70, 0], [70, 40], [50, 20], [70, 20]], atol=1e-12
    )


def test_invert_undoes_any_batch():
    rng = np.random.default_rng(2)
    affine = rng.normal(size=(5, 3, 2, 3))
    affine[..., :2] += 3 * np.eye(2)
    points = rng.normal(size=(7, 2)) * 100
    for at in np.ndindex(5, 3):
        back = transform(invert(affine)[at], transform(affine[at], points))
        np.testing.assert_allclose(back, points, atol=1e-9)


@pytest.mark.parametrize("rotation", [0.0, 0.3, -1.2, np.pi / 2, np.pi, 2.5])
@pytest.mark.parametrize("crop_px", [64, 100])
def test_sampling_a_ramp_gives_the_coordinates_of_pixel_centres(rotation, crop_px):
    u, v = np.meshgrid(np.arange(300) + 0.5, np.arange(200) + 0.5)
    image = np.stack([u, v], axis=-1).astype(np.float32)
    image_from_crop = region((151.3, 98.6), 110.0, rotation).image_from_crop(crop_px)
    crop = sample(image, image_from_crop, crop_px)
    row, column = np.mgrid[0:crop_px, 0:crop_px] + 0.5
    expected = transform(image_from_crop, np.stack([column, row], axis=-1))
    # cv2 rounds positions to 1/32 px
    assert np.abs(crop - expected).max() < 0.02


def test_an_aligned_region_copies_pixels_and_outside_is_zero():
    image = np.random.default_rng(0).integers(1, 256, (60, 80, 3), dtype=np.uint8)
    inside = sample(image, region((40.0, 30.0), 32.0).image_from_crop(32), 32)
    np.testing.assert_array_equal(inside, image[14:46, 24:56])
    cut = sample(image, region((0.0, 30.0), 32.0).image_from_crop(32), 32)
    assert not cut[:, :16].any()
    np.testing.assert_array_equal(cut[:, 16:], image[14:46, :16])


def test_sampling_reads_nothing_outside_its_window():
    rng, hw = np.random.default_rng(4), (120, 160)
    image = rng.integers(0, 256, (*hw, 3), dtype=np.uint8)
    narrow = 0
    for _ in range(200):
        place = region(rng.uniform(-40, 200, 2), rng.uniform(3, 200), rng.uniform(-np.pi, np.pi))
        rows, columns = place.window(hw)
        other = rng.integers(0, 256, (*hw, 3), dtype=np.uint8)
        other[rows, columns] = image[rows, columns]
        seen = [sample(each, place.image_from_crop(64), 64) for each in (image, other)]
        np.testing.assert_array_equal(*seen)
        narrow += (
            seen[0].any()
            and (rows.stop - rows.start) * (columns.stop - columns.start) < 0.8 * image[..., 0].size
        )
    assert narrow > 50


def test_distance_is_in_sides_of_the_larger_region():
    near, far = region((10.0, 20.0), 50.0), region((40.0, 60.0), 200.0, 1.0)
    assert near.distance(far) == pytest.approx(0.25)
    assert far.distance(near) == pytest.approx(0.25)
    assert near.distance(near) == 0


def test_the_region_of_known_joints_holds_them_all_upright():
    """Joints of a body that lies on its side: the trunk points up in the region, and the farthest joint is inside."""
    joints = np.full((24, 2), [60.0, 50.0])
    joints[PELVIS], joints[NECK], joints[15] = (60.0, 50.0), (80.0, 50.0), (90.0, 50.0)
    found = Region.from_joints(joints, (100, 120))
    assert found is not None
    np.testing.assert_allclose(found.centre_px, [60.0, 50.0])
    assert found.side_px == pytest.approx(2 * 1.25 * 1.1 * 30)
    neck = transform(invert(found.image_from_crop(100)), joints[NECK])
    assert neck[0] == pytest.approx(50.0)
    assert 0 < neck[1] < 50
    folded = joints.copy()
    folded[NECK] = folded[PELVIS]  # seen along the trunk: upright as the picture is
    upright = Region.from_joints(folded, (100, 120))
    assert upright is not None
    assert upright.rotation_rad == pytest.approx(0.0)


@pytest.mark.parametrize("at", [(-5.0, 50.0), (60.0, 101.0), (np.nan, 50.0)])
def test_joints_outside_the_picture_have_no_region(at: tuple[float, float]):
    assert Region.from_joints(np.array(at) + np.linspace(0, 3, 24)[:, None] * [-1, 1], (100, 120)) is None


def test_a_body_that_is_a_point_has_no_region():
    assert Region.from_joints(np.full((24, 2), 50.0), (100, 120)) is None
