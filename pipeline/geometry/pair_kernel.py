"""The compiled kernel behind `pair_maps`: one pass over the target's pixels makes every map of a pair.

Its readable twins are `surface.surface_motion`, `surface.stored_motion` and `visibility.validity`, which the tests
compare it with pixel by pixel. Pixels are taken 64 at a time, so that what is done for each of them alike, blending
three rotations above all, is a loop that the compiler turns into vector instructions.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.body_pixels import fill_sides
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.pixels import corner, first_quadrant, half_bits, plane_depth, quaternion_of
from schemas.conventions import (
    VALID_ALL,
    VALID_BASELINE,
    VALID_IN_FRONT,
    VALID_INSIDE,
    VALID_ON_BODY,
    VALID_VISIBLE,
)

BLOCK = 64
_STEPS = 60
_CONVERGED = 1e-17
"""Squared change of a unit quaternion after which its power iteration ends: 2e-9 of a quaternion are left at most where
triangles bend most. The last step to rounding error took half of the blend and changed no bit of a stored motion."""
ROWS = 29
"""Of a block: 0-2 the weights of a pixel's corners, 3-14 their quaternions, 15-18 the blend, 19-21 the surface point in
the target, 22-24 in the reference, 25 |t|, 26 whether the blend still moves, 27-28 the pixel's centre. Once blended,
rows 0-6 hold what becomes of the pixel, and row 26 the sine of half the angle."""


@inlined
def seen(
    face: int, column: int, row: int, rx: float, ry: float, z: float, face_id: Indices, reference: Floats,
    faces: Indices, tolerance: float,
) -> bool:  # fmt: skip
    """The visibility test of `visibility.validity`: a point of `face` at depth z on the reference ray (rx, ry, 1)."""
    front = face_id[row, column]
    if front == face or front < 0:
        return True
    a, b = corner(reference, faces[front, 0]), corner(reference, faces[front, 1])
    c = corner(reference, faces[front, 2])
    return z <= plane_depth(rx, ry, a, b, c) + tolerance


@kernel
def blend_block(work: Floats, count: int) -> None:
    """Rows 15-18 of `count` pixels: the rotation nearest to wi R_i + wj R_j + wk R_k, as a unit quaternion with w >= 0.

    The blend's projection onto SO(3) is the dominant eigenvector of sum w q q^T; power iteration from the
    sign-aligned mean reaches rounding error in two or three steps because the rotations of a triangle are close.
    Always over a full block, from rows that begin at constants: see `procrustes`.
    """
    for n in range(BLOCK):
        wi, wj, wk = work[n], work[BLOCK + n], work[2 * BLOCK + n]
        a, b, c, d = work[3 * BLOCK + n], work[4 * BLOCK + n], work[5 * BLOCK + n], work[6 * BLOCK + n]
        e, f, g, h = work[7 * BLOCK + n], work[8 * BLOCK + n], work[9 * BLOCK + n], work[10 * BLOCK + n]
        k, o, p, r = work[11 * BLOCK + n], work[12 * BLOCK + n], work[13 * BLOCK + n], work[14 * BLOCK + n]
        sj = -wj if a * e + b * f + c * g + d * h < 0.0 else wj
        sk = -wk if a * k + b * o + c * p + d * r < 0.0 else wk
        w, x = wi * a + sj * e + sk * k, wi * b + sj * f + sk * o
        y, z = wi * c + sj * g + sk * p, wi * d + sj * h + sk * r
        scale = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
        work[15 * BLOCK + n], work[16 * BLOCK + n] = w * scale, x * scale
        work[17 * BLOCK + n], work[18 * BLOCK + n] = y * scale, z * scale
        work[26 * BLOCK + n] = 1.0 if n < count else 0.0
    for _ in range(_STEPS):
        moving = 0.0
        for n in range(BLOCK):
            wi, wj, wk = work[n], work[BLOCK + n], work[2 * BLOCK + n]
            a, b, c, d = work[3 * BLOCK + n], work[4 * BLOCK + n], work[5 * BLOCK + n], work[6 * BLOCK + n]
            e, f, g, h = work[7 * BLOCK + n], work[8 * BLOCK + n], work[9 * BLOCK + n], work[10 * BLOCK + n]
            k, o, p, r = (
                work[11 * BLOCK + n],
                work[12 * BLOCK + n],
                work[13 * BLOCK + n],
                work[14 * BLOCK + n],
            )
            w, x, y, z = (
                work[15 * BLOCK + n], work[16 * BLOCK + n], work[17 * BLOCK + n], work[18 * BLOCK + n],
            )  # fmt: skip
            di = wi * (a * w + b * x + c * y + d * z)
            dj = wj * (e * w + f * x + g * y + h * z)
            dk = wk * (k * w + o * x + p * y + r * z)
            nw, nx = di * a + dj * e + dk * k, di * b + dj * f + dk * o
            ny, nz = di * c + dj * g + dk * p, di * d + dj * h + dk * r
            scale = 1.0 / math.sqrt(nw * nw + nx * nx + ny * ny + nz * nz)
            nw, nx, ny, nz = nw * scale, nx * scale, ny * scale, nz * scale
            change = (nw - w) * (nw - w) + (nx - x) * (nx - x) + (ny - y) * (ny - y) + (nz - z) * (nz - z)
            open_ = work[26 * BLOCK + n] > 0.0
            work[15 * BLOCK + n] = nw if open_ else w
            work[16 * BLOCK + n] = nx if open_ else x
            work[17 * BLOCK + n] = ny if open_ else y
            work[18 * BLOCK + n] = nz if open_ else z
            work[26 * BLOCK + n] = 0.0 if change < _CONVERGED else work[26 * BLOCK + n]
        for n in range(BLOCK):
            moving = max(moving, work[26 * BLOCK + n])
        if moving == 0.0:
            break


@kernel
def _fill_records(
    rotation: Floats, reference: Floats, vertex: NDArray[np.int64], records: Floats
) -> None:  # fmt: skip
    """records (v, 8) of some vertices: their rotation as a unit quaternion, and where they lie in the reference.

    A cache line each; the corners of a pixel are taken from three of them.
    """
    for at in range(vertex.shape[0]):
        v = vertex[at]
        w, x, y, z = quaternion_of(rotation, v)
        records[at, 0], records[at, 1], records[at, 2], records[at, 3] = w, x, y, z
        records[at, 4], records[at, 5], records[at, 6] = reference[v, 0], reference[v, 1], reference[v, 2]


@kernel
def _gather(
    first: int, count: int, slot: Indices, corners: Indices, weight: Floats, point: Floats, centre: Floats,
    records: Floats, work: Floats,
) -> None:  # fmt: skip
    """Rows 0-14, 19-24, 27 and 28 of a block: what its pixels are made of, and where their surface points lie."""
    for a in range(3):
        for n in range(count):
            work[a * BLOCK + n] = weight[a, first + n]
        for n in range(count):
            work[(19 + a) * BLOCK + n] = point[a, first + n]
    for a in range(2):
        for n in range(count):
            work[(27 + a) * BLOCK + n] = centre[a, first + n]
    for n in range(count):
        at = slot[first + n]
        i, j, k = corners[at, 0], corners[at, 1], corners[at, 2]
        wi, wj, wk = work[n], work[BLOCK + n], work[2 * BLOCK + n]
        for a in range(4):
            work[(3 + a) * BLOCK + n] = records[i, a]
            work[(7 + a) * BLOCK + n] = records[j, a]
            work[(11 + a) * BLOCK + n] = records[k, a]
        for a in range(3):
            work[(22 + a) * BLOCK + n] = (
                wi * records[i, 4 + a] + wj * records[j, 4 + a] + wk * records[k, 4 + a]
            )


@kernel
def _measure(work: Floats) -> None:
    """Row 25 of a block: |t| of t = moved - R p. Rows 15-18 get w >= 0, row 26 the sine of half the angle."""
    for n in range(BLOCK):
        w, x, y, z = (
            work[15 * BLOCK + n], work[16 * BLOCK + n], work[17 * BLOCK + n], work[18 * BLOCK + n],
        )  # fmt: skip
        px, py, pz = work[19 * BLOCK + n], work[20 * BLOCK + n], work[21 * BLOCK + n]
        sx, sy, sz = 2.0 * (y * pz - z * py), 2.0 * (z * px - x * pz), 2.0 * (x * py - y * px)
        tx = work[22 * BLOCK + n] - (px + w * sx + (y * sz - z * sy))
        ty = work[23 * BLOCK + n] - (py + w * sy + (z * sx - x * sz))
        tz = work[24 * BLOCK + n] - (pz + w * sz + (x * sy - y * sx))
        work[25 * BLOCK + n] = math.sqrt(tx * tx + ty * ty + tz * tz)
        side = -1.0 if w < 0.0 else 1.0
        work[15 * BLOCK + n], work[16 * BLOCK + n] = side * w, side * x
        work[17 * BLOCK + n], work[18 * BLOCK + n] = side * y, side * z
        work[26 * BLOCK + n] = math.sqrt(x * x + y * y + z * z)


@kernel
def _project(work: Floats, lens: Floats) -> None:
    """Rows 0-3 of a block: the ray of the moved point and its pixel in the reference; row 4 how far it moves, NaN
    where it lies behind the camera."""
    fx, fy, cx, cy = lens[0], lens[1], lens[2], lens[3]
    for n in range(BLOCK):
        mx, my, mz = work[22 * BLOCK + n], work[23 * BLOCK + n], work[24 * BLOCK + n]
        rx, ry = mx / mz, my / mz
        u, v = fx * rx + cx, fy * ry + cy
        du, dv = u - work[27 * BLOCK + n], v - work[28 * BLOCK + n]
        work[n], work[BLOCK + n], work[2 * BLOCK + n], work[3 * BLOCK + n] = rx, ry, u, v
        parallax = math.sqrt(du * du + dv * dv)
        work[4 * BLOCK + n] = parallax if mz > 0.0 else np.nan


@kernel
def _write_motion(first: int, count: int, work: Floats, motion: NDArray[np.uint16]) -> None:
    """Six channels of a block: rotation vector and displacement; row 5 is the angle, and row 6 what makes an axis."""
    for n in range(BLOCK):
        sine = work[26 * BLOCK + n]
        angle = 2.0 * first_quadrant(sine, work[15 * BLOCK + n])
        scale = angle / sine
        work[5 * BLOCK + n], work[6 * BLOCK + n] = angle, scale if sine > 1e-12 else 2.0
    for a in range(3):
        for n in range(count):
            motion[a, first + n] = half_bits(work[(16 + a) * BLOCK + n] * work[6 * BLOCK + n])
        for n in range(count):
            motion[3 + a, first + n] = half_bits(work[(22 + a) * BLOCK + n] - work[(19 + a) * BLOCK + n])


@kernel
def _write(
    first: int, count: int, work: Floats, pixel: Indices, slot: Indices, face: Indices, is_same: NDArray[np.bool_],
    reference_face_id: Indices, reference: Floats, faces: Indices, thresholds: Floats,
    validity: NDArray[np.uint8],
) -> tuple[int, int]:  # fmt: skip
    """Validity at the pixels of a block, whose rows are complete; how many are visible, and how many have all bits."""
    visible, valid = 0, 0
    height, width = reference_face_id.shape
    tolerance, least_baseline = thresholds[0], thresholds[1]
    for n in range(count):
        at = pixel[first + n]
        length, mz = work[25 * BLOCK + n], work[24 * BLOCK + n]
        bits = VALID_ON_BODY
        if length > least_baseline:
            bits |= VALID_BASELINE
        if mz > 0.0:
            bits |= VALID_IN_FRONT
            u, v = work[2 * BLOCK + n], work[3 * BLOCK + n]
            if u >= 0.0 and u < width and v >= 0.0 and v < height:
                bits |= VALID_INSIDE
                own = slot[first + n]
                if is_same[own] and seen(
                    face[own], int(u), int(v), work[n], work[BLOCK + n], mz, reference_face_id, reference, faces,
                    tolerance,
                ):  # fmt: skip
                    bits |= VALID_VISIBLE
        validity[at] = bits
        visible += bits & VALID_VISIBLE != 0
        valid += bits == VALID_ALL
    return visible, valid


@kernel
def _add(
    first: int, count: int, work: Floats, warp: NDArray[np.float32], baseline: Floats, sums: Floats
) -> None:
    """Warp and |t| of a block's pixels; rows 0-4 of the sums: |t|, angle, |t|/Z, parallax, and how many have one."""
    for n in range(count):
        is_in_front = work[24 * BLOCK + n] > 0.0
        warp[first + n, 0] = work[2 * BLOCK + n] if is_in_front else np.nan
        warp[first + n, 1] = work[3 * BLOCK + n] if is_in_front else np.nan
    for n in range(count):
        length, parallax = work[25 * BLOCK + n], work[4 * BLOCK + n]
        is_known = parallax == parallax
        baseline[first + n] = length
        sums[n] += length
        sums[BLOCK + n] += work[5 * BLOCK + n]
        sums[2 * BLOCK + n] += length / work[21 * BLOCK + n]
        sums[3 * BLOCK + n] += parallax if is_known else 0.0
        sums[4 * BLOCK + n] += 1.0 if is_known else 0.0


@kernel
def fill_pair_maps(
    pixel: Indices, slot: Indices, weight: Floats, point: Floats, centre: Floats, face: Indices, corners: Indices,
    side: Floats, vertex: NDArray[np.int64], rotation: Floats, reference: Floats, faces: Indices,
    reference_face_id: Indices, lens: Floats, thresholds: Floats, motion: NDArray[np.uint16],
    validity: NDArray[np.uint8], warp: NDArray[np.float32], baseline: Floats, means: Floats,
) -> tuple[int, int]:  # fmt: skip
    """Fills the maps of a pair; returns how many pixels the reference sees, and how many have every validity bit.

    The first nine arguments are those of `BodyPixels`, of n pixels. rotation (V, 3, 3) reference from target, reference
    (V, 3) metres; lens of the reference [f_x, f_y, c_x, c_y]; thresholds: depth tolerance and least baseline in metres.
    motion (6, n) uint16 holding float16 bits; validity (H W,) uint8, zero on entry; warp (n, 2) float32 pixels, NaN
    behind the camera; baseline (n,) |t| metres; means (4,) of |t|, the angle in radians, |t|/Z, and the parallax in
    pixels of those in front of the camera, 0 where there is none.
    """
    work, sums, records = np.zeros(ROWS * BLOCK), np.zeros(5 * BLOCK), np.empty((vertex.shape[0], 8))
    is_same, turned = np.empty(face.shape[0], np.bool_), np.empty(face.shape[0])
    _fill_records(rotation, reference, vertex, records)
    fill_sides(reference, faces, face, turned)
    for at in range(face.shape[0]):
        is_same[at] = side[at] * turned[at] > 0.0
    visible, valid = 0, 0
    for first in range(0, pixel.shape[0], BLOCK):
        count = min(BLOCK, pixel.shape[0] - first)
        _gather(first, count, slot, corners, weight, point, centre, records, work)
        blend_block(work, count)
        _measure(work)
        _project(work, lens)
        _write_motion(first, count, work, motion)
        more = _write(
            first, count, work, pixel, slot, face, is_same, reference_face_id, reference, faces, thresholds,
            validity,
        )  # fmt: skip
        _add(first, count, work, warp, baseline, sums)
        visible, valid = visible + more[0], valid + more[1]
    for at in range(4):
        known = sums[4 * BLOCK : 5 * BLOCK].sum() if at == 3 else float(pixel.shape[0])
        means[at] = sums[at * BLOCK : (at + 1) * BLOCK].sum() / max(known, 1.0)
    return visible, valid
