"""The packed pixels of a target are those of its raster."""

from __future__ import annotations

import numpy as np

from tests.support.scenes import body_pair
from tests.support.surfaces import rendered_pair


def test_packed_pixels_are_those_of_the_raster() -> None:
    surface, _ = rendered_pair(body_pair(96, turn_deg=10.0, seed=2))
    pixels, raster, faces = surface.pixels, surface.raster, surface.faces
    row, column = np.nonzero(raster.mask)
    face = raster.face_id[raster.mask]
    np.testing.assert_array_equal(pixels.pixel, np.flatnonzero(raster.mask))
    np.testing.assert_array_equal(pixels.centre, [column + 0.5, row + 0.5])
    np.testing.assert_array_equal(pixels.weight.T, raster.barycentric[raster.mask])
    np.testing.assert_array_equal(pixels.face[pixels.slot], face)
    assert sorted(pixels.face) == np.unique(face).tolist()
    np.testing.assert_array_equal(pixels.vertex[pixels.corners], faces[pixels.face])
    np.testing.assert_array_equal(pixels.vertex, np.unique(faces[face]))
    corners = surface.vertices[faces[face]]
    np.testing.assert_allclose(
        pixels.point.T, np.einsum("nk,nkc->nc", raster.barycentric[raster.mask], corners), atol=1e-12
    )
    np.testing.assert_allclose(pixels.point[2], raster.depth[raster.mask], atol=1e-12)
    a, b, c = np.moveaxis(surface.vertices[faces[pixels.face]], 1, 0)
    np.testing.assert_allclose(pixels.side, (a * np.cross(b - a, c - a)).sum(axis=1), atol=1e-12)


def test_a_surface_that_shows_nothing_has_no_pixels() -> None:
    surface, _ = rendered_pair(body_pair(32, turn_deg=10.0, seed=2))
    surface.face_id[:] = -1
    assert surface.pixels.point.shape == (3, 0)
    assert len(surface.pixels.face) == len(surface.pixels.vertex) == len(surface.pixels.corners) == 0
