"""The compiled kernel behind `misalignment`: where patches of one picture are found in another."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pipeline.host.kernel_cache import KERNELS_ARE_CACHED


@njit(inline="always", error_model="numpy")
def _correlation(target, warped, valid, row, column, down, right, radius):
    """Zero-mean normalised correlation of the patch around (row, column) and the one moved (down, right).

    Over pixels valid in both; -1 where fewer than four fifths are, or where either patch is flat.
    """
    count = 0
    st, sw, stt, sww, stw = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(-radius, radius + 1):
        for j in range(-radius, radius + 1):
            r, c = row + i, column + j
            if valid[r, c] and valid[r + down, c + right]:
                a, b = target[r, c], warped[r + down, c + right]
                count += 1
                st += a
                sw += b
                stt += a * a
                sww += b * b
                stw += a * b
    size = (2 * radius + 1) ** 2
    if 5 * count < 4 * size:
        return -1.0
    vt, vw = stt - st * st / count, sww - sw * sw / count
    if vt <= 1e-9 * count or vw <= 1e-9 * count:
        return -1.0
    return (stw - st * sw / count) / math.sqrt(vt * vw)


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def match_patches(target, warped, valid, centre, radius, reach, shift, score, curvature):
    """For every centre (n, 2) = (row, column), at least radius + reach + 1 inside: the best shift within +-reach.

    target, warped (H, W) float64, valid (H, W) bool. shift (n, 2) = (right, down) in pixels, refined by the quadratic
    through the peak and its eight neighbours; score (n,) the correlation there; curvature (n, 3) = -(xx, yy, xy) of
    that quadratic per squared pixel. A peak on the search's border stays whole, with curvature 0.
    """
    side = 2 * reach + 1
    scores = np.empty((side, side))
    for n in range(centre.shape[0]):
        best, top, left = -2.0, 0, 0
        for i in range(side):
            for j in range(side):
                scores[i, j] = _correlation(
                    target, warped, valid, centre[n, 0], centre[n, 1], i - reach, j - reach, radius
                )
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
