"""The body pixels of a target, packed: what all its pairs start from, made once for all its references."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.compiling import kernel
from pipeline.geometry.pixels import corner, plane_side


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyPixels:
    """The n pixels that show a body, row after row, and the m faces that they show."""

    pixel: Indices
    """(n,) row * W + column."""
    slot: Indices
    """(n,) the face that each shows, a row of `corners`."""
    weight: Floats
    """(3, n) barycentric weights of the face's corners."""
    point: Floats
    """(3, n) metres: the surface point under the pixel's centre."""
    centre: Floats
    """(2, n) column and row of the pixel's centre, in pixels."""
    face: Indices
    """(m,) numbers of the faces, in the order in which they are seen."""
    corners: Indices
    """(m, 3) their corners, as rows of `vertex`."""
    side: Floats
    """(m,) `plane_side` of each."""
    vertex: NDArray[np.int64]
    """The numbers of all corners, increasing."""


def body_pixels(face_id: Indices, barycentric: Floats, vertices: Floats, faces: Indices) -> BodyPixels:
    """Of a raster: face_id (H, W), barycentric (H, W, 3); vertices (V, 3) metres, faces (F, 3)."""
    count, slots = int(np.count_nonzero(face_id >= 0)), np.full(len(faces), -1, np.int32)
    pixel, slot = np.empty((2, count), np.int32)
    weight, point, centre = np.empty((3, count)), np.empty((3, count)), np.empty((2, count))
    found = fill_body_pixels(
        face_id, barycentric, vertices, faces, slots, pixel, slot, weight, point, centre
    )  # fmt: skip
    face = np.empty(found, np.int32)
    face[slots[slots >= 0]] = np.flatnonzero(slots >= 0)
    is_corner = np.zeros(len(vertices), np.bool_)
    is_corner[faces[face]] = True
    row = np.cumsum(is_corner, dtype=np.int32) - 1
    side = np.empty(found)
    fill_sides(vertices, faces, face, side)
    return BodyPixels(
        pixel=pixel,
        slot=slot,
        weight=weight,
        point=point,
        centre=centre,
        face=face,
        corners=row[faces[face]].reshape(-1, 3).astype(np.int32),
        side=side,
        vertex=np.flatnonzero(is_corner),
    )


@kernel
def fill_body_pixels(
    face_id: Indices, barycentric: Floats, vertices: Floats, faces: Indices, slots: Indices, pixel: Indices,
    slot: Indices, weight: Floats, point: Floats, centre: Floats,
) -> int:  # fmt: skip
    """Packs the pixels, numbers the faces that they show in slots (F,), -1 on entry, and returns how many they are."""
    found, n = 0, 0
    for row in range(face_id.shape[0]):
        for column in range(face_id.shape[1]):
            face = face_id[row, column]
            if face < 0:
                continue
            if slots[face] < 0:
                slots[face] = found
                found += 1
            pixel[n], slot[n] = row * face_id.shape[1] + column, slots[face]
            centre[0, n], centre[1, n] = column + 0.5, row + 0.5
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            wi, wj, wk = barycentric[row, column, 0], barycentric[row, column, 1], barycentric[row, column, 2]
            weight[0, n], weight[1, n], weight[2, n] = wi, wj, wk
            for a in range(3):
                point[a, n] = wi * vertices[i, a] + wj * vertices[j, a] + wk * vertices[k, a]
            n += 1
    return found


@kernel
def fill_sides(vertices: Floats, faces: Indices, some: Indices, side: Floats) -> None:
    """`plane_side` of some faces (m,)."""
    for at in range(some.shape[0]):
        i, j, k = faces[some[at], 0], faces[some[at], 1], faces[some[at], 2]
        side[at] = plane_side(corner(vertices, i), corner(vertices, j), corner(vertices, k))
