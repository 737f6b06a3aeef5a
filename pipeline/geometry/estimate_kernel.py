"""The compiled kernel behind `estimate_statistics`: how many of the target's pixels stand behind each vertex."""

from __future__ import annotations

from numba import njit

from pipeline.geometry.pixels import corner, plane_side
from pipeline.host.kernel_cache import KERNELS_ARE_CACHED


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def fill_vertex_weights(face_id, barycentric, target, reference, faces, weight, same_side):
    """Adds every body pixel's barycentric weights to its corners' weight (V,), and to same_side (V,) where the
    triangle turns the same side to the reference camera as to the target camera."""
    last, same = -1, False
    for row in range(face_id.shape[0]):
        for column in range(face_id.shape[1]):
            face = face_id[row, column]
            if face < 0:
                continue
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            if face != last:
                side = plane_side(corner(target, i), corner(target, j), corner(target, k))
                turned = plane_side(corner(reference, i), corner(reference, j), corner(reference, k))
                same = side * turned > 0.0
                last = face
            for at in range(3):
                vertex = faces[face, at]
                weight[vertex] += barycentric[row, column, at]
                if same:
                    same_side[vertex] += barycentric[row, column, at]
