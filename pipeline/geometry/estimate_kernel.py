"""The compiled kernels behind `estimate_statistics`: what stands behind each vertex, and what becomes of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.percentiles import fill_ranked, fill_weighted_percentiles
from pipeline.geometry.pixels import corner, first_quadrant, plane_side


@kernel
def count_shares(
    face_id: Indices, barycentric: Floats, faces: Indices, weight: Floats, shares: NDArray[np.int64],
    slot: NDArray[np.int32],
) -> int:  # fmt: skip
    """Adds every body pixel's barycentric weights to its corners' weight (V,), and counts them in shares (V,).

    Numbers the faces that are seen in slot (F,), -1 on entry, and returns how many they are.
    """
    found = 0
    for row in range(face_id.shape[0]):
        for column in range(face_id.shape[1]):
            face = face_id[row, column]
            if face < 0:
                continue
            if slot[face] < 0:
                slot[face] = found
                found += 1
            for at in range(3):
                weight[faces[face, at]] += barycentric[row, column, at]
                shares[faces[face, at]] += 1
    return found


@kernel
def fill_shares(
    face_id: Indices, barycentric: Floats, faces: Indices, slot: NDArray[np.int32],
    after: NDArray[np.int64], share: Floats, share_slot: NDArray[np.int32],
) -> None:  # fmt: skip
    """What `count_shares` added up, vertex after vertex, each vertex' own in the order of pixels.

    after (V,) is where the shares of each vertex begin, and on return where they end.
    """
    for row in range(face_id.shape[0]):
        for column in range(face_id.shape[1]):
            face = face_id[row, column]
            if face < 0:
                continue
            for at in range(3):
                place = after[faces[face, at]]
                share[place], share_slot[place] = barycentric[row, column, at], slot[face]
                after[faces[face, at]] = place + 1


@kernel
def fill_same_side(
    target: Floats, reference: Floats, corners: Indices, begin: NDArray[np.int64], share: Floats,
    share_slot: NDArray[np.int32], same_side: Floats,
) -> None:  # fmt: skip
    """same_side (n,): the sum of a vertex' shares from triangles (m, 3) that turn one side to both cameras.

    A vertex' shares lie from begin (n + 1,) on.
    """
    same = np.empty(corners.shape[0], np.bool_)
    for at in range(corners.shape[0]):
        i, j, k = corners[at, 0], corners[at, 1], corners[at, 2]
        side = plane_side(corner(target, i), corner(target, j), corner(target, k))
        turned = plane_side(corner(reference, i), corner(reference, j), corner(reference, k))
        same[at] = side * turned > 0.0
    for n in range(same_side.shape[0]):
        total = 0.0
        for place in range(begin[n], begin[n + 1]):
            if same[share_slot[place]]:
                total += share[place]
        same_side[n] = total


@kernel
def fill_viewpoint(
    rotation: Floats, translation: Floats, vertices: NDArray[np.int64], viewpoint: Floats
) -> None:
    """viewpoint (3,): medians of -R^T t of n > 0 vertices, where a camera stands that sees what is moved by R, t."""
    count = vertices.shape[0]
    rank, ranked = np.array([(count - 1) // 2, count // 2]), np.empty(2)
    centre = np.empty(count)
    for a in range(3):
        for at in range(count):
            v = vertices[at]
            x, y, z = translation[v, 0], translation[v, 1], translation[v, 2]
            centre[at] = -(rotation[v, 0, a] * x + rotation[v, 1, a] * y + rotation[v, 2, a] * z)
        fill_ranked(centre, rank, ranked)
        viewpoint[a] = 0.5 * (ranked[0] + ranked[1])


@inlined
def image_of(vertices: Floats, v: int, lenses: Floats, camera: int) -> tuple[float, float]:
    """The pixel of vertex v in camera 0 or 1; NaN behind it."""
    z = vertices[v, 2] if vertices[v, 2] > 0.0 else np.nan
    return (
        lenses[camera, 0] * vertices[v, 0] / z + lenses[camera, 2],
        lenses[camera, 1] * vertices[v, 1] / z + lenses[camera, 3],
    )


@inlined
def size_of_motion(rotation: Floats, translation: Floats, v: int) -> tuple[float, float, float]:
    """|t| metres, 2 sin a and 2 cos a of the rotation angle a, of vertex v."""
    x, y, z = translation[v, 0], translation[v, 1], translation[v, 2]
    a = rotation[v, 2, 1] - rotation[v, 1, 2]
    b = rotation[v, 0, 2] - rotation[v, 2, 0]
    c = rotation[v, 1, 0] - rotation[v, 0, 1]
    cosine = rotation[v, 0, 0] + rotation[v, 1, 1] + rotation[v, 2, 2] - 1.0
    return math.sqrt(x * x + y * y + z * z), math.sqrt(a * a + b * b + c * c), cosine


@inlined
def angle_of(sine: float, cosine: float) -> float:
    """The angle in [0, pi] of a sine that is not negative and a cosine, of any common scale."""
    acute = first_quadrant(sine, abs(cosine))
    return math.pi - acute if cosine < 0.0 else acute


@kernel
def fill_gate_numbers(
    seen: NDArray[np.int64], weight: Floats, total: float, target: Floats, rotation: Floats,
    translation: Floats, numbers: Floats,
) -> None:  # fmt: skip
    """numbers (3,) that decide whether a pair is worth rendering: `fill_estimates` of |t|, the angle and |t|/Z alone, a
    quarter of its time."""
    baseline, turn, over_depth = 0.0, 0.0, 0.0
    for n in range(seen.shape[0]):
        length, sine, cosine = size_of_motion(rotation, translation, seen[n])
        baseline += weight[n] * length
        turn += weight[n] * angle_of(sine, cosine)
        over_depth += weight[n] * (length / max(target[seen[n], 2], 1e-6))
    numbers[0], numbers[1], numbers[2] = baseline / total, math.degrees(turn / total), over_depth / total


@kernel
def fill_vertex_numbers(
    seen: NDArray[np.int64], target: Floats, reference: Floats, rotation: Floats, translation: Floats,
    lenses: Floats, reference_hw: tuple[int, int], numbers: Floats,
) -> None:  # fmt: skip
    """numbers (6, n) of the n vertices that are `seen`: |t| metres, 2 sin a and 2 cos a of the rotation angle a,
    parallax px (NaN where a point has no image), |t|/Z, and 1 where the reference image holds the point, else 0.

    lenses (2, 4): target and reference [f_x, f_y, c_x, c_y]. The twin in the tests says it with arrays.
    """
    for at in range(seen.shape[0]):
        v = seen[at]
        length, sine, cosine = size_of_motion(rotation, translation, v)
        u, w = image_of(target, v, lenses, 0)
        p, q = image_of(reference, v, lenses, 1)
        numbers[0, at], numbers[1, at], numbers[2, at] = length, sine, cosine
        numbers[3, at] = math.sqrt((p - u) * (p - u) + (q - w) * (q - w))
        numbers[4, at] = length / max(target[v, 2], 1e-6)
        inside = p >= 0.0 and q >= 0.0 and p < reference_hw[1] and q < reference_hw[0]
        numbers[5, at] = 1.0 if inside else 0.0


@kernel
def fill_estimates(
    seen: NDArray[np.int64], weight: Floats, total: float, target: Floats, reference: Floats, rotation: Floats,
    translation: Floats, lenses: Floats, reference_hw: tuple[int, int], corners: Indices,
    begin: NDArray[np.int64], share: Floats, share_slot: NDArray[np.int32], least_baseline: float,
    shares: Floats, estimates: Floats,
) -> None:  # fmt: skip
    """estimates (9,) of a pair by its n > 0 vertices that are seen, in the order of `PairStatistics`.

    weight (n,) of each, `total` their sum; shares (3,): .1, .5 and .9; the rest as for the kernels above.
    """
    count = seen.shape[0]
    numbers, same_side, angle = np.empty((6, count)), np.empty(count), np.empty(count)
    fill_vertex_numbers(
        seen, target, reference, rotation, translation, lenses, reference_hw, numbers
    )  # fmt: skip
    fill_same_side(target, reference, corners, begin, share, share_slot, same_side)
    for n in range(count):
        angle[n] = angle_of(numbers[1, n], numbers[2, n])
    baseline, turn, moved, moving, over_depth, visible, valid = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for n in range(count):
        baseline += weight[n] * numbers[0, n]
        turn += weight[n] * angle[n]
        over_depth += weight[n] * numbers[4, n]
        if not math.isnan(numbers[3, n]):
            moved += weight[n] * numbers[3, n]
            moving += weight[n]
        inside = same_side[n] * numbers[5, n]
        visible += inside
        if numbers[0, n] > least_baseline:
            valid += inside
    below = np.empty(3)
    fill_weighted_percentiles(numbers[0], weight, shares, below)
    estimates[1], estimates[2], estimates[3] = below[1], below[0], below[2]
    estimates[0], estimates[4] = baseline / total, math.degrees(turn / total)
    estimates[5] = moved / moving if moving > 0.0 else 0.0
    estimates[6], estimates[7], estimates[8] = over_depth / total, visible / total, valid / total
