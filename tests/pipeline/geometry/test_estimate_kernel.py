"""The numbers of vertices, to the last bit those of a readable twin with arrays."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.geometry.estimate_kernel import fill_vertex_numbers
from tests.support.scenes import square_camera


def readable(
    target: np.ndarray,
    reference: np.ndarray,
    rotation: np.ndarray,
    translation: np.ndarray,
    cameras: tuple[Camera, Camera],
) -> np.ndarray:
    """(6, n), of all vertices."""
    lengths = np.linalg.norm(translation, axis=1)
    sine = np.stack([rotation[:, 2, 1] - rotation[:, 1, 2], rotation[:, 0, 2] - rotation[:, 2, 0],
                     rotation[:, 1, 0] - rotation[:, 0, 1]])  # fmt: skip
    moved_px = cameras[1].px_from_cam(reference)
    height, width = cameras[1].hw
    with np.errstate(invalid="ignore"):
        inside = (moved_px >= 0).all(axis=1) & (moved_px[:, 0] < width) & (moved_px[:, 1] < height)
    return np.stack(
        [
            lengths,
            np.linalg.norm(sine, axis=0),
            np.trace(rotation, axis1=1, axis2=2) - 1,
            np.linalg.norm(moved_px - cameras[0].px_from_cam(target), axis=1),
            lengths / np.maximum(target[:, 2], 1e-6),
            inside,
        ]
    )


@pytest.mark.parametrize("seed", range(4))
def test_the_compiled_pass_is_its_twin_to_the_last_bit(seed: int) -> None:
    """Some points lie behind a camera, some outside the reference image."""
    rng, count = np.random.default_rng(seed), 3000
    target, reference = rng.normal(size=(2, count, 3)) + [0, 0, 2.0]
    rotation = Rotation.random(count, random_state=seed).as_matrix()
    translation = rng.normal(size=(count, 3))
    other = square_camera(64, focal_per_side=1.3, shift_px=(2.5, -1.5))
    cameras = square_camera(48), Camera(other.K, (64, 50))
    expected = readable(target, reference, rotation, translation, cameras)
    lenses = np.stack([camera.lens for camera in cameras])
    for seen in (np.arange(count), np.flatnonzero(rng.random(count) < 0.3)):
        numbers = np.empty((6, len(seen)))
        fill_vertex_numbers(seen, target, reference, rotation, translation, lenses, cameras[1].hw, numbers)
        np.testing.assert_array_equal(numbers, expected[:, seen])
    assert np.isnan(expected[3]).any()
    assert 0 < expected[5].mean() < 1


def test_an_angle_is_that_of_its_sine_and_cosine() -> None:
    angle = np.linspace(0.0, np.pi, 50)
    rotation = Rotation.from_rotvec(angle[:, None] * [0.6, 0.0, -0.8]).as_matrix()
    points, camera, numbers = np.tile([0.0, 0, 2], (50, 1)), square_camera(32), np.empty((6, 50))
    lenses = np.stack([camera.lens, camera.lens])
    fill_vertex_numbers(np.arange(50), points, points, rotation, points, lenses, (32, 32), numbers)
    np.testing.assert_allclose(np.arctan2(numbers[1], numbers[2]), angle, atol=1e-7)
    np.testing.assert_allclose(numbers[1], 2 * np.sin(angle), atol=1e-12)
    np.testing.assert_array_equal(numbers[0], 2.0)
    np.testing.assert_array_equal(numbers[3], 0.0)
    np.testing.assert_array_equal(numbers[4], 1.0)
