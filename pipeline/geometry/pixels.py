"""Compiled per-pixel arithmetic shared by the raster, the maps and the visibility test.

Cameras come as four numbers [f_x, f_y, c_x, c_y]; the ray of a pixel at (u, v) is
r = ((u - c_x)/f_x, (v - c_y)/f_y, 1), so that a point on it at depth z is z r.
No fast-math: the same input gives the same bits everywhere.
"""

from __future__ import annotations

import math

import numpy as np

from pipeline.geometry.array_types import Floats, Indices, Vector
from pipeline.geometry.compiling import inlined, kernel

_THIRD = 1.0 / 3.0
_EIGHTH_TURN, _QUARTER_TURN = math.pi / 4, math.pi / 2
_SLOPE = math.tan(math.pi / 8)
_ARCTANGENT = (
    1.0, -0.3333333333333332, 0.19999999999995735, -0.14285714285192314, 0.11111111077738887, -0.09090907811871617,
    0.07692275990886885, -0.06666135732772913, 0.058762027312910206, -0.05213525490777216, 0.04485085346508409,
    -0.03307239810703104, 0.014811582408740717,
)  # fmt: skip
"""Of atan(x) / x in powers of x^2, by Chebyshev's points of [0, tan(pi / 8)]: off by 1.7e-16 of it at most."""


@inlined
def corner(vertices: Floats, i: int) -> Vector:
    """Vertex i as a tuple; a row taken as an array costs more than all that is computed with it (`fill_raster`: 5x)."""
    return vertices[i, 0], vertices[i, 1], vertices[i, 2]


@inlined
def edge_product(rx: float, ry: float, b: Vector, c: Vector) -> float:
    """r . (b x c): positive on one side of the plane through the camera's centre and the edge b-c.

    Swapping b and c negates it exactly, so two triangles that share an edge never leave a gap between them.
    """
    return rx * (b[1] * c[2] - b[2] * c[1]) + ry * (b[2] * c[0] - b[0] * c[2]) + (b[0] * c[1] - b[1] * c[0])


@inlined
def nearest_on_edge(rx: float, ry: float, a: Vector, b: Vector) -> Vector:
    """Squared image distance from the ray r to the edge a-b, and the weights of the edge's nearest point.

    The image point at share s of the way from a to b shows the edge at weights (1 - s)/z_a : s/z_b.
    """
    ax, ay, bx, by = a[0] / a[2], a[1] / a[2], b[0] / b[2], b[1] / b[2]
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    share = ((rx - ax) * dx + (ry - ay) * dy) / square if square > 0.0 else 0.0
    share = min(max(share, 0.0), 1.0)
    mx, my = ax + share * dx - rx, ay + share * dy - ry
    wa, wb = (1.0 - share) * b[2], share * a[2]
    return mx * mx + my * my, wa / (wa + wb), wb / (wa + wb)


@kernel
def barycentric_of_miss(rx: float, ry: float, a: Vector, b: Vector, c: Vector) -> Vector:
    """Weights of the point of a triangle whose image is nearest to a ray r that misses it.

    Setting negative weights to zero instead would slide the point along the edge by the miss over the triangle's
    width: half a millimetre on long thin faces for a miss of 1/256 pixel. Corners at z <= 0 have no image; there the
    negative weights are set to zero.
    """
    if not (a[2] > 0.0 and b[2] > 0.0 and c[2] > 0.0):
        ea, eb, ec = edge_product(rx, ry, b, c), edge_product(rx, ry, c, a), edge_product(rx, ry, a, b)
        if ea + eb + ec < 0.0:
            ea, eb, ec = -ea, -eb, -ec
        ea, eb, ec = max(ea, 0.0), max(eb, 0.0), max(ec, 0.0)
        total = ea + eb + ec
        if not total > 0.0:
            return _THIRD, _THIRD, _THIRD
        return ea / total, eb / total, ec / total
    nearest, p, q = nearest_on_edge(rx, ry, a, b)
    wa, wb, wc = p, q, 0.0
    square, p, q = nearest_on_edge(rx, ry, b, c)
    if square < nearest:
        nearest, wa, wb, wc = square, 0.0, p, q
    square, p, q = nearest_on_edge(rx, ry, c, a)
    if square < nearest:
        wa, wb, wc = q, 0.0, p
    return wa, wb, wc


@inlined
def barycentric_on_ray(rx: float, ry: float, a: Vector, b: Vector, c: Vector) -> Vector:
    """Weights of the point where the ray r meets a triangle.

    w_i = e_i / sum(e) with e_a = r . (b x c) and so on: the weights of the point itself, not of its image. A backend
    may name a triangle whose edge misses the pixel's centre by a fraction of a pixel; the plane of a grazing triangle
    would then be met metres away, so a ray that misses gets the triangle's point nearest in the image.
    """
    ea, eb, ec = edge_product(rx, ry, b, c), edge_product(rx, ry, c, a), edge_product(rx, ry, a, b)
    total = ea + eb + ec
    if total != 0.0 and ea * total >= 0.0 and eb * total >= 0.0 and ec * total >= 0.0:
        return ea / total, eb / total, ec / total
    return barycentric_of_miss(rx, ry, a, b, c)


@kernel
def fill_raster(
    face_id: Indices, vertices: Floats, faces: Indices, lens: Floats, barycentric: Floats, depth: Floats,
) -> int:  # fmt: skip
    """Barycentric weights and depth of every body pixel; returns the first id that names no face, or -1."""
    for row in range(face_id.shape[0]):
        ry = (row + 0.5 - lens[3]) / lens[1]
        for column in range(face_id.shape[1]):
            face = face_id[row, column]
            if face < 0:
                continue
            if face >= faces.shape[0]:
                return int(face)
            a, b = corner(vertices, faces[face, 0]), corner(vertices, faces[face, 1])
            c = corner(vertices, faces[face, 2])
            wa, wb, wc = barycentric_on_ray((column + 0.5 - lens[2]) / lens[0], ry, a, b, c)
            barycentric[row, column, 0] = wa
            barycentric[row, column, 1] = wb
            barycentric[row, column, 2] = wc
            depth[row, column] = wa * a[2] + wb * b[2] + wc * c[2]
    return -1


@kernel
def fill_depth(face_id: Indices, vertices: Floats, faces: Indices, lens: Floats, depth: Floats) -> None:
    """The depth of `fill_raster` alone, a third of its bytes. Every id names a face."""
    for row in range(face_id.shape[0]):
        ry = (row + 0.5 - lens[3]) / lens[1]
        for column in range(face_id.shape[1]):
            face = face_id[row, column]
            if face < 0:
                continue
            a, b = corner(vertices, faces[face, 0]), corner(vertices, faces[face, 1])
            c = corner(vertices, faces[face, 2])
            wa, wb, wc = barycentric_on_ray((column + 0.5 - lens[2]) / lens[0], ry, a, b, c)
            depth[row, column] = wa * a[2] + wb * b[2] + wc * c[2]


@inlined
def plane_side(a: Vector, b: Vector, c: Vector) -> float:
    """a . ((b - a) x (c - a)): its sign says which side of the triangle the camera sees."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    return a[0] * (uy * vz - uz * vy) + a[1] * (uz * vx - ux * vz) + a[2] * (ux * vy - uy * vx)


@inlined
def plane_depth(rx: float, ry: float, a: Vector, b: Vector, c: Vector) -> float:
    """Depth where the ray r meets a triangle's plane, kept within the depths of its corners."""
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    along = rx * nx + ry * ny + nz
    near, far = min(a[2], b[2], c[2]), max(a[2], b[2], c[2])
    if along == 0.0:
        return near
    return min(max((a[0] * nx + a[1] * ny + a[2] * nz) / along, near), far)


@inlined
def quaternion_of(rotation: Floats, v: int) -> tuple[float, float, float, float]:
    """Unit quaternion of matrix v of (V, 3, 3) rotations; of the four formulas the one with the largest divisor."""
    xx, yy, zz = rotation[v, 0, 0], rotation[v, 1, 1], rotation[v, 2, 2]
    a, b, c = (
        rotation[v, 2, 1] - rotation[v, 1, 2],
        rotation[v, 0, 2] - rotation[v, 2, 0],
        rotation[v, 1, 0] - rotation[v, 0, 1],
    )
    w, x, y, z = 1.0 + xx + yy + zz, a, b, c
    if w < 1.0:  # the angle is above 90 degrees: some other component is at least as large
        d, e, f = (
            rotation[v, 0, 1] + rotation[v, 1, 0],
            rotation[v, 0, 2] + rotation[v, 2, 0],
            rotation[v, 1, 2] + rotation[v, 2, 1],
        )
        if xx >= yy and xx >= zz:
            w, x, y, z = a, 1.0 + xx - yy - zz, d, e
        elif yy >= zz:
            w, x, y, z = b, d, 1.0 - xx + yy - zz, f
        else:
            w, x, y, z = c, e, f, 1.0 - xx - yy + zz
    scale = 1.0 / math.sqrt(w * w + x * x + y * y + z * z)
    return w * scale, x * scale, y * scale, z * scale


@kernel
def fill_quaternions(rotation: Floats, quaternion: Floats) -> None:
    """Unit quaternions (V, 4) of rotation matrices (V, 3, 3)."""
    for v in range(rotation.shape[0]):
        w, x, y, z = quaternion_of(rotation, v)
        quaternion[v, 0], quaternion[v, 1], quaternion[v, 2], quaternion[v, 3] = w, x, y, z


@inlined
def first_quadrant(sine: float, cosine: float) -> float:
    """atan2(sine, cosine) of two numbers that are not negative, without a branch: the compiler does many at a time.

    One division brings the angle within pi/8 of 0, pi/4 or pi/2. Off by 3e-16 at most.
    """
    is_low, is_high = sine <= _SLOPE * cosine, cosine < _SLOPE * sine
    above = sine if is_low else (-cosine if is_high else sine - cosine)
    below = cosine if is_low else (sine if is_high else sine + cosine)
    start = 0.0 if is_low else (_QUARTER_TURN if is_high else _EIGHTH_TURN)
    x = above / below
    z = x * x
    series = _ARCTANGENT[12]
    for k in range(11, -1, -1):
        series = series * z + _ARCTANGENT[k]
    return start + x * series


@inlined
def half_bits(value: float) -> np.uint16:
    """The bits of a number as IEEE float16, rounded to nearest even (by way of float32)."""
    bits = np.int64(np.float32(value).view(np.uint32))
    sign = (bits >> 16) & 0x8000
    bits &= 0x7FFFFFFF
    if bits >= 0x47800000:
        half = np.int64(0x7C00)
    elif bits < 0x38800000:
        shifted = np.float32(abs(np.float32(value)) + np.float32(0.5))
        half = np.int64(shifted.view(np.uint32)) - 0x3F000000
    else:
        half = (bits - 0x38000000 + 0xFFF + ((bits >> 13) & 1)) >> 13
    return np.uint16(sign | half)


@inlined
def real_of_half(bits: np.uint16) -> float:
    """The number that the bits of an IEEE float16 stand for: the inverse of `half_bits`."""
    word = int(bits)
    exponent, fraction = (word >> 10) & 31, word & 1023
    if exponent == 31:
        value = np.inf if fraction == 0 else np.nan
    elif exponent:
        value = math.ldexp(1024.0 + fraction, exponent - 25)
    else:
        value = math.ldexp(float(fraction), -24)
    return -value if word & 0x8000 else value
