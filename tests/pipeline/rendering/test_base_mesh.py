"""Smoothing and offset of the base mesh (preset `released`)."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.rendering.base_mesh import BaseMesh, outward_normals
from tests.support.oracles import neighbours_within
from tests.support.scenes import block, body_pair, icosphere


def test_one_pass_is_the_mean_of_the_one_ring() -> None:
    mesh = block((1, 2, 3), 3)
    vertices = np.concatenate([mesh.vertices, [[9.0, 9.0, 9.0]]])  # the last belongs to no face and stays
    rings = neighbours_within(mesh.faces, len(vertices), 1)
    once = np.array([vertices[sorted(ring)].mean(0) if ring else vertices[v] for v, ring in enumerate(rings)])
    twice = np.array([once[sorted(ring)].mean(0) if ring else once[v] for v, ring in enumerate(rings)])
    smoothed = [BaseMesh(mesh.faces, len(vertices), smoothing_passes=n).vertices(vertices) for n in (1, 2)]
    np.testing.assert_allclose(smoothed[0], once, rtol=0, atol=1e-14)
    np.testing.assert_allclose(smoothed[1], twice, rtol=0, atol=1e-14)


@pytest.mark.parametrize("at", [0, 3, 7])
def test_isolated_vertices_stay_wherever_they_are_numbered(at: int) -> None:
    mesh = icosphere(0)
    faces = mesh.faces + (mesh.faces >= at)
    vertices = np.insert(mesh.vertices, at, [5.0, 6.0, 7.0], axis=0)
    smoothed = BaseMesh(faces, 13, smoothing_passes=3).vertices(vertices)
    np.testing.assert_allclose(smoothed[at], [5.0, 6.0, 7.0])
    rest = BaseMesh(mesh.faces, 12, smoothing_passes=3).vertices(mesh.vertices)
    np.testing.assert_allclose(np.delete(smoothed, at, axis=0), rest, rtol=0, atol=1e-14)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("offset_m", [0.026, -0.01])
def test_the_offset_of_a_sphere_is_its_radius(offset_m: float, flip: bool) -> None:
    """Exact on an icosahedron by symmetry, on a finer sphere to its normals' error; winding must not matter."""
    for subdivisions, atol in ((0, 1e-15), (4, 2e-6)):
        mesh = icosphere(subdivisions, 0.5)
        faces = mesh.faces[:, ::-1] if flip else mesh.faces
        moved = BaseMesh(faces, len(mesh.vertices), surface_offset_m=offset_m).vertices(
            mesh.vertices + [1, 2, 3]
        )
        radius = np.linalg.norm(moved - [1, 2, 3], axis=1)
        np.testing.assert_allclose(radius, 0.5 + offset_m, rtol=0, atol=atol)


def test_normals_are_unit_and_point_out_of_the_body() -> None:
    pair = body_pair(64)
    normals = outward_normals(pair.target, pair.faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-12)
    a, b, c = (pair.target[pair.faces[:, k]] for k in range(3))
    volume = (a * np.cross(b, c)).sum() / 6
    a, b, c = ((pair.target + 1e-4 * normals)[pair.faces[:, k]] for k in range(3))
    assert (a * np.cross(b, c)).sum() / 6 > volume > 0


def test_vertices_of_no_face_have_no_normal() -> None:
    mesh = icosphere(0)
    normals = outward_normals(np.concatenate([mesh.vertices, [[0.0, 0.0, 5.0]]]), mesh.faces)
    np.testing.assert_array_equal(normals[-1], 0)


def test_the_paper_preset_changes_nothing() -> None:
    mesh = icosphere(1)
    np.testing.assert_array_equal(
        BaseMesh(mesh.faces, len(mesh.vertices)).vertices(mesh.vertices), mesh.vertices
    )


def test_released_smooths_before_it_widens() -> None:
    mesh = block((0.5, 0.5, 0.5), 6)
    count = len(mesh.vertices)
    both = BaseMesh(mesh.faces, count, smoothing_passes=4, surface_offset_m=0.026).vertices(mesh.vertices)
    smooth = BaseMesh(mesh.faces, count, smoothing_passes=4).vertices(mesh.vertices)
    np.testing.assert_allclose(both, smooth + 0.026 * outward_normals(smooth, mesh.faces), rtol=0, atol=1e-15)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="smoothing_passes must be 0 or more, got -1"):
        BaseMesh(icosphere(0).faces, 12, smoothing_passes=-1)
    with pytest.raises(ValueError, match="must index 11 vertices"):
        BaseMesh(icosphere(0).faces, 11)
