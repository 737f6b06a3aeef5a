"""The compiled kernel behind `pair_maps`: one pass over the target's pixels makes every map of a pair.

Its readable twins are `surface.surface_motion`, `surface.stored_motion` and `visibility.validity`, which the tests
compare it with pixel by pixel.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.pixels import blended_quaternion, corner, half_bits, plane_depth, plane_side
from schemas.conventions import VALID_BASELINE, VALID_IN_FRONT, VALID_INSIDE, VALID_ON_BODY, VALID_VISIBLE


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
    height, width = reference_face_id.shape
    tolerance, least_baseline = thresholds[0], thresholds[1]
    fx, fy, cx, cy = lenses[1, 0], lenses[1, 1], lenses[1, 2], lenses[1, 3]
    count = 0
    for row in range(target_face_id.shape[0]):
        for column in range(target_face_id.shape[1]):
            face = target_face_id[row, column]
            if face < 0:
                continue
            wi, wj, wk = barycentric[row, column, 0], barycentric[row, column, 1], barycentric[row, column, 2]
            i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
            px = wi * target[i, 0] + wj * target[j, 0] + wk * target[k, 0]
            py = wi * target[i, 1] + wj * target[j, 1] + wk * target[k, 1]
            pz = wi * target[i, 2] + wj * target[j, 2] + wk * target[k, 2]
            mx = wi * reference[i, 0] + wj * reference[j, 0] + wk * reference[k, 0]
            my = wi * reference[i, 1] + wj * reference[j, 1] + wk * reference[k, 1]
            mz = wi * reference[i, 2] + wj * reference[j, 2] + wk * reference[k, 2]
            w, x, y, z = blended_quaternion(quaternion, i, j, k, wi, wj, wk)
            sx, sy, sz = 2.0 * (y * pz - z * py), 2.0 * (z * px - x * pz), 2.0 * (x * py - y * px)
            tx = mx - (px + w * sx + (y * sz - z * sy))  # t = moved - R p
            ty = my - (py + w * sy + (z * sx - x * sz))
            tz = mz - (pz + w * sz + (x * sy - y * sx))
            length = math.sqrt(tx * tx + ty * ty + tz * tz)
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
                    side = plane_side(corner(target, i), corner(target, j), corner(target, k))
                    turned = plane_side(corner(reference, i), corner(reference, j), corner(reference, k))
                    if side * turned > 0.0 and seen(
                        face, int(u), int(v), rx, ry, mz, reference_face_id, reference, faces, tolerance
                    ):
                        bits |= VALID_VISIBLE
            validity[row, column] = bits
            baseline[row, column] = length
            packed[0, count], packed[1, count], packed[2, count] = length, angle, parallax
            packed[3, count], packed[4, count] = length / pz, bits
            count += 1
    return count
