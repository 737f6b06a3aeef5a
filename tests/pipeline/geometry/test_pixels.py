"""The per-pixel arithmetic of the kernels: float16 bits, rays and triangles, blended rotations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.geometry.pair_kernel import BLOCK, ROWS, blend_block
from pipeline.geometry.pixels import (
    barycentric_of_miss,
    barycentric_on_ray,
    first_quadrant,
    half_bits,
    plane_depth,
    plane_side,
    real_of_half,
)
from pipeline.geometry.raster import raster_from_face_ids
from pipeline.geometry.rigid import nearest_rotation, quaternion_from_rotation
from tests.support.oracles import cast_exactly
from tests.support.scenes import cylinder, pixel_rays, square_camera


def _bits(values: np.ndarray) -> np.ndarray:
    return np.array([half_bits(value) for value in values.tolist()], np.uint16)


def test_half_bits_are_numpys_on_every_float16_and_around_every_midpoint() -> None:
    """All 63,488 finite halves; every midpoint of neighbours, where ties go to even; a float32 step either side."""
    halves = np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middles = (halves[:-1] + halves[1:]) / 2
    sides = [np.nextafter(middles, np.float32(side), dtype=np.float32) for side in (0, np.inf)]
    values = np.concatenate([halves, middles, *sides])
    values = np.concatenate([values, -values])
    np.testing.assert_array_equal(_bits(values), values.astype(np.float16).view(np.uint16))


@pytest.mark.filterwarnings("ignore:overflow")
def test_half_bits_are_numpys_on_random_float32_and_at_the_ends() -> None:
    words = np.random.default_rng(0).integers(0, 2**32, 100_000, dtype=np.uint32)
    values = words.view(np.float32)
    ends = np.array(
        [0.0, -0.0, 65504, 65519.996, 65520, 65536, 1e30, np.inf, 2**-25, 2**-24, 1e-40], np.float32
    )
    values = np.concatenate([values[~np.isnan(values)], ends, -ends])
    np.testing.assert_array_equal(_bits(values), values.astype(np.float16).view(np.uint16))


def test_half_bits_round_by_way_of_float32() -> None:
    values = np.random.default_rng(1).normal(size=50_000)
    np.testing.assert_array_equal(_bits(values), values.astype(np.float32).astype(np.float16).view(np.uint16))


def test_angles_of_the_first_quadrant_are_those_of_the_library() -> None:
    """All over, at both ends, and on either side of where another part of the quadrant begins."""
    edges = np.pi / 8 * np.array([1.0, 3.0])
    angle = np.concatenate([np.linspace(0, np.pi / 2, 3000), *(edges + step for step in (-1e-15, 0, 1e-15))])
    angle = np.concatenate([angle, 10.0 ** np.arange(-300, 0, 7)])
    for length in (1.0, 1e-9, 1e9):
        sine, cosine = length * np.sin(angle), np.maximum(length * np.cos(angle), 0)
        found = np.array([first_quadrant(*each) for each in zip(sine, cosine)])
        np.testing.assert_allclose(found, np.arctan2(sine, cosine), rtol=4e-16)
    assert first_quadrant(0.0, 1.0) == 0.0
    assert first_quadrant(1.0, 0.0) == np.pi / 2


def test_every_float16_is_read_from_its_bits() -> None:
    bits = np.arange(2**16, dtype=np.uint16)
    found = np.array([real_of_half(word) for word in bits])
    np.testing.assert_array_equal(found, bits.view(np.float16).astype(np.float64))


def _triangles(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    corners = rng.uniform([-1, -1, 2], [1, 1, 5], (3, 3))
    weights = rng.dirichlet([1, 1, 1])
    return corners, weights


def test_weights_are_those_of_the_surface_point_not_of_its_image() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        corners, weights = _triangles(rng)
        point = weights @ corners
        for order in ([0, 1, 2], [0, 2, 1]):  # both sides
            found = barycentric_on_ray(point[0] / point[2], point[1] / point[2], *corners[order])
            np.testing.assert_allclose(found, weights[order], rtol=0, atol=1e-12)


def test_a_missed_triangle_gives_its_point_nearest_in_the_image() -> None:
    rng = np.random.default_rng(3)
    share = np.linspace(0, 1, 2001)[:, None]
    for _ in range(100):
        corners, _ = _triangles(rng)
        image = corners[:, :2] / corners[:, 2:]
        ray = image.mean(0) + rng.normal(size=2) * 2
        if (np.array(barycentric_on_ray(*ray, *corners)) > 0).all():
            continue
        weights = np.array(barycentric_on_ray(*ray, *corners))
        assert weights.min() == 0.0
        assert weights.sum() == pytest.approx(1.0)
        point = weights @ corners
        outline = np.concatenate([(1 - share) * image[k] + share * image[k - 1] for k in range(3)])
        nearest = np.linalg.norm(outline - ray, axis=1).min()
        assert np.linalg.norm(point[:2] / point[2] - ray) <= nearest + 1e-12


def test_a_near_miss_of_a_long_thin_face_stays_in_place() -> None:
    """A miss of 1/256 pixel may move the point by that much, not along the face by the miss over its width."""
    mesh = cylinder(0.12, 1.8, 1024, 1).moved(np.eye(3), np.array([0.0, 0.0, 4.5]))
    camera = square_camera(256)
    face, depth = cast_exactly(pixel_rays(camera).reshape(-1, 3)[32768:33024], mesh.vertices, mesh.faces)
    ids = np.full(camera.hw, -1)
    ids[128] = face
    nudged = Camera(camera.K + [[0, 0, 1 / 256], [0, 0, 1 / 256], [0, 0, 0]], camera.hw)
    moved = raster_from_face_ids(ids, mesh.vertices, mesh.faces, nudged)
    steep = np.abs(np.gradient(np.where(face >= 0, depth, np.nan)))
    seen = (face >= 0) & (steep < 0.02)  # the slope there: two centimetres a pixel
    assert np.abs(moved.depth[128] - depth)[seen].max() < 2e-4


def test_weights_without_an_image_are_still_weights() -> None:
    behind = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 2.0], [0.0, 1.0, 2.0]])
    for corners in (behind, -np.abs(behind), np.zeros((3, 3))):
        weights = np.array(barycentric_of_miss(0.3, -5.0, *corners))
        assert weights.sum() == pytest.approx(1.0)
        assert (weights >= 0).all()


def test_plane_depth_is_where_the_ray_meets_the_plane_kept_within_the_corners() -> None:
    rng = np.random.default_rng(4)
    for _ in range(200):
        corners, weights = _triangles(rng)
        x, y, z = weights @ corners
        assert plane_depth(x / z, y / z, *corners) == pytest.approx(z, abs=1e-12)
        far_out = plane_depth(x / z + rng.normal() * 9, y / z, *corners)
        assert corners[:, 2].min() <= far_out <= corners[:, 2].max()
    edge_on = np.array([[0.0, 0.0, 2.0], [0.0, 0.0, 3.0], [0.0, 1.0, 3.0]])
    assert plane_depth(0.0, 0.1, *edge_on) == 2.0


def test_plane_side_is_the_sign_of_the_normal_against_the_view() -> None:
    a, b, c = np.array([[0.0, 0.0, 2.0], [1.0, 0.0, 2.0], [0.0, 1.0, 2.0]])
    assert plane_side(a, b, c) > 0 > plane_side(a, c, b)
    assert plane_side(a, b, b) == 0


def test_blended_quaternions_are_the_projected_blend_of_matrices() -> None:
    """The dominant eigenvector of sum w q q^T is the rotation nearest to sum w R."""
    rng = np.random.default_rng(5)
    spreads, work, expected = (0.0, 1e-9, 1e-3, 0.2, 1.0), np.zeros((ROWS, BLOCK)), []
    for pixel, spread in enumerate(spreads):
        base = Rotation.random(random_state=int(spread * 10))
        rotations = (base * Rotation.from_rotvec(rng.normal(size=(3, 3)) * spread)).as_matrix()
        weights = rng.dirichlet([1, 1, 1])
        work[:3, pixel] = weights
        quaternion = quaternion_from_rotation(rotations) * np.array([[1], [-1], [1]])  # signs must not matter
        work[3:15, pixel] = quaternion.ravel()
        expected.append(nearest_rotation(np.einsum("k,kij->ij", weights, rotations)))
    blend_block(work.reshape(-1), len(spreads))
    for pixel, (spread, nearest) in enumerate(zip(spreads, expected, strict=True)):
        w, x, y, z = work[15:19, pixel]
        own = Rotation.from_quat([x, y, z, w]).as_matrix()
        np.testing.assert_allclose(own, nearest, rtol=0, atol=1e-9 if spread < 1 else 1e-7)
