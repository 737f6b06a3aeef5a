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
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.pixels import corner, half_bits, plane_depth, plane_side
from schemas.conventions import VALID_BASELINE, VALID_IN_FRONT, VALID_INSIDE, VALID_ON_BODY, VALID_VISIBLE

BLOCK = 64
_STEPS = 60
_CONVERGED = 1e-24
"""Squared change of a unit quaternion after which its power iteration ends: rounding error."""
ROWS = 27
"""Of a block: 0-2 the weights of a pixel's corners, 3-14 their quaternions, 15-18 the blend, 19-21 the surface point in
the target, 22-24 in the reference, 25 |t|, 26 whether the blend still moves."""


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
def _gather(
    pixel: NDArray[np.int64], count: int, face_id: Indices, barycentric: Floats, target: Floats, reference: Floats,
    faces: Indices, quaternion: Floats, work: Floats,
) -> None:  # fmt: skip
    """Rows 0-14 and 19-24 of a block: what its pixels are made of, and where their surface points lie."""
    for n in range(count):
        row, column = pixel[n, 0], pixel[n, 1]
        face = face_id[row, column]
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        wi, wj, wk = barycentric[row, column, 0], barycentric[row, column, 1], barycentric[row, column, 2]
        work[n], work[BLOCK + n], work[2 * BLOCK + n] = wi, wj, wk
        for a in range(4):
            work[(3 + a) * BLOCK + n] = quaternion[i, a]
            work[(7 + a) * BLOCK + n] = quaternion[j, a]
            work[(11 + a) * BLOCK + n] = quaternion[k, a]
        for a in range(3):
            work[(19 + a) * BLOCK + n] = wi * target[i, a] + wj * target[j, a] + wk * target[k, a]
            work[(22 + a) * BLOCK + n] = wi * reference[i, a] + wj * reference[j, a] + wk * reference[k, a]


@kernel
def _measure(work: Floats) -> None:
    """Row 25 of a block: |t| of t = moved - R p."""
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


@kernel
def _write(
    pixel: NDArray[np.int64], count: int, done: int, work: Floats, target_face_id: Indices,
    reference_face_id: Indices, target: Floats, reference: Floats, faces: Indices, lenses: Floats,
    thresholds: Floats, motion: NDArray[np.uint16], validity: NDArray[np.uint8],
    baseline: NDArray[np.float32], warp: NDArray[np.float32], packed: Floats,
) -> None:  # fmt: skip
    """The maps at the pixels of a block, whose rows are complete; `done` pixels came before."""
    height, width = reference_face_id.shape
    tolerance, least_baseline = thresholds[0], thresholds[1]
    fx, fy, cx, cy = lenses[1, 0], lenses[1, 1], lenses[1, 2], lenses[1, 3]
    for n in range(count):
        row, column = pixel[n, 0], pixel[n, 1]
        w, x, y, z = (
            work[15 * BLOCK + n], work[16 * BLOCK + n], work[17 * BLOCK + n], work[18 * BLOCK + n],
        )  # fmt: skip
        if w < 0.0:
            w, x, y, z = -w, -x, -y, -z
        px, py, pz = work[19 * BLOCK + n], work[20 * BLOCK + n], work[21 * BLOCK + n]
        mx, my, mz = work[22 * BLOCK + n], work[23 * BLOCK + n], work[24 * BLOCK + n]
        length = work[25 * BLOCK + n]
        sine = math.sqrt(x * x + y * y + z * z)
        angle = 2.0 * math.atan2(sine, w)
        scale = angle / sine if sine > 1e-12 else 2.0
        motion[row, column, 0] = half_bits(x * scale)
        motion[row, column, 1] = half_bits(y * scale)
        motion[row, column, 2] = half_bits(z * scale)
        motion[row, column, 3] = half_bits(mx - px)
        motion[row, column, 4] = half_bits(my - py)
        motion[row, column, 5] = half_bits(mz - pz)
        bits, parallax = VALID_ON_BODY, np.nan
        if length > least_baseline:
            bits |= VALID_BASELINE
        if mz > 0.0:
            bits |= VALID_IN_FRONT
            rx, ry = mx / mz, my / mz
            u, v = fx * rx + cx, fy * ry + cy
            warp[row, column, 0], warp[row, column, 1] = u, v
            du, dv = u - (column + 0.5), v - (row + 0.5)
            parallax = math.sqrt(du * du + dv * dv)
            if u >= 0.0 and u < width and v >= 0.0 and v < height:
                bits |= VALID_INSIDE
                face = target_face_id[row, column]
                i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
                side = plane_side(corner(target, i), corner(target, j), corner(target, k))
                turned = plane_side(corner(reference, i), corner(reference, j), corner(reference, k))
                if side * turned > 0.0 and seen(
                    face, int(u), int(v), rx, ry, mz, reference_face_id, reference, faces, tolerance
                ):
                    bits |= VALID_VISIBLE
        validity[row, column] = bits
        baseline[row, column] = length
        packed[0, done + n], packed[1, done + n], packed[2, done + n] = length, angle, parallax
        packed[3, done + n], packed[4, done + n] = length / pz, bits


@kernel
def fill_pair_maps(
    target_face_id: Indices, barycentric: Floats, reference_face_id: Indices, target: Floats,
    reference: Floats, faces: Indices, quaternion: Floats, lenses: Floats, thresholds: Floats,
    motion: NDArray[np.uint16], validity: NDArray[np.uint8], baseline: NDArray[np.float32],
    warp: NDArray[np.float32], packed: Floats,
) -> int:  # fmt: skip
    """Fills the maps of a pair and returns how many body pixels there are.

    lenses (2, 4): target and reference [f_x, f_y, c_x, c_y]; thresholds: depth tolerance and least baseline in metres.
    motion (H, W, 6) uint16 holding float16 bits, validity (H, W) uint8, baseline (H, W) float32 metres; all zero on
    entry. warp (H, W, 2) float32 pixels, NaN on entry. packed (5, n) for the n body pixels in row-major order: baseline
    m, angle rad, parallax px (NaN where there is none), |t|/Z, validity bits.
    """
    height, width = target_face_id.shape
    work, pixel = np.zeros(ROWS * BLOCK), np.empty((BLOCK, 2), np.int64)
    done, count = 0, 0
    for row in range(height):
        for column in range(width):
            if target_face_id[row, column] >= 0:
                pixel[count, 0], pixel[count, 1] = row, column
                count += 1
            if count == BLOCK or (count and row == height - 1 and column == width - 1):
                _gather(
                    pixel, count, target_face_id, barycentric, target, reference, faces, quaternion, work,
                )  # fmt: skip
                blend_block(work, count)
                _measure(work)
                _write(
                    pixel, count, done, work, target_face_id, reference_face_id, target, reference, faces,
                    lenses, thresholds, motion, validity, baseline, warp, packed,
                )  # fmt: skip
                done, count = done + count, 0
    return done
