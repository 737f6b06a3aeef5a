"""The motion field: always rotations, equal to scipy, and right in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.geometry.motion import estimate_statistics, motion_field, opposite_field
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.geometry.procrustes import fit_motions
from pipeline.geometry.rigid import nearest_rotation, rotation_angle, rotation_from_rotvec
from pipeline.geometry.rings import Rings, two_ring
from tests.support.oracles import angle_between_deg, covariances, fit_one_by_one
from tests.support.scenes import icosphere, sheet, square_camera
from tests.support.surfaces import points

BLOCK = 10_000
RING = 8


def _fit(target: np.ndarray, reference: np.ndarray, rings: Rings) -> tuple[np.ndarray, np.ndarray]:
    field = motion_field(target=points(target), reference=points(reference), rings=rings)
    return field.rotation, field.translation


def _fan(target: list, reference: list) -> np.ndarray:
    """The rotation of one centre at the origin with the given neighbours."""
    count = len(target)
    rings = Rings(np.array([0, count] + [count] * count), np.arange(1, count + 1))
    origin = np.zeros((1, 3))
    return _fit(np.concatenate([origin, target]), np.concatenate([origin, reference]), rings)[0][0]


def _random_clouds(rng: np.random.Generator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Blocks of points in two frames whose rings are drawn within the block: every way in which a patch can be bad."""
    turn = Rotation.random(random_state=1).as_matrix()
    half_turn = rotation_from_rotvec(np.pi * np.array([0.6, 0.0, 0.8]))
    cloud = rng.normal(size=(BLOCK, 3)) * 0.02
    noise = rng.normal(size=(BLOCK, 3)) * 0.002
    flat, line = cloud * [1, 1, 0], cloud * [1, 0, 0]
    mirror = np.diag([1.0, 1.0, -1.0])
    return {
        "turned": (cloud, cloud @ turn.T + noise),
        "still": (cloud, cloud.copy()),
        "half turn": (cloud, cloud @ half_turn.T),
        "flat": (flat, flat @ turn.T),
        "flat, noisy": (flat, flat @ turn.T + noise),
        "flat to flat elsewhere": (flat, (cloud * [0, 1, 1])),
        "collinear": (line, line @ turn.T),
        "collinear, reversed": (line, -line),
        "collinear to cloud": (line, cloud),
        "coincident": (np.zeros_like(cloud), cloud),
        "both coincident": (np.ones_like(cloud), np.ones_like(cloud)),
        "mirrored": (cloud, cloud @ mirror),
        "mirrored, noisy": (cloud, cloud @ mirror + noise),
        "mirrored through the centre": (cloud, -cloud),
        "flat and mirrored": (flat, flat * [1, -1, 1]),
        "unrelated": (cloud, rng.normal(size=(BLOCK, 3))),
        "tiny": (cloud * 1e-9, cloud @ turn.T * 1e-9),
        "tiny against huge": (cloud * 1e-60, cloud * 1e60),
        "far away": (cloud + 1e4, cloud @ turn.T + 1e4),
        "few distinct points": (np.round(cloud * 50) / 50, np.round(cloud @ turn.T * 50) / 50),
    }


def test_a_million_neighbourhoods_give_rotations_and_never_worse_than_svd() -> None:
    """No reflection, no NaN in 20 kinds x 5 draws x 10,000 neighbourhoods of 0-8 points, each as good as the SVD's."""
    rng = np.random.default_rng(6666)
    total = 0
    for draw in range(5):
        size = np.minimum(
            rng.integers(0, 3 * RING, BLOCK), RING
        )  # two in three are full, some empty, one or two points
        rings = Rings(np.concatenate([[0], np.cumsum(size)]), rng.integers(0, BLOCK, size.sum()))
        for kind, (target, reference) in _random_clouds(rng).items():
            rotation, translation = _fit(target, reference, rings)
            total += len(rotation)
            assert np.isfinite(rotation).all(), kind
            assert np.isfinite(translation).all(), kind
            error = np.abs(rotation @ rotation.transpose(0, 2, 1) - np.eye(3)).max()
            assert error < 1e-12, (kind, error)
            assert np.linalg.det(rotation).min() > 0.999, kind
            if draw == 0:
                M = covariances(target, reference, rings)
                best = np.einsum("nij,nij->n", nearest_rotation(M), M)
                own = np.einsum("nij,nij->n", rotation, M)
                assert (best - own <= 1e-9 * np.linalg.norm(M, axis=(1, 2)) + 1e-300).all(), kind
    assert total == 1_000_000


def test_unconstrained_orthogonal_fits_would_reflect() -> None:
    """What the sign correction is for: without it the mirrored patches give reflections."""
    target, reference = _random_clouds(np.random.default_rng(0))["mirrored, noisy"]
    rings = Rings(
        np.arange(0, RING * BLOCK + 1, RING), np.random.default_rng(1).integers(0, BLOCK, RING * BLOCK)
    )
    U, _, Vt = np.linalg.svd(covariances(target, reference, rings))
    assert (np.linalg.det(U @ Vt) < 0).mean() > 0.9
    assert np.linalg.det(_fit(target, reference, rings)[0]).min() > 0.999


def test_equal_to_align_vectors_on_a_bending_sphere() -> None:
    """Angle within 1e-6 degrees and translation within 1e-9 m of scipy, vertex by vertex."""
    mesh = icosphere(4, 0.4)
    target = mesh.vertices + [0.1, -0.2, 4.5]
    bend = rotation_from_rotvec(np.outer(target[:, 1], [0.5, 1.4, -0.3]))
    reference = np.einsum("nij,nj->ni", bend, mesh.vertices * [1.1, 0.9, 1.0]) + [0.0, -0.1, 4.8]
    rings = two_ring(mesh.faces, len(target))
    rotation, translation = _fit(target, reference, rings)
    some = np.random.default_rng(9).choice(len(target), 400, replace=False)
    expected_rotation, expected_translation = fit_one_by_one(target, reference, rings, some)
    assert angle_between_deg(rotation[some], expected_rotation).max() <= 1e-6
    assert np.abs(translation[some] - expected_translation).max() <= 1e-9


def test_equal_to_align_vectors_where_the_solution_is_barely_unique() -> None:
    """Patches squeezed towards a line or a plane and mirrored: the fast path must hand them on in time."""
    rng = np.random.default_rng(10)
    turn = Rotation.random(random_state=3).as_matrix()
    worst = 0.0
    for squeeze in 10.0 ** np.arange(0, -3.1, -0.5):
        for mirror in (1.0, -1.0):
            target = rng.normal(size=(200, 3)) * [1.0, squeeze, squeeze * 0.7] * 0.03
            reference = (target * [1.0, 1.0, mirror]) @ turn.T
            rings = Rings(np.arange(0, 200 * RING + 1, RING), rng.integers(0, 200, 200 * RING))
            rotation, _ = _fit(target, reference, rings)
            expected, _ = fit_one_by_one(target, reference, rings, np.arange(200))
            worst = max(worst, angle_between_deg(rotation, expected).max())
    assert worst <= 1e-6


def test_accuracy_holds_down_to_vanishing_uniqueness() -> None:
    """Mirrored patches with S = diag(1, .4, g - .4): the best rotation is known, and unique by the gap g alone.

    Newton's method and the adjugate lose digits as 1/g^2; Jacobi, which takes over in time, only as 1/g.
    """
    count = 200
    U, V = (
        Rotation.random(count, random_state=1).as_matrix(),
        Rotation.random(count, random_state=2).as_matrix(),
    )
    rings = Rings(np.repeat(3 * np.arange(count + 1), 4)[3:], np.delete(np.arange(4 * count), np.s_[::4]))
    origin = np.zeros((count, 1, 3))
    target = np.concatenate([origin, V.transpose(0, 2, 1)], axis=1).reshape(-1, 3)
    for gap in 10.0 ** np.arange(-1, -6.1, -0.125):
        extents = np.array([1.0, 0.4, gap - 0.4])[:, None]
        reference = np.concatenate([origin, extents * U.transpose(0, 2, 1)], axis=1).reshape(-1, 3)
        rotation, _ = _fit(target, reference, rings)
        error_deg = angle_between_deg(rotation[::4], U @ V.transpose(0, 2, 1)).max()
        assert error_deg <= (1e-8 if gap > 1e-5 else 1e-7), gap


def test_rigid_motions_are_found_exactly() -> None:
    mesh = icosphere(3, 0.5)
    rings = two_ring(mesh.faces, len(mesh.vertices))
    target = mesh.vertices + [0.0, 0.0, 4.0]
    for rotvec in ([0, 0, 0], [1e-9, 0, 0], [0.3, -0.2, 0.1], [0, np.pi, 0], [2.0, -1.5, 1.0]):
        R, t = rotation_from_rotvec(np.array(rotvec, float)), np.array([0.1, 0.2, 0.4])
        rotation, translation = _fit(target, target @ R.T + t, rings)
        assert angle_between_deg(rotation, R).max() < 1e-10
        np.testing.assert_allclose(translation, np.broadcast_to(t, translation.shape), rtol=0, atol=1e-12)


@pytest.mark.parametrize("side", ["target", "reference"])
def test_turning_one_frame_turns_the_field(side: str) -> None:
    mesh, turn = icosphere(3, 0.5), Rotation.random(random_state=5).as_matrix()
    target, reference = mesh.vertices + [0, 0, 4], mesh.vertices * [1.2, 0.8, 1.1] + [0, 0.1, 4]
    rings = two_ring(mesh.faces, len(target))
    rotation, _ = _fit(target, reference, rings)
    if side == "reference":
        np.testing.assert_allclose(
            _fit(target, reference @ turn.T, rings)[0], turn @ rotation, rtol=0, atol=1e-11
        )
    else:
        np.testing.assert_allclose(
            _fit(target @ turn.T, reference, rings)[0], rotation @ turn.T, rtol=0, atol=1e-11
        )


@pytest.mark.parametrize("angle_deg", [0.5, 6.4, 25.0, 90.0, 180.0])
@pytest.mark.parametrize("depth_m", [2.0, 4.5])
def test_baseline_of_a_turned_body(angle_deg: float, depth_m: float) -> None:
    """A body at depth Z that turns by a about its own upright axis: |t| = 2 Z sin(a/2)."""
    mesh, angle = icosphere(3, 0.5), np.radians(angle_deg)
    R = rotation_from_rotvec(np.array([0.0, angle, 0.0]))
    centre = np.array([0.0, 0.0, depth_m])
    _, translation = _fit(
        mesh.vertices + centre, mesh.vertices @ R.T + centre, two_ring(mesh.faces, len(mesh.vertices))
    )
    np.testing.assert_allclose(
        np.linalg.norm(translation, axis=1), 2 * depth_m * np.sin(angle / 2), rtol=0, atol=1e-6
    )


def test_ambiguous_neighbourhoods_give_the_smallest_rotation() -> None:
    np.testing.assert_array_equal(_fan([[0.1, 0, 0]], [[0, 0, 0]]), np.eye(3))  # coincident
    line = [[0.1, 0, 0], [-0.2, 0, 0]]
    quarter = _fan(line, [[0, 0.1, 0], [0, -0.2, 0]])
    np.testing.assert_allclose(quarter, rotation_from_rotvec(np.array([0, 0, np.pi / 2])), atol=1e-12)
    assert rotation_angle(_fan(line, line)) < 1e-7
    reversed_line = _fan(
        line, [[-0.1, 0, 0], [0.2, 0, 0]]
    )  # every half turn about an axis across the line is as good
    assert rotation_angle(reversed_line) == pytest.approx(np.pi)
    np.testing.assert_allclose(reversed_line @ [1, 0, 0], [-1, 0, 0], atol=1e-12)
    corners = [[0.1, 0, 0], [0, 0.1, 0], [0, 0, 0.1]]
    through_centre = _fan(
        corners, [[-0.1, 0, 0], [0, -0.1, 0], [0, 0, -0.1]]
    )  # mirrored, equal extents: any half turn
    assert np.trace(through_centre) == pytest.approx(-1.0)


def test_nearly_collinear_patches_turn_as_little_as_exact_ones() -> None:
    """Rounding noise across a line must not spin the patch about it."""
    rng = np.random.default_rng(11)
    line = np.outer(rng.normal(size=6), [0.02, 0.0, 0.0])
    spun = _fan(line + rng.normal(size=(6, 3)) * 1e-17, line + rng.normal(size=(6, 3)) * 1e-17)
    assert np.degrees(rotation_angle(spun)) < 1e-3


def test_isolated_vertices_move_with_themselves() -> None:
    mesh = sheet(1, 1, 2)
    vertices = np.concatenate([mesh.vertices, [[5.0, 5.0, 5.0]]]) + [0, 0, 3]
    rotation, translation = _fit(vertices, vertices + [0, 0, 1], two_ring(mesh.faces, len(vertices)))
    np.testing.assert_array_equal(rotation[-1], np.eye(3))
    np.testing.assert_allclose(translation[-1], [0, 0, 1])


def test_the_field_is_the_same_bits_in_any_block_position() -> None:
    """Vertices are solved 64 at a time; where a vertex falls in a block must not matter."""
    rng = np.random.default_rng(12)
    target, reference = rng.normal(size=(2, 150, 3))
    rings = Rings(np.arange(0, 150 * RING + 1, RING), rng.integers(0, 150, 150 * RING))
    rotation, translation = _fit(target, reference, rings)
    shuffle = rng.permutation(150)
    back = np.argsort(shuffle)
    rows = rings.indices.reshape(150, RING)[shuffle]
    shuffled = _fit(target[shuffle], reference[shuffle], Rings(rings.indptr, back[rows].ravel()))
    np.testing.assert_array_equal(shuffled[0], rotation[shuffle])
    np.testing.assert_array_equal(shuffled[1], translation[shuffle])


def test_few_vertices_of_a_moving_mesh_need_the_exact_path() -> None:
    """The fallback is what makes bad patches right; on a real mesh it must stay the exception."""
    mesh = icosphere(4, 0.4)
    target = mesh.vertices + [0, 0, 4.5]
    reference = np.einsum(
        "nij,nj->ni", rotation_from_rotvec(np.outer(target[:, 1], [0.2, 0.9, 0])), mesh.vertices
    )
    rings = two_ring(mesh.faces, len(target))
    rotation, translation = np.empty((len(target), 3, 3)), np.empty((len(target), 3))
    every = np.arange(len(target))
    exact = fit_motions(target, reference, rings.indptr, rings.indices, every, rotation, translation)
    assert exact <= 0.001 * len(target)


def test_a_field_of_some_vertices_is_that_of_all_there_and_zero_elsewhere() -> None:
    rng, mesh = np.random.default_rng(8), icosphere(3, 0.4)
    target, reference = (
        points(mesh.vertices + rng.normal(size=mesh.vertices.shape) * 0.01) for _ in range(2)
    )
    rings, some = (
        two_ring(mesh.faces, len(mesh.vertices)),
        np.flatnonzero(rng.random(len(mesh.vertices)) < 0.4),
    )
    whole = motion_field(target=target, reference=reference, rings=rings)
    part = motion_field(target=target, reference=reference, rings=rings, vertices=some)
    for of_whole, of_part in ((whole.rotation, part.rotation), (whole.translation, part.translation)):
        np.testing.assert_array_equal(of_part[some], of_whole[some])


def test_the_opposite_field_is_that_of_the_exchanged_surfaces() -> None:
    rng, mesh = np.random.default_rng(9), icosphere(3, 0.4)
    turned = mesh.vertices @ rotation_from_rotvec(np.array([0.1, 0.5, -0.2])).T + [0.2, 0.0, 3.0]
    one, other = points(mesh.vertices), points(turned + rng.normal(size=turned.shape) * 0.003)
    rings, count = two_ring(mesh.faces, len(mesh.vertices)), len(mesh.vertices)
    first, second = (np.flatnonzero(rng.random(count) < 0.6) for _ in range(2))
    earlier = motion_field(target=one, reference=other, rings=rings, vertices=first)
    known = np.isin(np.arange(count), first)
    field = opposite_field(earlier, known, target=other, reference=one, rings=rings, vertices=second)
    expected = motion_field(target=other, reference=one, rings=rings, vertices=second)
    np.testing.assert_allclose(field.rotation[second], expected.rotation[second], atol=1e-11)
    np.testing.assert_allclose(field.translation[second], expected.translation[second], atol=1e-11)
    both, alone = np.intersect1d(first, second), np.setdiff1d(second, first)
    np.testing.assert_array_equal(field.rotation[both], earlier.rotation[both].swapaxes(1, 2))
    np.testing.assert_array_equal(field.rotation[alone], expected.rotation[alone])


def test_surfaces_of_other_meshes_are_refused() -> None:
    mesh = sheet(1, 1, 2)
    rings = two_ring(mesh.faces, 9)
    with pytest.raises(ValueError, match="target has 9 vertices, reference 8; pose one body in both frames"):
        motion_field(target=points(mesh.vertices), reference=points(mesh.vertices[:8]), rings=rings)
    with pytest.raises(ValueError, match="target has 8 vertices, rings 9"):
        motion_field(target=points(mesh.vertices[:8]), reference=points(mesh.vertices[:8]), rings=rings)


def test_statistics_of_nothing_are_zero() -> None:
    mesh, camera = sheet(1, 1, 2), square_camera(32)
    empty = np.full((32, 32), -1)
    surface = RenderedSurface(vertices=mesh.vertices, faces=mesh.faces, camera=camera, face_id=empty)
    field = motion_field(target=surface, reference=surface, rings=two_ring(mesh.faces, 9))
    numbers = estimate_statistics(field, target=surface, reference=surface)
    assert numbers.mean_baseline_m == numbers.valid_fraction == 0.0
