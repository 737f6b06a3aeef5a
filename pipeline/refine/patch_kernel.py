"""The compiled kernel behind `misalignment.matched_patches`: centres, textures, directions and matches in one call.

Its readable twin is in the tests.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Flags, Floats, Indices, Integers, Shorts, Singles
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.pixels import real_of_half
from pipeline.refine.comparison_kernel import VALID
from pipeline.refine.direction_kernel import fill_depth_directions, turn_back
from pipeline.refine.matching_kernel import BEYOND_ACROSS, LONGEST, PLACED, fill_textures, match_patches

PATCH_RADIUS_PX = 7
SPACING_PX = 8
ACROSS_PX = 4.0
"""How far a patch is looked for beside the depth direction, the rim that shows a peak as one included."""
DEPTH_REACH_M = 0.12
"""Change of depth that the search along the direction covers: what an offset may be, and a fifth."""
ALONG_PX = (3.0, 8.0)
"""Least and largest reach of that search, whatever the parallax."""
MIN_VALID = 0.6
"""Share of a patch that must lie on the common surface."""
MIN_TEXTURE = 0.012
"""Fall of the target's own correlation per squared pixel across the depth direction, whatever the shift along it,
below which a patch does not fix a place."""
MIN_GRADIENT = 0.012
"""Root mean square gradient across, in white per pixel, likewise: below it noise is all the texture there is."""
MAX_SLOPE = 0.1
"""Pixels across in which a match slides for one along, where nothing fixes it along: less is no error to speak of."""
MIN_PATCHES = 8
MIN_SCORE = 0.75
"""Correlation below which a patch was not found again."""


def most_patches(height: int, width: int) -> int:
    """Centres that fit into a picture."""
    margin = PATCH_RADIUS_PX + LONGEST + 1
    down, right = (max(0, -((2 * margin - side) // SPACING_PX)) for side in (height, width))
    return down * right


@kernel
def fill_patches(
    layers: Shorts, origin: tuple[int, int], pixel: Indices, motion: NDArray[np.uint16], warp: Singles,
    depth: Floats, lenses: Floats, centre: Integers, tells: Flags, is_found: Flags, across: Floats,
    along: Floats,
) -> int:  # fmt: skip
    """Returns n, how many patches lie on the common surface, and fills the first n rows of what describes them; 0 where
    they are fewer than MIN_PATCHES.

    layers (3, h, w) of `fill_comparison`, which begin at row and column `origin`; motion (6, m) uint16 bits of float16
    and warp (m, 2) of pixels (m,) row W + column, which increase; depth (H, W); lenses (2, 4) of target and reference.
    centre (N, 2); tells (N, 2) bool, across and along the depth direction; is_found (N,) bool; across and along (N,)
    pixels: see `misalignment.Patches`.
    """
    count = _fill_centres(layers[VALID], origin, depth.shape, centre)
    if count < MIN_PATCHES:
        return 0
    texture = np.empty((count, 5))
    within = np.empty((count, 2), np.int64)
    for n in range(count):
        within[n, 0], within[n, 1] = centre[n, 0] - origin[0], centre[n, 1] - origin[1]
    fill_textures(layers, within, PATCH_RADIUS_PX, texture)
    kept = 0
    for n in range(count):
        if texture[n, 0] >= MIN_VALID:
            centre[kept], within[kept], texture[kept] = centre[n], within[n], texture[n]
            kept += 1
    if kept < MIN_PATCHES:
        return 0
    moved, direction = np.empty((kept, 2)), np.empty((kept, 2))
    _fill_directions(centre[:kept], pixel, motion, warp, depth, lenses, moved)
    looked_for, reach, count = np.empty(kept, np.int64), np.empty(kept), 0
    for n in range(kept):
        x, y = moved[n, 0], moved[n, 1]
        px_per_m = math.sqrt(x * x + y * y)
        if px_per_m < 1e-12:
            px_per_m = 1e-12
        direction[n, 0], direction[n, 1] = x / px_per_m, y / px_per_m
        tells[n, 0], tells[n, 1] = _telling(texture[n], direction[n, 0], direction[n, 1])
        tells[n, 0] &= math.isfinite(px_per_m)
        is_found[n], across[n], along[n] = False, np.nan, np.nan
        if tells[n, 0]:
            looked_for[count] = n
            reach[count] = min(max(DEPTH_REACH_M * px_per_m + 1.0, ALONG_PX[0]), ALONG_PX[1])
            count += 1
    some = looked_for[:count]
    shift, score, outcome = np.empty((count, 2)), np.empty(count), np.empty(count, np.int64)
    match_patches(
        layers, within[some], direction[some], reach, ACROSS_PX, PATCH_RADIUS_PX, shift, score, outcome
    )
    for at in range(count):
        n = some[at]
        x, y, right, down = direction[n, 0], direction[n, 1], shift[at, 0], shift[at, 1]
        is_placed, is_beyond = outcome[at] == PLACED, outcome[at] == BEYOND_ACROSS
        is_found[n] = score[at] >= MIN_SCORE and (is_placed or is_beyond)
        across[n] = ACROSS_PX if is_beyond else abs(x * down - y * right)
        if is_placed and tells[n, 1]:
            along[n] = x * right + y * down
    return kept


@kernel
def summary(tells: Flags, is_found: Flags, across: Floats, along: Floats) -> tuple[int, int, float, float]:
    """How many of n patches tell across, how many are found, and the medians of |across| and |along| of those: NaN of
    fewer than MIN_PATCHES numbers."""
    telling, found, known = 0, 0, 0
    beside, beyond = np.empty(tells.shape[0]), np.empty(tells.shape[0])
    for n in range(tells.shape[0]):
        telling += tells[n, 0]
        if is_found[n]:
            beside[found] = across[n]
            found += 1
            if not math.isnan(along[n]):
                beyond[known] = abs(along[n])
                known += 1
    return telling, found, _median(beside[:found]), _median(beyond[:known])


@inlined
def _median(values: Floats) -> float:
    count = values.shape[0]
    values.sort()
    return 0.5 * (values[(count - 1) // 2] + values[count // 2]) if count >= MIN_PATCHES else np.nan


@inlined
def _fill_centres(valid: Shorts, origin: tuple[int, int], hw: tuple[int, int], centre: Integers) -> int:
    """Rows and columns of the valid pixels of a grid, as far from the border as a search may reach; how many."""
    margin: Any = PATCH_RADIUS_PX + LONGEST + 1
    count, (top, left) = 0, origin
    for row in range(margin, hw[0] - margin, SPACING_PX):
        for column in range(margin, hw[1] - margin, SPACING_PX):
            is_within = top <= row < top + valid.shape[0] and left <= column < left + valid.shape[1]
            if is_within and valid[row - top, column - left]:
                centre[count, 0], centre[count, 1] = row, column
                count += 1
    return count


@inlined
def _fill_directions(
    centre: Integers, pixel: Indices, motion: NDArray[np.uint16], warp: Singles, depth: Floats,
    lenses: Floats, along: Floats,
) -> None:  # fmt: skip
    """(n, 2) target pixels per metre in which a match moves when the depth of centres (row, column) grows."""
    count = centre.shape[0]
    px, z, moved, straight = np.empty((count, 2)), np.empty(count), np.empty((count, 6)), np.empty((count, 2))
    for n in range(count):
        row, column = centre[n, 0], centre[n, 1]
        px[n, 0], px[n, 1], z[n] = column + 0.5, row + 0.5, depth[row, column]
        at = np.searchsorted(pixel, row * depth.shape[1] + column)
        for k in range(6):
            moved[n, k] = real_of_half(motion[k, at])
    fill_depth_directions(px, z, moved, lenses[0], lenses[1], straight)
    turn_back(centre, depth.shape[1], pixel, warp, straight, along)


@inlined
def _telling(texture: Floats, x: float, y: float) -> tuple[bool, bool]:
    """Whether a patch fixes a place across a direction (x, y), and along it, by its texture (5,)."""
    xx, yy, xy = texture[2], texture[3], texture[4]
    aa = x * xx * x + x * xy * y + y * xy * x + y * yy * y
    nn = y * xx * y - y * xy * x - x * xy * y + x * yy * x
    na = -(x * xx * y) + x * xy * x - y * xy * y + y * yy * x
    across, along = nn - na * na / max(aa, 1e-12), aa - na * na / max(nn, 1e-12)
    if abs(na) <= MAX_SLOPE * nn:
        across = nn
    least = max(MIN_TEXTURE * max(texture[1], 1e-12), MIN_GRADIENT**2)
    return across >= least, along >= least
