"""The compiled kernels behind `estimate_statistics`: what stands behind each vertex, and what becomes of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.pixels import corner, plane_side


@kernel
def fill_vertex_weights(
    face_id: Indices, barycentric: Floats, target: Floats, reference: Floats, faces: Indices,
    weight: Floats, same_side: Floats,
) -> None:  # fmt: skip
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


@inlined
def image_of(vertices: Floats, v: int, lenses: Floats, camera: int) -> tuple[float, float]:
    """The pixel of vertex v in camera 0 or 1; NaN behind it."""
    z = vertices[v, 2] if vertices[v, 2] > 0.0 else np.nan
    return (
        lenses[camera, 0] * vertices[v, 0] / z + lenses[camera, 2],
        lenses[camera, 1] * vertices[v, 1] / z + lenses[camera, 3],
    )


@kernel
def fill_vertex_numbers(
    seen: NDArray[np.int64], target: Floats, reference: Floats, rotation: Floats, translation: Floats,
    lenses: Floats, reference_hw: tuple[int, int], numbers: Floats,
) -> None:  # fmt: skip
    """numbers (6, n) of the n vertices that are `seen`: |t| metres, 2 sin a and 2 cos a of the rotation angle a,
    parallax px (NaN where a point has no image), |t|/Z, and 1 where the reference image holds the point, else 0.

    lenses (2, 4): target and reference [f_x, f_y, c_x, c_y]. The twin in the tests says it with arrays.
    """
    for at in range(seen.shape[0]):
        v = seen[at]
        x, y, z = translation[v, 0], translation[v, 1], translation[v, 2]
        length = math.sqrt(x * x + y * y + z * z)
        a = rotation[v, 2, 1] - rotation[v, 1, 2]
        b = rotation[v, 0, 2] - rotation[v, 2, 0]
        c = rotation[v, 1, 0] - rotation[v, 0, 1]
        u, w = image_of(target, v, lenses, 0)
        p, q = image_of(reference, v, lenses, 1)
        numbers[0, at] = length
        numbers[1, at] = math.sqrt(a * a + b * b + c * c)
        numbers[2, at] = rotation[v, 0, 0] + rotation[v, 1, 1] + rotation[v, 2, 2] - 1.0
        numbers[3, at] = math.sqrt((p - u) * (p - u) + (q - w) * (q - w))
        numbers[4, at] = length / max(target[v, 2], 1e-6)
        inside = p >= 0.0 and q >= 0.0 and p < reference_hw[1] and q < reference_hw[0]
        numbers[5, at] = 1.0 if inside else 0.0
