"""The compiled kernels behind `misalignment`: where patches of one picture are found in another, and how far off."""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Floats, Integers, Shorts
from pipeline.geometry.compiling import inlined, kernel
from pipeline.refine.comparison_kernel import TARGET, TARGET_STEPS, VALID, WARPED, WARPED_STEPS

FLAT = 1e-9
"""Variance of greys in [0, 1] below which a patch shows nothing."""
LONGEST = 9
"""Pixels of a shift at most, in either axis."""
LEAST_SHARED = 0.6
"""Share of a patch's own valid pixels that its counterpart must show too."""
RIDGE = 0.02
"""Differences of scores along a ridge that say nothing."""
OUTSIDE = -2.0
"""Score of a shift that was not tried."""
PLACED, BEYOND_ACROSS, BEYOND_ALONG, UNPLACED = range(4)
"""What comes of looking for a patch."""


@inlined
def _copy_rows(layer: Shorts, row: int, column: int, width: int, wide: int, rows: Shorts) -> None:
    """Parts of a layer's rows from (row, column) on, `width` pixels each, at every `wide`th place of `rows`."""
    for r in range(rows.shape[0] // wide):
        source, copy = layer[row + r, column : column + width], rows[r * wide : r * wide + width]
        for k in range(width):
            copy[k] = source[k]


@inlined
def _sums(target: Shorts, seen: Shorts, shown: Shorts) -> tuple[np.int32, np.int32, np.int32]:
    """How many pixels (-1 in `seen`, 0 elsewhere, and negative in `shown`) count, and the sums of their targets and
    squares."""
    zero = np.int32(0)
    count, st, stt = zero, zero, zero
    for k in range(target.shape[0]):
        a, v = target[k], np.int16(shown[k] >> 15)
        av = np.int16(a & v)
        count = np.int32(count + np.int32(seen[k]) * np.int32(v))
        st, stt = np.int32(st + av), np.int32(stt + np.int32(np.int32(a) * np.int32(av)))
    return count, st, stt


@inlined
def _correlation(
    target: Shorts, seen: Shorts, warped: Shorts, own: tuple[np.int32, np.int32, np.int32]
) -> float:
    """Zero-mean normalised correlation of two patches given as rows of whole numbers, over pixels valid in both: -1 in
    `seen`, all bits, 0 elsewhere, and SHOWN more in `warped`.

    `own` are the sums of the target's valid pixels. -1 where too few of them are shared, or where either is flat.
    """
    zero = np.int32(0)
    shared, sw, stw, high, low = zero, zero, zero, zero, zero
    for k in range(target.shape[0]):  # products of 16 bits in sums of 32, which vector instructions have
        a, u, b = target[k], seen[k], warped[k]
        v, b = np.int16(b >> 15), np.int16(b & 32767)
        ub = np.int16(u & b)
        shared = np.int32(shared + np.int32(u) * np.int32(v))
        sw = np.int32(sw - np.int32(ub) * np.int32(v))
        stw = np.int32(stw + np.int32(a) * np.int32(b))
        high = np.int32(high + np.int32(ub) * np.int32(np.int16(b >> 7)))
        low = np.int32(low + np.int32(ub) * np.int32(np.int16(b & 127)))
    sww = 128.0 * high + low  # squares of what may be 12,240 do not fit
    count, st, stt = own
    if shared < LEAST_SHARED * count:
        return -1.0
    if shared < count:
        count, st, stt = _sums(target, seen, warped)
    vt, vw = stt - float(st) * st / count, sww - float(sw) * sw / count
    if vt <= FLAT * TARGET_STEPS**2 * count or vw <= FLAT * WARPED_STEPS**2 * count:
        return -1.0
    return (stw - float(st) * sw / count) / math.sqrt(vt * vw)


@kernel
def fill_textures(layers: Shorts, centre: Integers, radius: int, texture: Floats) -> None:
    """What the target shows around every centre (n, 2) = (row, column), at least radius + 1 inside: texture (n, 5).

    Share of the patch's pixels that are valid, variance of their greys in [0, 1], and the mean outer product (xx, yy,
    xy) of their gradients (central differences, over pixels whose four neighbours are valid) per squared pixel.
    """
    patch = 2 * radius + 1
    for n in range(centre.shape[0]):
        top, left = centre[n, 0] - radius, centre[n, 1] - radius
        count, s, ss, sloped, xx, yy, xy = 0, 0, 0, 0, 0, 0, 0
        for row in range(top, top + patch):
            for column in range(left, left + patch):
                if not layers[VALID, row, column]:
                    continue
                grey = int(layers[TARGET, row, column])
                count, s, ss = count + 1, s + grey, ss + grey * grey
                if (
                    layers[VALID, row - 1, column]
                    and layers[VALID, row + 1, column]
                    and layers[VALID, row, column - 1]
                    and layers[VALID, row, column + 1]
                ):
                    x = int(layers[TARGET, row, column + 1]) - int(layers[TARGET, row, column - 1])
                    y = int(layers[TARGET, row + 1, column]) - int(layers[TARGET, row - 1, column])
                    sloped, xx, yy, xy = sloped + 1, xx + x * x, yy + y * y, xy + x * y
        count, sloped = max(count, 1), max(sloped, 1)
        mean = s / count
        texture[n, 0] = count / (patch * patch)
        texture[n, 1] = (ss / count - mean * mean) / TARGET_STEPS**2
        texture[n, 2], texture[n, 3], texture[n, 4] = xx / sloped, yy / sloped, xy / sloped
        for k in range(2, 5):
            texture[n, k] /= (2.0 * TARGET_STEPS) ** 2


@inlined
def _fill_scores(
    layers: Shorts, row: int, column: int, direction: Floats, reach: float, across: float,
    patches: tuple[Shorts, Shorts, Shorts], scores: Floats,
) -> None:  # fmt: skip
    """Correlations of a patch with all that lie within +-reach along a direction (right, down) and +-across beside it.

    scores (side, side) by (down, right) from the middle, OUTSIDE elsewhere. `patches`: room for rows of pixels.
    """
    target, seen, warped = patches
    middle, patch = scores.shape[0] // 2, int(math.sqrt(target.shape[0]))
    wide = patch + 1
    count = patch * wide
    _copy_rows(layers[TARGET], row, column, patch, wide, target)
    _copy_rows(layers[VALID], row, column, patch, wide, seen)
    own = _sums(target, seen, seen)
    scores[:] = OUTSIDE
    furthest = min(int(math.sqrt(reach * reach + across * across)), middle - 1)
    for right in range(-furthest, furthest + 1):
        first, last = furthest + 1, -furthest - 1
        for down in range(-furthest, furthest + 1):
            beside = abs(direction[0] * down - direction[1] * right)
            if beside <= across and abs(direction[0] * right + direction[1] * down) <= reach:
                first, last = min(first, down), max(last, down)
        if first > last:
            continue
        strip = slice(0, (patch + last - first) * wide)
        _copy_rows(layers[WARPED], row + first, column + right, wide, wide, warped[strip])
        for down in range(first, last + 1):
            moved = slice((down - first) * wide, (down - first) * wide + count)
            scores[middle + down, middle + right] = _correlation(target, seen, warped[moved], own)


@kernel
def match_patches(
    layers: Shorts, centre: Integers, direction: Floats, reach: Floats, across: float, radius: int,
    shift: Floats, score: Floats, outcome: Integers,
) -> None:  # fmt: skip
    """For every centre (n, 2) = (row, column) the best shift in a window along a direction, and what it is worth.

    layers (3, H, W) int16 of `fill_comparison`; direction (n, 2) unit vectors (right, down); the window of a patch
    reaches `reach` (n,) pixels along its direction and `across` beside it; centres lie radius + LONGEST + 1 inside.
    shift (n, 2) = (right, down) in pixels, refined by the quadratic through the peak and its eight neighbours; score
    (n,) the best correlation; outcome (n,) PLACED, or BEYOND_ACROSS or BEYOND_ALONG where the peak lies on the window's
    rim, which stays whole, or UNPLACED where it is no peak or its neighbours cannot be told. Where it lies on the rim
    along the direction and something inside is nearly as good, that is taken: the place on a line does not matter.
    """
    side, patch = 2 * LONGEST + 1, 2 * radius + 1
    wide = patch + 1  # one column more, which is 0 in the target: 16 numbers fill a register
    patches = (
        np.zeros(patch * wide, np.int16),
        np.zeros(patch * wide, np.int16),
        np.empty((patch + side) * wide, np.int16),
    )
    scores = np.empty((side, side))
    for n in range(centre.shape[0]):
        _fill_scores(
            layers,
            centre[n, 0] - radius,
            centre[n, 1] - radius,
            direction[n],
            reach[n],
            across,
            patches,
            scores,
        )
        top, left = LONGEST, LONGEST
        for i in range(side):
            for j in range(side):
                if scores[i, j] > scores[top, left]:
                    top, left = i, j
        score[n] = scores[top, left]
        outcome[n] = _outcome_at(scores, top, left, direction[n], across)
        if outcome[n] == BEYOND_ALONG:  # a ridge is as good anywhere along it
            best = score[n] - RIDGE
            for i in range(1, side - 1):
                for j in range(1, side - 1):
                    if scores[i, j] >= best and _outcome_at(scores, i, j, direction[n], across) == PLACED:
                        top, left, best, outcome[n] = i, j, scores[i, j], PLACED
        shift[n, 0], shift[n, 1] = left - LONGEST, top - LONGEST
        if outcome[n] == PLACED:
            around = scores[top - 1 : top + 2, left - 1 : left + 2]
            if not _refine(around, direction[n], shift[n]):
                outcome[n] = UNPLACED


@inlined
def _outcome_at(scores: Floats, top: int, left: int, direction: Floats, across: float) -> int:
    """PLACED where a score's eight neighbours are known; else why not."""
    found = PLACED if scores[top, left] > -1.0 else UNPLACED
    if found == UNPLACED:
        return found
    for i in range(top - 1, top + 2):
        for j in range(left - 1, left + 2):
            if scores[i, j] == OUTSIDE:
                beside = abs(direction[0] * (i - LONGEST) - direction[1] * (j - LONGEST))
                is_beside = beside > across or found == BEYOND_ACROSS
                found = BEYOND_ACROSS if is_beside else BEYOND_ALONG
            elif scores[i, j] == -1.0 and found == PLACED:
                found = UNPLACED
    return found


@inlined
def _refine(around: Floats, direction: Floats, shift: Floats) -> bool:
    """Moves a shift (right, down) to the peak of the quadratic through nine scores, by a pixel at most; across the
    direction alone where it is a ridge along it. Whether it is either."""
    gx, gy = 0.5 * (around[1, 2] - around[1, 0]), 0.5 * (around[2, 1] - around[0, 1])
    xx = 2 * around[1, 1] - around[1, 2] - around[1, 0]
    yy = 2 * around[1, 1] - around[2, 1] - around[0, 1]
    xy = -0.25 * (around[2, 2] + around[0, 0] - around[0, 2] - around[2, 0])
    determinant = xx * yy - xy * xy
    if determinant <= 1e-12:
        x, y = -direction[1], direction[0]
        bend = x * x * xx + y * y * yy + 2 * x * y * xy
        if bend <= 1e-6:
            return False
        step = min(max((x * gx + y * gy) / bend, -1.0), 1.0)
        shift[0] += step * x
        shift[1] += step * y
        return True
    shift[0] += min(max((yy * gx - xy * gy) / determinant, -1.0), 1.0)
    shift[1] += min(max((xx * gy - xy * gx) / determinant, -1.0), 1.0)
    return True
