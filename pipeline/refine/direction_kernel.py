"""The compiled kernels that say where a point moves when its depth changes, in the pixels of either frame."""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Floats, Indices, Integers, Singles
from pipeline.geometry.compiling import inlined, kernel


@kernel
def fill_depth_directions(
    px: Floats, depth: Floats, motion: Floats, lens: Floats, reference_lens: Floats, along: Floats,
) -> None:  # fmt: skip
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


@kernel
def turn_back(
    centre: Integers, width: int, pixel: Indices, warp: Singles, along: Floats, turned: Floats,
) -> None:  # fmt: skip
    """Directions along (n, 2) in the reference's pixels as those (n, 2) of the target's: J^-1 along.

    J is the derivative, over two pixels each way, of the warp (m, 2) of pixels (m,) row * width + column, which
    increase. Where a neighbour is off the body or has no place (NaN), or the warp folds, they are taken as they are.
    """
    quarter, around = np.float32(0.25), (2, -2, 2 * width, -2 * width)
    for n in range(centre.shape[0]):
        at = centre[n, 0] * width + centre[n, 1]
        uu, vu, uv, vv = np.nan, np.nan, np.nan, np.nan
        right, left, below, above = (
            _place(pixel, at + around[0]),
            _place(pixel, at + around[1]),
            _place(pixel, at + around[2]),
            _place(pixel, at + around[3]),
        )
        if min(right, left, below, above) >= 0:
            uu = float(quarter * (warp[right, 0] - warp[left, 0]))
            vu = float(quarter * (warp[right, 1] - warp[left, 1]))
            uv = float(quarter * (warp[below, 0] - warp[above, 0]))
            vv = float(quarter * (warp[below, 1] - warp[above, 1]))
        determinant = uu * vv - uv * vu
        x, y = along[n, 0], along[n, 1]
        if determinant > 0.1 and determinant < np.inf:  # neither holds for NaN
            x, y = (vv * x - uv * y) / determinant, (uu * y - vu * x) / determinant
        turned[n, 0], turned[n, 1] = x, y


@inlined
def _place(pixel: Indices, wanted: int) -> int | np.integer:
    """Where a pixel stands in a list of increasing ones; -1 where it does not."""
    at = np.searchsorted(pixel, wanted)
    return at if at < pixel.shape[0] and pixel[at] == wanted else -1
