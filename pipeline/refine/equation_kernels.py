"""Compiled kernels of the refinement: normal equations of a frame's corrections, by way of the twists of its joints.

A frame's corrections are the 75 numbers [24 x 3 turns in the joints' own axes, radians | 3 translation, m]. Points are
few joints' each, but every joint has up to nine above it; so the equations are summed for the twists of the joints that
points hang on, and only the sums are carried up the skeleton (composite bodies, Featherstone 2008). Before, every point
was carried up by itself, at five times the cost.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Bytes, Floats, Integers, Singles
from pipeline.geometry.compiling import inlined, kernel
from pipeline.refine.point_kernels import tone_and_slopes

TRANSLATION = 72
"""Where the translation starts among a frame's corrections."""
CORRECTIONS = 75
TWIST = 6
"""Turn and velocity of a joint's frame at the origin: a point x of it moves by turn x (x - origin) + velocity."""


@kernel
def add_twist_equations(
    rest: Floats, joint: Integers, joint_weight: Floats, rotation: Floats, offset: Floats, origin: Floats,
    picture: Bytes, tone: Singles, lens: Floats, weight: Floats, residual: Floats, hessian: Floats,
    gradient: Floats,
) -> None:  # fmt: skip
    """Adds sum w J^T J (24, 24, 6, 6) and sum w J^T r (24, 6) of a frame's values by the twists of its joints.

    Points at rest (Q, 3) with joints (Q, I) heaviest first; picture, tone, lens as for `show_points`; weight (C, Q),
    residual (C, Q); origin (3,) near the body. Of the blocks of two joints only those
    in which the first comes no later are written.
    """
    channels = weight.shape[0]
    along = np.empty((joint.shape[1], 2, TWIST))
    pull = np.empty((joint.shape[1], TWIST))
    for q in range(rest.shape[0]):
        total = 0.0
        for c in range(channels):
            total += weight[c, q]
        if total == 0.0:
            continue
        x, y, z, count = 0.0, 0.0, 0.0, 0
        for i in range(joint.shape[1]):
            w = joint_weight[q, i]
            if w == 0.0:
                break
            G, o = rotation[joint[q, i]], offset[joint[q, i]]
            px = G[0, 0] * rest[q, 0] + G[0, 1] * rest[q, 1] + G[0, 2] * rest[q, 2] + o[0]
            py = G[1, 0] * rest[q, 0] + G[1, 1] * rest[q, 1] + G[1, 2] * rest[q, 2] + o[1]
            pz = G[2, 0] * rest[q, 0] + G[2, 1] * rest[q, 1] + G[2, 2] * rest[q, 2] + o[2]
            pull[i, 0], pull[i, 1], pull[i, 2] = px - origin[0], py - origin[1], pz - origin[2]
            x, y, z, count = x + w * px, y + w * py, z + w * pz, count + 1
        u, v = lens[0] * x / z + lens[2], lens[1] * y / z + lens[3]
        column, row = math.floor(u - 0.5), math.floor(v - 0.5)
        s, t = u - 0.5 - column, v - 0.5 - row
        uu, uv, vv, ur, vr = 0.0, 0.0, 0.0, 0.0, 0.0
        for c in range(channels):
            _, by_u, by_v = tone_and_slopes(picture, tone, column, row, s, t, c)
            w = weight[c, q]
            uu, uv, vv = uu + w * by_u * by_u, uv + w * by_u * by_v, vv + w * by_v * by_v
            ur, vr = ur + w * by_u * residual[c, q], vr + w * by_v * residual[c, q]
        # All channels' slopes lie in the two directions of the picture: two rows do for them, L L^T = [[uu uv][uv vv]].
        a = math.sqrt(uu)
        b = uv / a if a > 0.0 else 0.0
        d = math.sqrt(max(vv - b * b, 0.0))
        fu, fv = lens[0] / z, lens[1] / z
        for i in range(count):
            w, mx, my, mz = joint_weight[q, i], pull[i, 0], pull[i, 1], pull[i, 2]
            _fill_row(along[i, 0], w, mx, my, mz, fu * a, fv * b, -(fu * a * x + fv * b * y) / z)
            _fill_row(along[i, 1], w, mx, my, mz, 0.0, fv * d, -(fv * d * y) / z)
            _fill_row(pull[i], w, mx, my, mz, fu * ur, fv * vr, -(fu * ur * x + fv * vr * y) / z)
        for i in range(count):
            k = joint[q, i]
            for n in range(TWIST):
                gradient[k, n] += pull[i, n]
            for j in range(count):
                if joint[q, j] >= k:
                    _add_block(hessian[k, joint[q, j]], along[i], along[j])


@inlined
def _fill_row(row: Floats, w: float, x: float, y: float, z: float, gx: float, gy: float, gz: float) -> None:
    """w [x cross g, g]: how g . (the point x) changes with the twist of a joint that has a share of w in it."""
    row[0], row[1], row[2] = w * (y * gz - z * gy), w * (z * gx - x * gz), w * (x * gy - y * gx)
    row[3], row[4], row[5] = w * gx, w * gy, w * gz


@inlined
def _add_block(block: Floats, one: Floats, other: Floats) -> None:
    for m in range(6):
        a, b = one[0, m], one[1, m]
        for n in range(6):
            block[m, n] += a * other[0, n] + b * other[1, n]


@kernel
def carry_up(
    twist_hessian: Floats, twist_gradient: Floats, parents: Integers, rotation: Floats, position: Floats,
    origin: Floats, hessian: Floats, gradient: Floats,
) -> None:  # fmt: skip
    """From equations by twists (as `add_twist_equations` leaves them) to those by the 75 corrections, overwritten.

    A turn w of joint j in its own axes G_j, about its position p_j, gives every joint at or below it the twist
    S_j w = [G_j w, (p_j - origin) x G_j w]; the translation is a velocity of all. With B_jk the sum of the blocks of
    all joints at or below j and k: H_jk = S_j^T B_jk S_k. rotation (24, 3, 3), position (24, 3).
    """
    joints = parents.shape[0]
    blocks = twist_hessian
    for j in range(joints):
        for k in range(j):
            for m in range(TWIST):
                for n in range(TWIST):
                    blocks[j, k, m, n] = blocks[k, j, n, m]
    for j in range(joints - 1, 0, -1):
        for k in range(joints):
            for m in range(TWIST):
                for n in range(TWIST):
                    blocks[parents[j], k, m, n] += blocks[j, k, m, n]
        for m in range(TWIST):
            twist_gradient[parents[j], m] += twist_gradient[j, m]
    for j in range(joints - 1, 0, -1):
        for k in range(joints):
            for m in range(TWIST):
                for n in range(TWIST):
                    blocks[k, parents[j], m, n] += blocks[k, j, m, n]
    motion = np.zeros((joints + 1, TWIST, 3))
    for j in range(joints):
        px, py, pz = position[j, 0] - origin[0], position[j, 1] - origin[1], position[j, 2] - origin[2]
        for a in range(3):
            gx, gy, gz = rotation[j, 0, a], rotation[j, 1, a], rotation[j, 2, a]
            motion[j, 0, a], motion[j, 1, a], motion[j, 2, a] = gx, gy, gz
            motion[j, 3, a] = py * gz - pz * gy
            motion[j, 4, a] = pz * gx - px * gz
            motion[j, 5, a] = px * gy - py * gx
    for a in range(3):
        motion[joints, 3 + a, a] = 1.0
    half = np.empty((TWIST, 3))
    for k in range(joints + 1):
        below_k = k if k < joints else 0  # all hang below the root
        for a in range(3):
            total = 0.0
            for m in range(TWIST):
                total += motion[k, m, a] * twist_gradient[below_k, m]
            gradient[3 * k + a] = total
        for j in range(k + 1):
            below_j = j if j < joints else 0
            for m in range(TWIST):
                for a in range(3):
                    total = 0.0
                    for n in range(TWIST):
                        total += blocks[below_j, below_k, m, n] * motion[k, n, a]
                    half[m, a] = total
            for b in range(3):
                for a in range(3):
                    total = 0.0
                    for m in range(TWIST):
                        total += motion[j, m, b] * half[m, a]
                    hessian[3 * j + b, 3 * k + a] = total
                    hessian[3 * k + a, 3 * j + b] = total
