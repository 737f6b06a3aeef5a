"""The compiled kernel that compares projected surfaces with silhouettes, and its derivative by the surfaces.

For N frames with S surface points x_s, projected to u_s, and C points c of an outline with weights w_c, at sizes h:

    mean_s rho(d(u_s) / h; sigma_o) + sum_c w_c rho(min_s |c - u_s| / h; sigma_i) / sum_c w_c

where rho(r; sigma) = r^2 / (1 + r^2 / sigma^2) and d is the distance to the mask, bilinear between the cells of a map.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Reals, Vector
from pipeline.geometry.compiling import inlined, kernel

BANDS = 64
"""Rows that a frame's points are sorted into before the nearest is looked for: 15 times fewer distances."""
FARTHEST_PX = 1e9


@inlined
def rho(square: float, sigma: float) -> tuple[float, float]:
    """Geman-McClure of a squared residual, and its derivative by the square."""
    share = 1 / (1 + square / (sigma * sigma))
    return square * share, share * share


@inlined
def bilinear(layer: Reals, u: float, v: float) -> Vector:
    """A map (M, M) at cell coordinates whose centres lie at +0.5, and its derivatives by them.

    Beyond the outermost centres it stays as it is there, with derivative 0.
    """
    last = layer.shape[0] - 1
    x, y = min(max(u - 0.5, 0.0), last), min(max(v - 0.5, 0.0), last)
    column, row = min(int(x), last - 1), min(int(y), last - 1)
    x, y = x - column, y - row
    a, b, c, d = (
        layer[row, column],
        layer[row, column + 1],
        layer[row + 1, column],
        layer[row + 1, column + 1],
    )
    by_u = (1 - y) * (b - a) + y * (d - c) if 0 <= u - 0.5 <= last else 0.0
    by_v = (1 - x) * (c - a) + x * (d - b) if 0 <= v - 0.5 <= last else 0.0
    return (1 - y) * (a + x * (b - a)) + y * (c + x * (d - c)), by_u, by_v


@inlined
def band_of(y: float, top: float, height: float) -> int:
    """The band of an image row; rows above and below belong to the outermost ones."""
    return int(min(max((y - top) / height, 0.0), BANDS - 1.0))


@kernel
def sort_into_bands(
    image: Reals, first: NDArray[np.integer[Any]], order: NDArray[np.integer[Any]],
) -> tuple[float, float]:  # fmt: skip
    """Points (S, 2) by bands of equal height: order (S,), band b from first[b] on. Returns top and height."""
    top, bottom = np.inf, -np.inf
    for s in range(image.shape[0]):
        top, bottom = min(top, image[s, 1]), max(bottom, image[s, 1])
    height = max((bottom - top) / BANDS, 1e-3)
    first[:] = 0
    for s in range(image.shape[0]):
        first[band_of(image[s, 1], top, height) + 1] += 1
    for band in range(BANDS):
        first[band + 1] += first[band]
    place = first.copy()
    for s in range(image.shape[0]):
        band = band_of(image[s, 1], top, height)
        order[place[band]] = s
        place[band] += 1
    return top, height


@kernel
def nearest_point(
    x: float, y: float, image: Reals, first: NDArray[np.integer[Any]], order: NDArray[np.integer[Any]],
    top: float, height: float,
) -> tuple[int, float]:  # fmt: skip
    """Number of the point (S, 2) nearest to (x, y) and its squared distance, looking from band to band outwards."""
    least, at, home = np.inf, 0, band_of(y, top, height)
    for away in range(BANDS):
        reach = (away - 1) * height  # at least as far are the points that many bands away
        if away > 1 and reach * reach > least:
            break
        for side in range(2 if away else 1):
            band = home + away if side else home - away
            if band < 0 or band >= BANDS:
                continue
            for number in range(first[band], first[band + 1]):
                s = order[number]
                dx, dy = image[s, 0] - x, image[s, 1] - y
                square = dx * dx + dy * dy
                if square < least or (square == least and s < at):
                    least, at = square, s
    return at, least


@kernel
def fill_silhouette_slopes(
    points: Reals, lens: Reals, nearest_z: float, frames: NDArray[np.integer[Any]], size: Reals,
    outside: Reals, cell_from_px: Reals, contour: Reals, weight: Reals, sigmas: tuple[float, float], slope: Reals,
) -> float:  # fmt: skip
    """The value of the module's formula; slope (N, S, 3) becomes its derivative by points (N, S, 3), camera metres.

    Both are NaN where a point is not a number or without measure far away: it has no cell to look into.
    lens [f_x, f_y, c_x, c_y] projects them, those nearer than nearest_z as if they were there. frames (N,) and their
    size (N,) in pixels; of all frames: outside (T, M, M) pixels, cell_from_px (T, 2, 3), contour (T, C, 2), weight
    (T, C). sigmas: sigma_o, sigma_i.
    """
    total_weight = 0.0
    for n in range(points.shape[0]):
        for c in range(contour.shape[1]):
            total_weight += weight[frames[n], c]
    value, share, total_weight = 0.0, 1.0 / (points.shape[0] * points.shape[1]), max(total_weight, 1.0)
    first, order = np.empty(BANDS + 1, np.int64), np.empty(points.shape[1], np.int64)
    image, pull = np.empty(points.shape[1:], points.dtype), np.empty(points.shape[1:], points.dtype)
    for n in range(points.shape[0]):
        frame, shrink = frames[n], 1 / (size[n] * size[n])
        affine, layer = cell_from_px[frame], outside[frame]
        for s in range(points.shape[1]):
            z = max(points[n, s, 2], nearest_z)
            x, y = lens[0] * points[n, s, 0] / z + lens[2], lens[1] * points[n, s, 1] / z + lens[3]
            if not (abs(x) < FARTHEST_PX and abs(y) < FARTHEST_PX):
                slope[:] = np.nan
                return np.nan
            u = affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]
            v = affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]
            distance, by_u, by_v = bilinear(layer, u, v)
            found, by_square = rho(distance * distance * shrink, sigmas[0])
            value += found * share
            factor = 2 * share * by_square * distance * shrink
            pull[s, 0] = factor * (by_u * affine[0, 0] + by_v * affine[1, 0])
            pull[s, 1] = factor * (by_u * affine[0, 1] + by_v * affine[1, 1])
            image[s, 0], image[s, 1] = x, y
        top, height = sort_into_bands(image, first, order)
        for c in range(contour.shape[1]):
            if weight[frame, c] == 0:
                continue
            x, y = contour[frame, c, 0], contour[frame, c, 1]
            at, least = nearest_point(x, y, image, first, order, top, height)
            found, by_square = rho(least * shrink, sigmas[1])
            value += weight[frame, c] * found / total_weight
            factor = 2 * weight[frame, c] * by_square * shrink / total_weight
            pull[at, 0] += factor * (image[at, 0] - x)
            pull[at, 1] += factor * (image[at, 1] - y)
        for s in range(points.shape[1]):
            z = points[n, s, 2]
            across, down = pull[s, 0] * lens[0] / max(z, nearest_z), pull[s, 1] * lens[1] / max(z, nearest_z)
            slope[n, s, 0], slope[n, s, 1] = across, down
            slope[n, s, 2] = (
                -(across * points[n, s, 0] + down * points[n, s, 1]) / z if z > nearest_z else 0.0
            )
    return value
