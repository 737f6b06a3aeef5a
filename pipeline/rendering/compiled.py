"""A z-buffer rasteriser compiled with numba: no OpenGL, no system library, the same bits on every machine."""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.camera import Camera
from pipeline.geometry.compiling import kernel
from pipeline.geometry.mesh import checked_faces, checked_vertices
from pipeline.geometry.pixels import edge_product


class CompiledRasterizer:
    """`Rasterizer` on one CPU thread. Ties between equally near faces go to the lower face number."""

    name = "compiled"

    def __init__(self, *, near_m: float = 0.05) -> None:
        if not near_m > 0:
            raise ValueError(f"near_m must be above 0, got {near_m}")
        self._near_m = near_m

    def face_ids(self, vertices: np.ndarray, faces: np.ndarray, camera: Camera) -> np.ndarray:
        """See `Rasterizer.face_ids`."""
        return self._drawn(vertices, faces, camera)[0]

    def inverse_depth(
        self, vertices: np.ndarray, faces: np.ndarray, camera: Camera, *, is_closed: bool = False
    ) -> np.ndarray:
        """(H, W) one over metres at the pixels' centres, 0 where nothing is seen: `render(...).depth` at a fraction.

        Of a closed surface seen from outside the faces that look away are left out: another lies before them.
        """
        return self._drawn(vertices, faces, camera, skip_away=is_closed)[1]

    def _drawn(
        self, vertices: np.ndarray, faces: np.ndarray, camera: Camera, *, skip_away: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        vertices = checked_vertices(vertices, "vertices")
        faces = checked_faces(faces, len(vertices))
        face_id, inverse_depth = np.full(camera.hw, -1, np.int32), np.zeros(camera.hw)
        _draw(vertices, faces, camera.lens, self._near_m, skip_away, face_id, inverse_depth)
        return face_id, inverse_depth

    def close(self) -> None:
        """Nothing to free."""


@kernel
def _draw(
    vertices: Floats, faces: Indices, lens: Floats, near: float, skip_away: bool, face_id: Indices,
    inverse_depth: Floats,
) -> None:  # fmt: skip
    """Fills face_id (H, W); inverse_depth (H, W) must come in as zeros. Faces that look away may be skipped.

    Pixel coordinates here are shifted by half a pixel, so that centres are integers. Half of a body's faces cover no
    centre at map size: they are left by the rounded coordinates of their corners, made once per vertex.
    """
    height, width = face_id.shape
    image = np.empty((vertices.shape[0], 3))
    cell = np.empty((vertices.shape[0], 4), np.int32)
    for v in range(vertices.shape[0]):
        inverse = 1.0 / vertices[v, 2]
        x = lens[0] * vertices[v, 0] * inverse + (lens[2] - 0.5)
        y = lens[1] * vertices[v, 1] * inverse + (lens[3] - 0.5)
        image[v, 0], image[v, 1] = x, y
        image[v, 2] = inverse if vertices[v, 2] >= near else -1.0
        x, y = min(max(x, -1.0), width + 0.0), min(max(y, -1.0), height + 0.0)
        cell[v, 0], cell[v, 1] = math.ceil(x), math.floor(x)
        cell[v, 2], cell[v, 3] = math.ceil(y), math.floor(y)
    for face in range(faces.shape[0]):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        ia, ib, ic = image[i, 2], image[j, 2], image[k, 2]
        if ia < 0.0 or ib < 0.0 or ic < 0.0:
            if ia > 0.0 or ib > 0.0 or ic > 0.0:
                _draw_cut(vertices, faces, face, lens, near, face_id, inverse_depth)
            continue
        first_column = min(cell[i, 0], cell[j, 0], cell[k, 0])
        last_column = max(cell[i, 1], cell[j, 1], cell[k, 1])
        first_row, last_row = min(cell[i, 2], cell[j, 2], cell[k, 2]), max(cell[i, 3], cell[j, 3], cell[k, 3])
        if first_row > last_row or first_column > last_column:
            continue
        first_row, last_row = max(first_row, 0), min(last_row, height - 1)
        first_column, last_column = max(first_column, 0), min(last_column, width - 1)
        ax, ay, bx, by, cx, cy = image[i, 0], image[i, 1], image[j, 0], image[j, 1], image[k, 0], image[k, 1]
        # Edge functions e = p x + q y + r, exactly antisymmetric in their end points: no gaps along shared edges.
        pa, qa, ra = by - cy, cx - bx, bx * cy - by * cx
        pb, qb, rb = cy - ay, ax - cx, cx * ay - cy * ax
        pc, qc, rc = ay - by, bx - ax, ax * by - ay * bx
        area = ra + rb + rc
        if area == 0.0 or (skip_away and area > 0.0):
            continue
        side = (
            1.0 if area > 0.0 else -1.0
        )  # a factor, because a branch on it is mispredicted half of the time
        pa, qa, ra, pb, qb, rb = side * pa, side * qa, side * ra, side * pb, side * qb, side * rb
        pc, qc, rc = side * pc, side * qc, side * rc
        for row in range(first_row, last_row + 1):
            for column in range(first_column, last_column + 1):
                ea = pa * column + (qa * row + ra)
                eb = pb * column + (qb * row + rb)
                ec = pc * column + (qc * row + rc)
                if min(ea, eb, ec) >= 0.0:
                    inverse = (ea * ia + eb * ib + ec * ic) / (ea + eb + ec)
                    if inverse > inverse_depth[row, column]:
                        inverse_depth[row, column] = inverse
                        face_id[row, column] = face


@kernel
def _draw_cut(
    vertices: Floats, faces: Indices, face: int, lens: Floats, near: float, face_id: Indices,
    inverse_depth: Floats,
) -> None:  # fmt: skip
    """A triangle that crosses the near plane, by homogeneous edge functions (Olano and Greer 1997): no clipping.

    Only the rectangle of pixels to visit comes from the polygon cut at the near plane.
    """
    height, width = face_id.shape
    left, right, top, bottom = np.inf, -np.inf, np.inf, -np.inf
    for k in range(3):
        start, end = vertices[faces[face, k]], vertices[faces[face, (k + 1) % 3]]
        for corner in range(2):
            if corner == 0:
                if start[2] < near:
                    continue
                x, y, z = start[0], start[1], start[2]
            else:
                if (start[2] < near) == (end[2] < near):
                    continue
                share = (near - start[2]) / (end[2] - start[2])
                x, y, z = start[0] + share * (end[0] - start[0]), start[1] + share * (end[1] - start[1]), near
            u, v = lens[0] * x / z + lens[2] - 0.5, lens[1] * y / z + lens[3] - 0.5
            left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
    a, b, c = vertices[faces[face, 0]], vertices[faces[face, 1]], vertices[faces[face, 2]]
    for row in range(math.ceil(max(top, 0.0)), math.floor(min(bottom, height - 1.0)) + 1):
        ry = (row + 0.5 - lens[3]) / lens[1]
        for column in range(math.ceil(max(left, 0.0)), math.floor(min(right, width - 1.0)) + 1):
            rx = (column + 0.5 - lens[2]) / lens[0]
            ea, eb, ec = edge_product(rx, ry, b, c), edge_product(rx, ry, c, a), edge_product(rx, ry, a, b)
            if (ea >= 0.0 and eb >= 0.0 and ec >= 0.0) or (ea <= 0.0 and eb <= 0.0 and ec <= 0.0):
                total = ea + eb + ec
                if total == 0.0:
                    continue
                z = (ea * a[2] + eb * b[2] + ec * c[2]) / total
                if z >= near and 1.0 / z > inverse_depth[row, column]:
                    inverse_depth[row, column] = 1.0 / z
                    face_id[row, column] = face
