"""The numbers of vertices, to the last bit those of a readable twin with arrays."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.geometry.estimate_kernel import fill_vertex_numbers, fill_viewpoint
from pipeline.geometry.motion import PairStatistics, estimate_statistics, gate_numbers, motion_field
from pipeline.geometry.pixels import plane_side
from pipeline.geometry.rings import two_ring
from pipeline.geometry.shown_vertices import shown_vertices
from tests.support.scenes import body_pair, square_camera
from tests.support.surfaces import rendered_pair


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


def readable_shares(
    face_id: np.ndarray, barycentric: np.ndarray, faces: np.ndarray, same: np.ndarray, vertex_count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(V,) every vertex' sum of weights, and of those in faces (F,) that are the same side, pixel after pixel."""
    weight, same_side = np.zeros((2, vertex_count))
    for row, column in np.argwhere(face_id >= 0):
        face = face_id[row, column]
        for vertex, share in zip(faces[face], barycentric[row, column], strict=True):
            weight[vertex] += share
            same_side[vertex] += share if same[face] else 0.0
    return weight, same_side


@pytest.mark.parametrize("seed", range(3))
def test_shares_of_vertices_are_their_twins_to_the_last_bit(seed: int) -> None:
    """Random triangles, half of which turn round; some corners get nothing of any pixel."""
    rng = np.random.default_rng(seed)
    target, reference = rng.normal(size=(2, 40, 3)) + [0, 0, 6.0]
    faces = np.array([rng.choice(40, 3, replace=False) for _ in range(60)], np.int32)
    face_id = rng.integers(-20, 50, (30, 31)).astype(np.int32)
    barycentric = rng.dirichlet([1, 1, 1], face_id.shape)
    barycentric[rng.random(face_id.shape) < 0.2] = [1.0, 0.0, 0.0]
    barycentric[np.isin(face_id, np.flatnonzero((faces == 7).any(axis=1)))] = [0.0, 0.0, 0.0]
    side = [[plane_side(*corners) for corners in vertices[faces]] for vertices in (target, reference)]
    same = np.multiply(*side) > 0
    weight, same_side = readable_shares(face_id, barycentric, faces, same, 40)
    shown = shown_vertices(face_id, barycentric, faces, 40)
    np.testing.assert_array_equal(shown.vertex, np.flatnonzero(weight > 0))
    np.testing.assert_array_equal(shown.weight, weight[shown.vertex])
    np.testing.assert_array_equal(shown.same_side(target, reference), same_side[shown.vertex])
    assert 7 not in shown.vertex
    assert shown.total == weight.sum()
    assert 0.2 < same_side.sum() / weight.sum() < 0.8


@pytest.mark.parametrize("count", [1, 2, 23, 24])
def test_a_viewpoint_is_the_median_of_minus_r_transposed_t(count: int) -> None:
    rotation, translation = (
        Rotation.random(50, random_state=1).as_matrix(),
        np.random.default_rng(1).normal(size=(50, 3)),
    )
    some, viewpoint = np.arange(3, 50, 2)[:count], np.empty(3)
    fill_viewpoint(rotation, translation, some, viewpoint)
    expected = np.median(-np.einsum("vij,vi->vj", rotation, translation)[some], axis=0)
    np.testing.assert_array_equal(viewpoint, expected)


@pytest.mark.parametrize("turn_deg", [3.0, 25.0, 170.0])
def test_estimates_are_those_of_their_twin(turn_deg: float) -> None:
    """The numbers of vertices, weighted with arrays."""
    target, reference = rendered_pair(body_pair(64, turn_deg=turn_deg, seed=1))
    field = motion_field(
        target=target, reference=reference, rings=two_ring(target.faces, target.vertex_count)
    )
    shown = target.shown
    numbers = readable(
        target.vertices,
        reference.vertices,
        field.rotation,
        field.translation,
        (target.camera, reference.camera),
    )[:, shown.vertex]
    lengths, sine, cosine, parallax, over_depth, inside = numbers
    weight = shown.weight / shown.total
    moving = ~np.isnan(parallax)
    visible = shown.same_side(target.vertices, reference.vertices) / shown.total * inside
    order = np.argsort(lengths)
    midpoint = np.cumsum(weight[order]) - 0.5 * weight[order]
    p10, median, p90 = np.interp((0.1, 0.5, 0.9), midpoint / weight.sum(), lengths[order])
    expected = PairStatistics(
        mean_baseline_m=weight @ lengths,
        median_baseline_m=median,
        p10_baseline_m=p10,
        p90_baseline_m=p90,
        rotation_deg=np.degrees(weight @ np.arctan2(sine, cosine)),
        parallax_px=weight[moving] @ parallax[moving] / weight[moving].sum(),
        baseline_over_depth=weight @ over_depth,
        visible_fraction=visible.sum(),
        valid_fraction=visible[lengths > 0.5].sum(),
    )
    found = estimate_statistics(field, target=target, reference=reference, min_pixel_baseline_m=0.5)
    assert asdict(found) == pytest.approx(asdict(expected), rel=1e-11)
    gate = asdict(gate_numbers(field, target=target))
    assert gate == {name: value for name, value in asdict(found).items() if name in gate}, "to the last bit"
