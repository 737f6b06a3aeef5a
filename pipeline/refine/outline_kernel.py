"""The compiled kernel that measures how far a person's outline lies off the rim of the body."""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Bytes, Floats, Integers, Singles
from pipeline.geometry.compiling import inlined, kernel
from pipeline.refine.point_kernels import placed_point

STEP_PX = 0.5
"""Way between two looks at the segmentation, pixels of the body's picture."""
RIM_PX = 1.5
"""So far outside the rim the picture of the body is empty, and so far inside it is not; beyond it the body does not
come again before the outline."""


@inlined
def _share(person: Bytes, u: float, v: float) -> float:
    """person (P, P), 0 or 1 at the centres of its cells, between them (bilinear); u and v in cells."""
    last = person.shape[0] - 1
    x, y = min(max(u - 0.5, 0.0), float(last)), min(max(v - 0.5, 0.0), float(last))
    column, row = min(math.floor(x), last - 1), min(math.floor(y), last - 1)
    s, t = x - column, y - row
    above = (1.0 - s) * person[row, column] + s * person[row, column + 1]
    below = (1.0 - s) * person[row + 1, column] + s * person[row + 1, column + 1]
    return float((1.0 - t) * above + t * below)


@inlined
def _is_body(inverse_depth: Floats, u: float, v: float) -> bool:
    """Whether the picture of the body shows it at a pixel, which lies inside."""
    return bool(inverse_depth[math.floor(v), math.floor(u)] > 0.0)


@inlined
def _way_to_outline(
    inverse_depth: Floats, person: Bytes, u: float, v: float, du: float, dv: float, least_px: float, most_px: float,
) -> float:  # fmt: skip
    """Pixels from (u, v) along (du, dv), of length one, to where the person ends; NaN where that is not told."""
    height, width = inverse_depth.shape
    cells = person.shape[0] / width
    way, before = least_px, 0.0
    is_first = True
    while way <= most_px:
        x, y = u + way * du, v + way * dv
        if not (0.0 <= x < width and 0.0 <= y < height):
            break
        share = _share(person, cells * x, cells * y)
        if share < 0.5:
            return math.nan if is_first else way - STEP_PX * (0.5 - share) / (before - share)
        if way > RIM_PX and _is_body(inverse_depth, x, y):
            break
        before, is_first = share, False
        way += STEP_PX
    return math.nan


@kernel
def reach_outline(
    rest: Floats, normal: Floats, joint: Integers, joint_weight: Floats, rotation: Floats, offset: Floats,
    lens: Floats, inverse_depth: Floats, person: Bytes, most_cosine: float, least: float, most: float,
    way: Singles,
) -> None:  # fmt: skip
    """Metres along each point's normal to where the person's outline is met; NaN for points that cannot tell.

    Points and normals at rest (Q, 3), placed by their joints as by `place_points`. Points tell that lie on the rim of
    the body, whose picture of inverse depths (S, S) is 0 where it is not: the cosine between normal and ray is at most
    `most_cosine`, the picture of the body ends there, and the person, (P, P) of the same square, ends between `least`
    and `most` metres along the normal, before the body comes again. A surface that is moved by this way along the
    normal has its rim on the outline, as long as its neighbours move by as much.
    """
    height, width = inverse_depth.shape
    way[:] = np.nan
    if person.shape[0] < 2:
        return
    for q in range(rest.shape[0]):
        x, y, z, nx, ny, nz = placed_point(rest, normal, joint, joint_weight, rotation, offset, q)
        if not z > 0.0:
            continue
        length, size = math.sqrt(x * x + y * y + z * z), math.sqrt(nx**2 + ny**2 + nz**2)
        if abs(x * nx + y * ny + z * nz) > most_cosine * length * size:
            continue
        u, v = lens[0] * x / z + lens[2], lens[1] * y / z + lens[3]
        du, dv = lens[0] / z * (nx - x / z * nz) / size, lens[1] / z * (ny - y / z * nz) / size
        px_per_m = math.sqrt(du * du + dv * dv)
        if not px_per_m > 0.0:
            continue
        du, dv = du / px_per_m, dv / px_per_m
        margin = RIM_PX + 1.0
        if not (margin <= u < width - margin and margin <= v < height - margin):
            continue
        if _is_body(inverse_depth, u + RIM_PX * du, v + RIM_PX * dv):
            continue
        if not _is_body(inverse_depth, u - RIM_PX * du, v - RIM_PX * dv):
            continue
        found = _way_to_outline(inverse_depth, person, u, v, du, dv, least * px_per_m, most * px_per_m)
        way[q] = found / px_per_m
