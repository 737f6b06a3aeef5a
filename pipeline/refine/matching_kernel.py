"""The compiled kernels behind `misalignment`: where patches of one picture are found in another, and how far off."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from pipeline.host.kernel_cache import KERNELS_ARE_CACHED

TARGET, WARPED, VALID = range(3)
"""Layers of the pictures that patches are matched in."""
TARGET_STEPS, WARPED_STEPS = 765, 12240
"""What white counts: the sum of three bytes, and sixteen times that where bytes were interpolated (misalignments then
differ by at most .002 px from those of float64; with four times, by .009). Sums of whole numbers are the same in any
order, so the compiler may form many at a time; all but the last squares' fit 32 bits for a patch of 15 x 15."""
FLAT = 1e-9
"""Variance of greys in [0, 1] below which a patch shows nothing."""


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def fill_source(warp_px, valid, source):
    """Where `cv2.remap` is to look: the warp (H, W, 2) less half a pixel; the first pixel where not valid."""
    for row in range(valid.shape[0]):
        for column in range(valid.shape[1]):
            for axis in range(2):
                at = warp_px[row, column, axis] if valid[row, column] else np.float32(0.0)
                source[row, column, axis] = at - np.float32(0.5)


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def fill_layers(target, warped, valid, layers):
    """Greys of two pictures (H, W, 3) float32 in whole steps, and 1 where they are valid: (3, H, W) int16, else 0."""
    target_steps, warped_steps = TARGET_STEPS / 3.0, WARPED_STEPS / 3.0
    for row in range(valid.shape[0]):
        for column in range(valid.shape[1]):
            a, b, is_valid = target[row, column], warped[row, column], valid[row, column]
            grey = math.floor(target_steps * (a[0] + a[1] + a[2]) + 0.5)
            other = math.floor(warped_steps * (b[0] + b[1] + b[2]) + 0.5)
            layers[TARGET, row, column] = grey if is_valid else 0
            layers[WARPED, row, column] = other if is_valid else 0
            layers[VALID, row, column] = 1 if is_valid else 0


@njit(inline="always", error_model="numpy")
def _copy_rows(layer, row, column, width, wide, rows):
    """Parts of a layer's rows from (row, column) on, `width` pixels each, at every `wide`th place of `rows`."""
    for r in range(rows.shape[0] // wide):
        source, copy = layer[row + r, column : column + width], rows[r * wide : r * wide + width]
        for k in range(width):
            copy[k] = source[k]


@njit(inline="always", error_model="numpy")
def _correlation(target, seen, warped, valid, patch_size):
    """Zero-mean normalised correlation of two patches given as rows of whole numbers, over pixels valid in both.

    -1 where fewer than four fifths of `patch_size` are, or where either is flat.
    """
    zero = np.int32(0)
    count, st, stt, sw, stw = zero, zero, zero, zero, zero
    sww: Any = 0  # 64 bits for numba
    for k in range(target.shape[0]):
        a, u, b, v = np.int32(target[k]), np.int32(seen[k]), np.int32(warped[k]), np.int32(valid[k])
        av, ub = np.int32(a * v), np.int32(u * b)
        count = np.int32(count + u * v)
        st, stt = np.int32(st + av), np.int32(stt + np.int32(a * av))
        sw, sww = np.int32(sw + ub), sww + np.int32(b * ub)
        stw = np.int32(stw + np.int32(a * b))
    if 5 * count < 4 * patch_size:
        return -1.0
    vt, vw = stt - float(st) * st / count, sww - float(sw) * sw / count
    if vt <= FLAT * TARGET_STEPS**2 * count or vw <= FLAT * WARPED_STEPS**2 * count:
        return -1.0
    return (stw - float(st) * sw / count) / math.sqrt(vt * vw)


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def match_patches(layers, centre, radius, reach, shift, score, curvature):
    """For every centre (n, 2) = (row, column), at least radius + reach + 1 inside: the best shift within +-reach.

    layers (3, H, W) int16 of `fill_layers`. shift (n, 2) = (right, down) in pixels, refined by the quadratic through
    the peak and its eight neighbours; score (n,) the correlation there; curvature (n, 3) = -(xx, yy, xy) of that
    quadratic per squared pixel. A peak on the search's border stays whole, with curvature 0.
    """
    side, patch = 2 * reach + 1, 2 * radius + 1
    wide = patch + 1  # one column more, which is 0 in the target: 16 numbers fill a register
    count = patch * wide
    target, seen = np.zeros(count, np.int16), np.zeros(count, np.int16)
    warped, valid = (
        np.empty((patch + 2 * reach) * wide, np.int16),
        np.empty((patch + 2 * reach) * wide, np.int16),
    )
    scores = np.empty((side, side))
    for n in range(centre.shape[0]):
        row, column = centre[n, 0] - radius, centre[n, 1] - radius
        _copy_rows(layers[TARGET], row, column, patch, wide, target)
        _copy_rows(layers[VALID], row, column, patch, wide, seen)
        for j in range(side):
            _copy_rows(layers[WARPED], row - reach, column - reach + j, wide, wide, warped)
            _copy_rows(layers[VALID], row - reach, column - reach + j, wide, wide, valid)
            for i in range(side):
                moved = slice(i * wide, i * wide + count)
                scores[i, j] = _correlation(target, seen, warped[moved], valid[moved], patch * patch)
        best, top, left = -2.0, 0, 0
        for i in range(side):
            for j in range(side):
                if scores[i, j] > best:
                    best, top, left = scores[i, j], i, j
        score[n] = best
        shift[n, 0], shift[n, 1] = left - reach, top - reach
        curvature[n, 0], curvature[n, 1], curvature[n, 2] = 0.0, 0.0, 0.0
        if 0 < top < side - 1 and 0 < left < side - 1:
            lowest = best
            for i in range(top - 1, top + 2):
                for j in range(left - 1, left + 2):
                    lowest = min(lowest, scores[i, j])
            if lowest <= -1.0:
                continue
            gx = 0.5 * (scores[top, left + 1] - scores[top, left - 1])
            gy = 0.5 * (scores[top + 1, left] - scores[top - 1, left])
            xx = 2 * best - scores[top, left + 1] - scores[top, left - 1]
            yy = 2 * best - scores[top + 1, left] - scores[top - 1, left]
            xy = -0.25 * (
                scores[top + 1, left + 1]
                + scores[top - 1, left - 1]
                - scores[top + 1, left - 1]
                - scores[top - 1, left + 1]
            )
            determinant = xx * yy - xy * xy
            if determinant > 1e-12:
                shift[n, 0] += min(max((yy * gx - xy * gy) / determinant, -1.0), 1.0)
                shift[n, 1] += min(max((xx * gy - xy * gx) / determinant, -1.0), 1.0)
                curvature[n, 0], curvature[n, 1], curvature[n, 2] = xx, yy, xy


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def fill_depth_directions(px, depth, motion, lens, reference_lens, along):
    """(n, 2) pixels per metre: how the reference's pixel moves when the target pixel's depth grows, the motion held.

    px (n, 2), depth (n,) metres, motion (n, 6) rotation vector and displacement, lenses [f_x, f_y, c_x, c_y]. With the
    ray r = K^-1 (u, v, 1), a = R r and the moved point x = z r + displacement: f (a_xy - x_xy / x_z a_z) / x_z.
    """
    for n in range(px.shape[0]):
        rx, ry = (px[n, 0] - lens[2]) / lens[0], (px[n, 1] - lens[3]) / lens[1]
        vx, vy, vz = motion[n, 0], motion[n, 1], motion[n, 2]
        angle = math.sqrt(vx * vx + vy * vy + vz * vz)
        sine, cosine = 1.0, 0.5  # sin(a) / a and (1 - cos a) / a^2
        if angle > 0.0:
            half = math.sin(0.5 * angle) / (0.5 * angle)
            sine, cosine = math.sin(angle) / angle, 0.5 * half * half
        cx, cy, cz = (
            vy - vz * ry,
            vz * rx - vx,
            vx * ry - vy * rx,
        )  # R r = r + sine (v x r) + cosine v x (v x r)
        ax = rx + sine * cx + cosine * (vy * cz - vz * cy)
        ay = ry + sine * cy + cosine * (vz * cx - vx * cz)
        az = 1.0 + sine * cz + cosine * (vx * cy - vy * cx)
        x, y, z = depth[n] * rx + motion[n, 3], depth[n] * ry + motion[n, 4], depth[n] + motion[n, 5]
        along[n, 0] = reference_lens[0] * (ax - x / z * az) / z
        along[n, 1] = reference_lens[1] * (ay - y / z * az) / z


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def fill_across(centre, warp_px, along, across):
    """Unit vectors (n, 2) in the target's pixels, across directions along (n, 2) in the reference's.

    Those are turned back by the warp's derivative over two pixels each way; where a neighbour is off the body (NaN)
    they are taken as they are.
    """
    quarter = np.float32(0.25)
    for n in range(centre.shape[0]):
        row, column = centre[n, 0], centre[n, 1]
        uu = float(quarter * (warp_px[row, column + 2, 0] - warp_px[row, column - 2, 0]))
        vu = float(quarter * (warp_px[row, column + 2, 1] - warp_px[row, column - 2, 1]))
        uv = float(quarter * (warp_px[row + 2, column, 0] - warp_px[row - 2, column, 0]))
        vv = float(quarter * (warp_px[row + 2, column, 1] - warp_px[row - 2, column, 1]))
        determinant = uu * vv - uv * vu
        x, y = along[n, 0], along[n, 1]
        if determinant > 0.1 and determinant < np.inf:  # neither holds for NaN
            x, y = (vv * x - uv * y) / determinant, (uu * y - vu * x) / determinant
        length = max(math.sqrt(x * x + y * y), 1e-12)
        across[n, 0], across[n, 1] = -y / length, x / length
