"""Rings: against walking the mesh, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.mesh import checked_faces
from pipeline.geometry.rings import Rings, one_ring, two_ring
from tests.support.oracles import neighbours_within
from tests.support.scenes import block, cylinder, icosphere


@pytest.mark.parametrize(
    "mesh", [icosphere(2), block((1, 1, 1), 3), cylinder(1, 1, 9, 2)], ids=["sphere", "block", "tube"]
)
@pytest.mark.parametrize(("make", "steps"), [(one_ring, 1), (two_ring, 2)])
def test_rings_are_what_walking_reaches(mesh, make, steps: int) -> None:
    count = len(mesh.vertices) + 2  # two vertices of no face
    rings = make(mesh.faces, count)
    walked = neighbours_within(mesh.faces, count, steps)
    for v in range(count):
        row = rings.indices[rings.indptr[v] : rings.indptr[v + 1]].tolist()
        assert row == sorted(walked[v])
    assert rings.vertex_count == count
    assert rings.indptr[-1] == rings.indptr[-3], "vertices of no face have empty rings"


def test_no_faces_give_empty_rings() -> None:
    rings = two_ring(np.empty((0, 3), np.int32), 4)
    assert rings.vertex_count == 4
    assert rings.indices.size == 0


@pytest.mark.parametrize(
    ("indptr", "indices", "says"),
    [
        ([0, 1, 3], [0, 1], "from 0 to 2"),
        ([1, 2], [0, 1], "from 0"),
        ([0, 2, 1, 2], [0, 1], "must not decrease"),
        ([0, 2], [0, 1], r"lie in \[0, 1\)"),
        ([0, 1], [-1], "lie in"),
    ],
)
def test_bad_rings_are_refused(indptr: list[int], indices: list[int], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rings(np.array(indptr), np.array(indices))


def test_bad_faces_are_refused() -> None:
    with pytest.raises(ValueError, match="triangulate"):
        checked_faces(np.zeros((2, 4)), 5)
    with pytest.raises(ValueError, match="must index 5 vertices"):
        checked_faces(np.array([[0, 1, 5]]), 5)
    with pytest.raises(ValueError, match="must index"):
        two_ring(np.array([[0, 1, -1]]), 5)
