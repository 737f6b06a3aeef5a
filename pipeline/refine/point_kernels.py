"""Compiled kernels of the refinement: points through the skeleton, which of them are seen, and what they show.

All sums run in a fixed order on one thread: the same input gives the same bits.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Bytes, Floats, Integers, Singles
from pipeline.geometry.compiling import inlined, kernel
from pipeline.refine.static_lighting_kernels import COEFFICIENTS, fill_basis


@inlined
def placed_point(
    rest: Floats, normal: Floats, joint: Integers, weight: Floats, rotation: Floats, offset: Floats, q: int,
) -> tuple[float, float, float, float, float, float]:  # fmt: skip
    """Point q with its normal: x = sum_k W_k (G_k v + o_k) and n = sum_k W_k G_k m."""
    x, y, z, nx, ny, nz = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(joint.shape[1]):
        w = weight[q, i]
        if w == 0.0:
            break
        k = joint[q, i]
        G = rotation[k]
        a, b, c = rest[q, 0], rest[q, 1], rest[q, 2]
        x += w * (G[0, 0] * a + G[0, 1] * b + G[0, 2] * c + offset[k, 0])
        y += w * (G[1, 0] * a + G[1, 1] * b + G[1, 2] * c + offset[k, 1])
        z += w * (G[2, 0] * a + G[2, 1] * b + G[2, 2] * c + offset[k, 2])
        a, b, c = normal[q, 0], normal[q, 1], normal[q, 2]
        nx += w * (G[0, 0] * a + G[0, 1] * b + G[0, 2] * c)
        ny += w * (G[1, 0] * a + G[1, 1] * b + G[1, 2] * c)
        nz += w * (G[2, 0] * a + G[2, 1] * b + G[2, 2] * c)
    return x, y, z, nx, ny, nz


@kernel
def place_points(
    rest: Floats, normal: Floats, joint: Integers, weight: Floats, rotation: Floats, offset: Floats,
    point: Floats, posed_normal: Floats,
) -> None:  # fmt: skip
    """x = sum_k W_k (G_k v + o_k) and n = sum_k W_k G_k m for points v (Q, 3) and normals m (Q, 3) at rest."""
    for q in range(rest.shape[0]):
        x, y, z, nx, ny, nz = placed_point(rest, normal, joint, weight, rotation, offset, q)
        point[q, 0], point[q, 1], point[q, 2] = x, y, z
        posed_normal[q, 0], posed_normal[q, 1], posed_normal[q, 2] = nx, ny, nz


@kernel
def place_vertices(
    rest: Floats, joint: Integers, weight: Floats, rotation: Floats, offset: Floats, placed: Floats,
) -> None:  # fmt: skip
    """x = sum_k W_k (G_k v + o_k) for vertices v (V, 3) at rest, whose joints (V, I) come heaviest first."""
    for q in range(rest.shape[0]):
        a, b, c = rest[q, 0], rest[q, 1], rest[q, 2]
        x, y, z = 0.0, 0.0, 0.0
        for i in range(joint.shape[1]):
            w = weight[q, i]
            if w == 0.0:
                break
            k = joint[q, i]
            x += w * (rotation[k, 0, 0] * a + rotation[k, 0, 1] * b + rotation[k, 0, 2] * c + offset[k, 0])
            y += w * (rotation[k, 1, 0] * a + rotation[k, 1, 1] * b + rotation[k, 1, 2] * c + offset[k, 1])
            z += w * (rotation[k, 2, 0] * a + rotation[k, 2, 1] * b + rotation[k, 2, 2] * c + offset[k, 2])
        placed[q, 0], placed[q, 1], placed[q, 2] = x, y, z


@kernel
def see_points(
    rest: Floats, normal: Floats, joint: Integers, joint_weight: Floats, rotation: Floats, offset: Floats,
    lens: Floats, inverse_depth: Floats, person: Bytes, tolerance: float, margin: int, least_cosine: float,
    seen: Singles,
) -> None:  # fmt: skip
    """How well a camera sees points: 0 hidden, else up to 1 for a surface that faces it.

    Points and normals at rest (Q, 3), placed by their joints as by `place_points`. The weight rises linearly with the
    cosine between normal and ray, from `least_cosine` to a third more. A point is hidden where the picture of inverse
    depths (0 = nothing there) is nearer by more than `tolerance` metres at its pixel or `margin` pixels up, down, left
    or right of it, where it falls outside, and where person (P, P), of the same square, is 0: what the picture shows
    there is something else.
    """
    height, width = inverse_depth.shape
    for q in range(rest.shape[0]):
        seen[q] = 0.0
        x, y, z, nx, ny, nz = placed_point(rest, normal, joint, joint_weight, rotation, offset, q)
        if not z > 0.0:
            continue
        length = math.sqrt(x * x + y * y + z * z)
        size = math.sqrt(nx**2 + ny**2 + nz**2)
        cosine = -(x * nx + y * ny + z * nz) / max(length * size, 1e-12)
        if not cosine > least_cosine:
            continue
        column = math.floor(lens[0] * x / z + lens[2])
        row = math.floor(lens[1] * y / z + lens[3])
        if (
            row < margin + 1
            or column < margin + 1
            or row >= height - margin - 1
            or column >= width - margin - 1
        ):
            continue
        hidden = person[row * person.shape[0] // height, column * person.shape[1] // width] == 0
        for dr, dc in ((0, 0), (margin, 0), (-margin, 0), (0, margin), (0, -margin)):
            front = inverse_depth[row + dr, column + dc]
            if front > 0.0 and 1.0 / front < z - tolerance:
                hidden = True
        if not hidden:
            seen[q] = min(3.0 * (cosine - least_cosine), 1.0)


@inlined
def tone_and_slopes(
    picture: Bytes, tone: Singles, column: int, row: int, s: float, t: float, channel: int,
) -> tuple[float, float, float]:  # fmt: skip
    """tone[picture] (H, W, C) between the pixels (row, column) and (row + 1, column + 1), and its slopes per pixel.

    s and t are the shares of the right and the lower one; slopes are central differences over one pixel each way. The
    twelve pixels around are read once.
    """
    up, at = picture[row - 1], picture[row]
    below, down = picture[row + 1], picture[row + 2]
    left = (1.0 - s) * tone[at[column - 1, channel]] + s * tone[at[column, channel]]
    here = (1.0 - s) * tone[at[column, channel]] + s * tone[at[column + 1, channel]]
    right = (1.0 - s) * tone[at[column + 1, channel]] + s * tone[at[column + 2, channel]]
    left_below = (1.0 - s) * tone[below[column - 1, channel]] + s * tone[below[column, channel]]
    here_below = (1.0 - s) * tone[below[column, channel]] + s * tone[below[column + 1, channel]]
    right_below = (1.0 - s) * tone[below[column + 1, channel]] + s * tone[below[column + 2, channel]]
    above = (1.0 - s) * tone[up[column, channel]] + s * tone[up[column + 1, channel]]
    lowest = (1.0 - s) * tone[down[column, channel]] + s * tone[down[column + 1, channel]]
    value = (1.0 - t) * here + t * here_below
    by_u = 0.5 * ((1.0 - t) * (right - left) + t * (right_below - left_below))
    by_v = 0.5 * ((1.0 - t) * (here_below - above) + t * (lowest - here))
    return value, by_u, by_v


@kernel
def show_points(
    rest: Floats, normal: Floats, joint: Integers, joint_weight: Floats, rotation: Floats, offset: Floats,
    picture: Bytes, tone: Singles, lens: Floats, node: Integers, node_weight: Floats, bias: Singles,
    lighting: Floats, weight: Singles, value: Singles, normal_slope: Singles,
) -> None:  # fmt: skip
    """What a frame's points show: values (C, Q) of tone[picture] less bias and lighting, and their slopes (C, Q).

    Points and normals at rest (Q, 3), placed by their joints as by `place_points`; picture (H, W, C) uint8, tone
    (256,); bias (K, C) at the nodes; lighting (8, C). normal_slope is the derivative of a value by the point's way
    along its normal, per metre. Points that leave the picture lose their weight (Q,); those without one stay as they
    are.
    """
    height, width, channels = picture.shape
    basis = np.empty(COEFFICIENTS)
    for q in range(rest.shape[0]):
        if weight[q] == 0.0:
            continue
        x, y, z, nx, ny, nz = placed_point(rest, normal, joint, joint_weight, rotation, offset, q)
        u, v = lens[0] * x / z + lens[2], lens[1] * y / z + lens[3]
        if not (z > 0.0 and u >= 2.0 and v >= 2.0 and u < width - 2.0 and v < height - 2.0):
            weight[q] = 0.0
            continue
        column, row = math.floor(u - 0.5), math.floor(v - 0.5)
        s, t = u - 0.5 - column, v - 0.5 - row
        u_by_normal = lens[0] / z * (nx - x / z * nz)
        v_by_normal = lens[1] / z * (ny - y / z * nz)
        fill_basis(nx, ny, nz, basis)
        for c in range(channels):
            shown, by_u, by_v = tone_and_slopes(picture, tone, column, row, s, t, c)
            for n in range(node.shape[1]):
                shown -= node_weight[q, n] * bias[node[q, n], c]
            for k in range(COEFFICIENTS):
                shown -= basis[k] * lighting[k, c]
            value[c, q] = shown
            normal_slope[c, q] = by_u * u_by_normal + by_v * v_by_normal
