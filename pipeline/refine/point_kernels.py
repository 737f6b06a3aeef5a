"""Compiled kernels of the refinement: points through the skeleton, pictures at points, normal equations.

A frame's corrections are the 75 numbers [24 x 3 turns in camera axes about each joint, radians | 3 translation, m].
All sums run in a fixed order on one thread: the same input gives the same bits.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pipeline.host.kernel_cache import KERNELS_ARE_CACHED

TRANSLATION = 72
"""Where the translation starts among a frame's corrections."""
CORRECTIONS = 75


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def place_points(rest, normal, joint, weight, rotation, offset, point, posed_normal):
    """x = sum_k W_k (G_k v + o_k) and n = sum_k W_k G_k m for points v (Q, 3) and normals m (Q, 3) at rest."""
    for q in range(rest.shape[0]):
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
        point[q, 0], point[q, 1], point[q, 2] = x, y, z
        posed_normal[q, 0], posed_normal[q, 1], posed_normal[q, 2] = nx, ny, nz


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def see_points(point, normal, lens, depth, person, tolerance, margin, least_cosine, seen):
    """How well a camera sees points (Q, 3): 0 hidden, else up to 1 for a surface that faces it.

    The weight rises linearly with the cosine between normal and ray, from `least_cosine` to a third more. A point is
    hidden where the depth picture (0 = nothing there) is nearer by more than `tolerance` metres at its pixel or
    `margin` pixels up, down, left or right of it, where it falls outside, and where person (P, P), of the same square,
    is 0: what the picture shows there is something else.
    """
    height, width = depth.shape
    for q in range(point.shape[0]):
        seen[q] = 0.0
        x, y, z = point[q, 0], point[q, 1], point[q, 2]
        if not z > 0.0:
            continue
        length = math.sqrt(x * x + y * y + z * z)
        size = math.sqrt(normal[q, 0] ** 2 + normal[q, 1] ** 2 + normal[q, 2] ** 2)
        cosine = -(x * normal[q, 0] + y * normal[q, 1] + z * normal[q, 2]) / max(length * size, 1e-12)
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
            front = depth[row + dr, column + dc]
            if front > 0.0 and front < z - tolerance:
                hidden = True
        if not hidden:
            seen[q] = min(3.0 * (cosine - least_cosine), 1.0)


@njit(inline="always", error_model="numpy")
def _bilinear(picture, tone, u, v, channel):
    """tone[picture] (H, W, C) at (u, v), centres at +0.5; (u, v) lies at least one pixel inside."""
    x, y = u - 0.5, v - 0.5
    column, row = math.floor(x), math.floor(y)
    s, t = x - column, y - row
    upper = (1.0 - s) * tone[picture[row, column, channel]] + s * tone[picture[row, column + 1, channel]]
    row += 1
    lower = (1.0 - s) * tone[picture[row, column, channel]] + s * tone[picture[row, column + 1, channel]]
    return (1.0 - t) * upper + t * lower


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def sample_picture(picture, tone, point, normal, seen, lens, value, slope, normal_slope):
    """Values (Q, C) of tone[picture] at points, and slopes (Q, C, 3): their derivatives by the point's x, y, z, per m.

    picture (H, W, C) uint8, tone (256,). Slopes are central differences over one pixel each way; normal_slope (Q, C)
    is slope . normal. Points that leave the picture lose their weight `seen`; those without one are not touched.
    """
    height, width, channels = picture.shape
    for q in range(point.shape[0]):
        if seen[q] == 0.0:
            continue
        x, y, z = point[q, 0], point[q, 1], point[q, 2]
        u, v = lens[0] * x / z + lens[2], lens[1] * y / z + lens[3]
        if not (z > 0.0 and u >= 2.0 and v >= 2.0 and u < width - 2.0 and v < height - 2.0):
            seen[q] = 0.0
            continue
        for c in range(channels):
            value[q, c] = _bilinear(picture, tone, u, v, c)
            du = 0.5 * (_bilinear(picture, tone, u + 1.0, v, c) - _bilinear(picture, tone, u - 1.0, v, c))
            dv = 0.5 * (_bilinear(picture, tone, u, v + 1.0, c) - _bilinear(picture, tone, u, v - 1.0, c))
            du, dv = du * lens[0] / z, dv * lens[1] / z
            dz = -(du * x + dv * y) / z
            slope[q, c, 0], slope[q, c, 1], slope[q, c, 2] = du, dv, dz
            normal_slope[q, c] = du * normal[q, 0] + dv * normal[q, 1] + dz * normal[q, 2]


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def subtract_field(node, node_weight, field, value):
    """Takes a field given at nodes (K, C) from values at points (Q, C)."""
    for q in range(value.shape[0]):
        for c in range(value.shape[1]):
            total = 0.0
            for n in range(node.shape[1]):
                total += node_weight[q, n] * field[node[q, n], c]
            value[q, c] -= total


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def blend_appearance(
    value, depth_slope, seen, t, neighbour, neighbour_weight, scale, appearance, appearance_slope, support
):
    """What the neighbours of frame t show at each point it sees: the weighted mean of values (T, Q, C).

        A = sum_s w_s V_s / sum_s w_s,  w_s = neighbour_weight_s seen_s [1 + |V_t - V_s|^2 / (C scale^2)]^-2

    The bracket counts where scale > 0: frames that differ much, pair by pair, are left out of the mean (the iterated
    weights of a sum over pairs under Geman and McClure's norm). `appearance_slope` blends `depth_slope` (T, Q, C) the
    same way; `support` (Q,) is the sum of weights.
    """
    points, channels = value.shape[1], value.shape[2]
    for q in range(points):
        support[q] = 0.0
        for c in range(channels):
            appearance[q, c], appearance_slope[q, c] = 0.0, 0.0
        if seen[t, q] == 0.0:
            continue
        for i in range(neighbour.shape[0]):
            s = neighbour[i]
            w = neighbour_weight[i] * seen[s, q]
            if w == 0.0:
                continue
            if scale > 0.0:
                square = 0.0
                for c in range(channels):
                    square += (value[t, q, c] - value[s, q, c]) ** 2
                bracket = 1.0 + square / (channels * scale * scale)
                w /= bracket * bracket
            support[q] += w
            for c in range(channels):
                appearance[q, c] += w * value[s, q, c]
                appearance_slope[q, c] += w * depth_slope[s, q, c]
        if support[q] > 0.0:
            for c in range(channels):
                appearance[q, c] /= support[q]
                appearance_slope[q, c] /= support[q]


@njit(inline="always", error_model="numpy")
def _arms(rest, joint, weight, parents, rotation, offset, position, q, arm, touched):
    """Per joint j that moves point q: arm_j = sum over k at or below j of W_k (x_k - p_j), x_k = G_k v + o_k.

    A small turn w of everything below j about p_j moves the point by w x arm_j. Returns how many joints there are;
    `touched` lists them and `arm` (24, 3) is filled for them. `arm` must come in as zeros.
    """
    count = 0
    for i in range(joint.shape[1]):
        w = weight[q, i]
        if w == 0.0:
            break
        k = joint[q, i]
        G = rotation[k]
        x = G[0, 0] * rest[q, 0] + G[0, 1] * rest[q, 1] + G[0, 2] * rest[q, 2] + offset[k, 0]
        y = G[1, 0] * rest[q, 0] + G[1, 1] * rest[q, 1] + G[1, 2] * rest[q, 2] + offset[k, 1]
        z = G[2, 0] * rest[q, 0] + G[2, 1] * rest[q, 1] + G[2, 2] * rest[q, 2] + offset[k, 2]
        j = k
        while j >= 0:
            known = False
            for n in range(count):
                known = known or touched[n] == j
            if not known:
                touched[count] = j
                count += 1
            arm[j, 0] += w * (x - position[j, 0])
            arm[j, 1] += w * (y - position[j, 1])
            arm[j, 2] += w * (z - position[j, 2])
            j = parents[j]
    return count


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def point_jacobian(rest, joint, weight, parents, rotation, offset, position, jacobian):
    """(Q, 3, 75) derivatives of points by a frame's corrections; dense, for tests and small jobs."""
    arm, touched = np.zeros((24, 3)), np.zeros(24, np.int64)
    jacobian[:] = 0.0
    for q in range(rest.shape[0]):
        count = _arms(rest, joint, weight, parents, rotation, offset, position, q, arm, touched)
        for n in range(count):
            j = touched[n]
            ax, ay, az = arm[j, 0], arm[j, 1], arm[j, 2]
            jacobian[q, 1, 3 * j], jacobian[q, 2, 3 * j] = -az, ay
            jacobian[q, 0, 3 * j + 1], jacobian[q, 2, 3 * j + 1] = az, -ax
            jacobian[q, 0, 3 * j + 2], jacobian[q, 1, 3 * j + 2] = -ay, ax
            arm[j, 0], arm[j, 1], arm[j, 2] = 0.0, 0.0, 0.0
        for axis in range(3):
            jacobian[q, axis, TRANSLATION + axis] = 1.0


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def add_normal_equations(
    rest,
    joint,
    weight,
    parents,
    rotation,
    offset,
    position,
    sample_weight,
    residual,
    slope,
    hessian,
    gradient,
):
    """Adds sum w J^T J (75, 75) and sum w J^T r (75,) of a frame: r (Q, C) residuals, slope (Q, C, 3) = dr/dx.

    sample_weight (Q, C). Only the upper triangle of rows and columns that points touch is written, then mirrored.
    """
    arm, touched = np.zeros((24, 3)), np.zeros(24, np.int64)
    column, row = np.zeros(CORRECTIONS, np.int64), np.zeros(CORRECTIONS)
    channels = residual.shape[1]
    for q in range(rest.shape[0]):
        total = 0.0
        for c in range(channels):
            total += sample_weight[q, c]
        if total == 0.0:
            continue
        count = _arms(rest, joint, weight, parents, rotation, offset, position, q, arm, touched)
        for n in range(1, count):  # ascending joints, so that only the upper triangle is written
            value, place = touched[n], n
            while place > 0 and touched[place - 1] > value:
                touched[place] = touched[place - 1]
                place -= 1
            touched[place] = value
        for n in range(count):
            for axis in range(3):
                column[3 * n + axis] = 3 * touched[n] + axis
        size = 3 * count + 3
        for axis in range(3):
            column[3 * count + axis] = TRANSLATION + axis
        for c in range(channels):
            w = sample_weight[q, c]
            if w == 0.0:
                continue
            gx, gy, gz = slope[q, c, 0], slope[q, c, 1], slope[q, c, 2]
            for n in range(count):
                j = touched[n]
                ax, ay, az = arm[j, 0], arm[j, 1], arm[j, 2]
                row[3 * n] = ay * gz - az * gy
                row[3 * n + 1] = az * gx - ax * gz
                row[3 * n + 2] = ax * gy - ay * gx
            row[3 * count], row[3 * count + 1], row[3 * count + 2] = gx, gy, gz
            wr = w * residual[q, c]
            for a in range(size):
                wa, i = w * row[a], column[a]
                gradient[i] += wr * row[a]
                for b in range(a, size):
                    hessian[i, column[b]] += wa * row[b]
        for n in range(count):
            j = touched[n]
            arm[j, 0], arm[j, 1], arm[j, 2] = 0.0, 0.0, 0.0
    for i in range(CORRECTIONS):
        for k in range(i):
            hessian[i, k] = hessian[k, i]
