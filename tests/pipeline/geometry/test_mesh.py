"""What a mesh is: closed, and which way it faces."""

from __future__ import annotations

import numpy as np

from pipeline.geometry.mesh import faces_outwards, is_closed

TETRAHEDRON = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]], np.int32)


def test_what_is_closed() -> None:
    """A tetrahedron; without a face, with a face turned round, and with an edge of three faces it is none."""
    faces = TETRAHEDRON
    assert is_closed(faces)
    assert is_closed(np.concatenate([faces, faces + 4]))
    for not_closed in (
        faces[1:],
        np.concatenate([faces[:1, ::-1], faces[1:]]),
        np.concatenate([faces, [[0, 1, 4]]]),
    ):
        assert not is_closed(not_closed)


def test_which_way_a_closed_surface_faces() -> None:
    """Wherever it lies; the first corner at the origin, the others along the axes."""
    corners = np.concatenate([np.zeros((1, 3)), np.eye(3)])
    for moved in (corners, corners + [3.0, -7.0, 2.0]):
        assert not faces_outwards(moved, TETRAHEDRON)
        assert faces_outwards(moved, TETRAHEDRON[:, ::-1])
        assert faces_outwards(moved * [-1, 1, 1], TETRAHEDRON)
