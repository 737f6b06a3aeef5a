"""The compiled kernel behind `motion_field`: one rotation per neighbourhood.

For a neighbourhood with offsets b_i = v_t^i - v_t^c and a_i = v_r^i - v_r^c the rotation R that minimises
sum |R b_i - a_i|^2 belongs to the unit quaternion that is the eigenvector, for the largest eigenvalue, of a symmetric
4x4 matrix N made of S = sum b_i a_i^T (Horn 1987). A quaternion is never a reflection, so R is in SO(3) whatever the
data. The largest eigenvalue is the largest root of det(N - l I), found by Newton's method from an upper bound
(Theobald 2005), and the eigenvector is a column of the adjugate of N - l I. All of that is straight-line arithmetic,
done for 64 vertices at a time so that the compiler can use vector instructions.

Where eigenvalues (nearly) coincide - flat and mirrored, collinear, coincident, empty neighbourhoods - the adjugate
loses digits; those vertices are recomputed with Jacobi rotations, which are exact there too. Where the minimiser is
not unique the smallest rotation among the minimisers is returned.

No fast-math anywhere: the same input gives the same bits on every x86-64 machine.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats, Indices
from pipeline.geometry.compiling import inlined, kernel

_BLOCK = 64
_LARGEST_ROOT = math.sqrt(3.0)
_NEWTON_STEPS = 18
_CONVERGED = 1e-13
"""Last Newton step, of a root between 0 and sqrt(3), above which a vertex is recomputed exactly."""
_ADJUGATE_MIN = 1e-5
"""Squared length of the adjugate's column below which a vertex is recomputed: the error of the direction grows with
the inverse square of the gap to the next eigenvalue, and this keeps it below 1e-7 degrees."""
_SAME_EIGENVALUE = 1e-12
"""Relative difference below which eigenvalues count as equal."""
_COINCIDENT = 1e-150
"""|S|_F in square metres below which a neighbourhood says nothing about rotation."""


@inlined
def _quartic(
    xx: float, xy: float, xz: float, yx: float, yy: float, yz: float, zx: float, zy: float, zz: float,
) -> tuple[float, ...]:  # fmt: skip
    """N (upper triangle) of S and the coefficients of det(N - l I) = l^4 + c2 l^2 + c1 l + c0."""
    n00, n01, n02, n03 = xx + yy + zz, yz - zy, zx - xz, xy - yx
    n11, n12, n13 = xx - yy - zz, xy + yx, zx + xz
    n22, n23, n33 = yy - xx - zz, yz + zy, zz - xx - yy
    c2 = -2.0 * (xx * xx + xy * xy + xz * xz + yx * yx + yy * yy + yz * yz + zx * zx + zy * zy + zz * zz)
    c1 = -8.0 * (xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx))
    c0 = (
        (n00 * n11 - n01 * n01) * (n22 * n33 - n23 * n23)
        - (n00 * n12 - n02 * n01) * (n12 * n33 - n23 * n13)
        + (n00 * n13 - n03 * n01) * (n12 * n23 - n22 * n13)
        + (n01 * n12 - n02 * n11) * (n02 * n33 - n23 * n03)
        - (n01 * n13 - n03 * n11) * (n02 * n23 - n22 * n03)
        + (n02 * n13 - n03 * n12) * (n02 * n13 - n12 * n03)
    )
    return n00, n01, n02, n03, n11, n12, n13, n22, n23, n33, c2, c1, c0


@inlined
def _adjugate_column(
    m00: float, m01: float, m02: float, m03: float, m11: float, m12: float, m13: float, m22: float,
    m23: float, m33: float,
) -> tuple[float, float, float, float]:  # fmt: skip
    """The column of the adjugate of a symmetric 4x4 matrix with the largest diagonal entry."""
    p, q, r = m22 * m33 - m23 * m23, m12 * m33 - m23 * m13, m12 * m23 - m22 * m13
    u, v, w = m02 * m33 - m23 * m03, m02 * m23 - m22 * m03, m02 * m13 - m12 * m03
    e, f, g = m00 * m11 - m01 * m01, m00 * m13 - m03 * m01, m01 * m13 - m03 * m11
    h, k = m00 * m12 - m02 * m01, m01 * m12 - m02 * m11
    a00, a01 = m11 * p - m12 * q + m13 * r, m12 * u - m01 * p - m13 * v
    a02, a03 = m01 * q - m11 * u + m13 * w, m11 * v - m01 * r - m12 * w
    a11, a12, a13 = m00 * p - m02 * u + m03 * v, m01 * u - m00 * q - m03 * w, m00 * r - m01 * v + m02 * w
    a22, a23, a33 = m33 * e - m13 * f + m03 * g, m13 * h - m23 * e - m03 * k, m22 * e - m12 * h + m02 * k
    largest, q0, q1, q2, q3 = abs(a00), a00, a01, a02, a03
    if abs(a11) > largest:
        largest, q0, q1, q2, q3 = abs(a11), a01, a11, a12, a13
    if abs(a22) > largest:
        largest, q0, q1, q2, q3 = abs(a22), a02, a12, a22, a23
    if abs(a33) > largest:
        q0, q1, q2, q3 = a03, a13, a23, a33
    return q0, q1, q2, q3


@kernel
def _gather(
    target: Floats, reference: Floats, indptr: Indices, indices: Indices, vertices: NDArray[np.int64],
    first: int, count: int, work: Floats,
) -> None:  # fmt: skip
    """Rows 0-8 of the work block: S, row by row, of the vertices at places first ... first + count - 1."""
    for j in range(count):
        c = vertices[first + j]
        tx, ty, tz = target[c, 0], target[c, 1], target[c, 2]
        rx, ry, rz = reference[c, 0], reference[c, 1], reference[c, 2]
        xx = xy = xz = yx = yy = yz = zx = zy = zz = 0.0
        for k in range(indptr[c], indptr[c + 1]):
            i = indices[k]
            bx, by, bz = target[i, 0] - tx, target[i, 1] - ty, target[i, 2] - tz
            ax, ay, az = reference[i, 0] - rx, reference[i, 1] - ry, reference[i, 2] - rz
            xx += bx * ax
            xy += bx * ay
            xz += bx * az
            yx += by * ax
            yy += by * ay
            yz += by * az
            zx += bz * ax
            zy += bz * ay
            zz += bz * az
        work[j], work[_BLOCK + j], work[2 * _BLOCK + j] = xx, xy, xz
        work[3 * _BLOCK + j], work[4 * _BLOCK + j], work[5 * _BLOCK + j] = yx, yy, yz
        work[6 * _BLOCK + j], work[7 * _BLOCK + j], work[8 * _BLOCK + j] = zx, zy, zz


@kernel
def _solve(work: Floats) -> None:
    """Turns a block of S (rows 0-8) into rotations (rows 0-8) and the trust in them (row 9: negative = recompute).

    S is scaled to |S|_F = 1, so that sqrt(3) bounds its nuclear norm and with it the largest eigenvalue of N. Always
    runs over a full block: the trip count is a constant and every row starts at a constant, which lets the compiler
    vectorise all three loops (7x on AVX-512). A root that stands still stays, whatever its neighbours in the block do:
    9 of the 18 steps are taken on average.
    """
    for j in range(_BLOCK):
        xx, xy, xz = work[j], work[_BLOCK + j], work[2 * _BLOCK + j]
        yx, yy, yz = work[3 * _BLOCK + j], work[4 * _BLOCK + j], work[5 * _BLOCK + j]
        zx, zy, zz = work[6 * _BLOCK + j], work[7 * _BLOCK + j], work[8 * _BLOCK + j]
        square = xx * xx + xy * xy + xz * xz + yx * yx + yy * yy + yz * yz + zx * zx + zy * zy + zz * zz
        s = 1.0 / math.sqrt(square)
        n00, n01, n02, n03, n11, n12, n13, n22, n23, n33, c2, c1, c0 = _quartic(
            xx * s, xy * s, xz * s, yx * s, yy * s, yz * s, zx * s, zy * s, zz * s
        )
        work[j], work[_BLOCK + j], work[2 * _BLOCK + j], work[3 * _BLOCK + j] = n00, n01, n02, n03
        work[4 * _BLOCK + j], work[5 * _BLOCK + j], work[6 * _BLOCK + j] = n11, n12, n13
        work[7 * _BLOCK + j], work[8 * _BLOCK + j], work[9 * _BLOCK + j] = n22, n23, n33
        work[10 * _BLOCK + j], work[11 * _BLOCK + j], work[12 * _BLOCK + j] = c2, c1, c0
        work[13 * _BLOCK + j], work[14 * _BLOCK + j] = _LARGEST_ROOT, 1.0
    for _ in range(_NEWTON_STEPS):
        for j in range(_BLOCK):
            root = work[13 * _BLOCK + j]
            square = root * root
            cubic = (square + work[10 * _BLOCK + j]) * root
            linear = cubic + work[11 * _BLOCK + j]
            step = (linear * root + work[12 * _BLOCK + j]) / (2.0 * square * root + cubic + linear)
            last = work[14 * _BLOCK + j]
            moves = abs(last) >= _CONVERGED
            work[13 * _BLOCK + j] = root - step if moves else root
            work[14 * _BLOCK + j] = step if moves else last
        largest = 0.0
        for j in range(_BLOCK):
            largest = max(largest, abs(work[14 * _BLOCK + j]))
        if largest < _CONVERGED:
            break
    for j in range(_BLOCK):
        root = work[13 * _BLOCK + j]
        q0, q1, q2, q3 = _adjugate_column(
            work[j] - root,
            work[_BLOCK + j],
            work[2 * _BLOCK + j],
            work[3 * _BLOCK + j],
            work[4 * _BLOCK + j] - root,
            work[5 * _BLOCK + j],
            work[6 * _BLOCK + j],
            work[7 * _BLOCK + j] - root,
            work[8 * _BLOCK + j],
            work[9 * _BLOCK + j] - root,
        )
        length = q0 * q0 + q1 * q1 + q2 * q2 + q3 * q3
        s = 2.0 / length
        work[j] = 1.0 - s * (q2 * q2 + q3 * q3)
        work[_BLOCK + j] = s * (q1 * q2 - q0 * q3)
        work[2 * _BLOCK + j] = s * (q1 * q3 + q0 * q2)
        work[3 * _BLOCK + j] = s * (q1 * q2 + q0 * q3)
        work[4 * _BLOCK + j] = 1.0 - s * (q1 * q1 + q3 * q3)
        work[5 * _BLOCK + j] = s * (q2 * q3 - q0 * q1)
        work[6 * _BLOCK + j] = s * (q1 * q3 - q0 * q2)
        work[7 * _BLOCK + j] = s * (q2 * q3 + q0 * q1)
        work[8 * _BLOCK + j] = 1.0 - s * (q1 * q1 + q2 * q2)
        trusted = (length > _ADJUGATE_MIN) & (abs(work[14 * _BLOCK + j]) < _CONVERGED)
        work[9 * _BLOCK + j] = 1.0 if trusted else -1.0


@kernel
def _jacobi(N: Floats, V: Floats) -> None:
    """Diagonalises a symmetric 4x4 matrix in place; the columns of V become its eigenvectors."""
    V[:] = np.eye(4)
    for _ in range(30):
        off = 0.0
        for p in range(3):
            for q in range(p + 1, 4):
                off += N[p, q] * N[p, q]
        if off < 1e-40:
            return
        for p in range(3):
            for q in range(p + 1, 4):
                if N[p, q] == 0.0:
                    continue
                theta = (N[q, q] - N[p, p]) / (2.0 * N[p, q])
                t = 1.0 / (abs(theta) + math.sqrt(theta * theta + 1.0))
                if theta < 0.0:
                    t = -t
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for k in range(4):
                    x, y = N[k, p], N[k, q]
                    N[k, p], N[k, q] = c * x - s * y, s * x + c * y
                for k in range(4):
                    x, y = N[p, k], N[q, k]
                    N[p, k], N[q, k] = c * x - s * y, s * x + c * y
                for k in range(4):
                    x, y = V[k, p], V[k, q]
                    V[k, p], V[k, q] = c * x - s * y, s * x + c * y


@kernel
def _solve_exactly(S: Floats, rotation: Floats) -> None:
    """Rotation (3, 3) of S (3, 3) by Jacobi; of several minimisers the smallest rotation."""
    size = np.sqrt((S * S).sum())
    q = np.array([1.0, 0.0, 0.0, 0.0])
    if size > _COINCIDENT:
        S = S / size
        n00, n01, n02, n03, n11, n12, n13, n22, n23, n33, _, _, _ = _quartic(
            S[0, 0], S[0, 1], S[0, 2], S[1, 0], S[1, 1], S[1, 2], S[2, 0], S[2, 1], S[2, 2]
        )
        N = np.array([[n00, n01, n02, n03], [n01, n11, n12, n13], [n02, n12, n22, n23], [n03, n13, n23, n33]])
        V = np.empty((4, 4))
        _jacobi(N, V)
        roots = np.diag(N)
        top = roots.max()
        q[:] = 0.0
        for k in range(4):  # project the identity onto the eigenspace of the largest eigenvalue
            if roots[k] >= top - _SAME_EIGENVALUE:
                q += V[0, k] * V[:, k]
        if (q * q).sum() < 1e-16:
            q[:] = V[:, roots.argmax()]
        q /= np.sqrt((q * q).sum())
    q0, q1, q2, q3 = q
    rotation[0, 0], rotation[0, 1], rotation[0, 2] = (
        1.0 - 2.0 * (q2 * q2 + q3 * q3), 2.0 * (q1 * q2 - q0 * q3), 2.0 * (q1 * q3 + q0 * q2),
    )  # fmt: skip
    rotation[1, 0], rotation[1, 1], rotation[1, 2] = (
        2.0 * (q1 * q2 + q0 * q3), 1.0 - 2.0 * (q1 * q1 + q3 * q3), 2.0 * (q2 * q3 - q0 * q1),
    )  # fmt: skip
    rotation[2, 0], rotation[2, 1], rotation[2, 2] = (
        2.0 * (q1 * q3 - q0 * q2), 2.0 * (q2 * q3 + q0 * q1), 1.0 - 2.0 * (q1 * q1 + q2 * q2),
    )  # fmt: skip


@kernel
def _solve_vertex(
    target: Floats, reference: Floats, indptr: Indices, indices: Indices, c: int, rotation: Floats,
) -> None:  # fmt: skip
    """The exact path for one vertex: S as written in the definition, then Jacobi."""
    S = np.zeros((3, 3))
    for k in range(indptr[c], indptr[c + 1]):
        i = indices[k]
        for row in range(3):
            for column in range(3):
                S[row, column] += (target[i, row] - target[c, row]) * (
                    reference[i, column] - reference[c, column]
                )
    _solve_exactly(S, rotation)


@kernel
def fit_motions(
    target: Floats, reference: Floats, indptr: Indices, indices: Indices, vertices: NDArray[np.int64],
    rotation: Floats, translation: Floats,
) -> int:  # fmt: skip
    """Fills rotation (V, 3, 3) and translation (V, 3) of some vertices (n,); t = v_r^c - R v_t^c.

    target, reference (V, 3) float64 metres, indptr (V + 1,) and indices (E,) int32; all contiguous and finite.
    Returns how many vertices took the exact path.
    """
    work = np.zeros(15 * _BLOCK)
    exact = 0
    for first in range(0, vertices.shape[0], _BLOCK):
        count = min(_BLOCK, vertices.shape[0] - first)
        _gather(target, reference, indptr, indices, vertices, first, count, work)
        _solve(work)
        for j in range(count):
            c = vertices[first + j]
            if work[9 * _BLOCK + j] > 0.0:
                for i in range(3):
                    for k in range(3):
                        rotation[c, i, k] = work[(3 * i + k) * _BLOCK + j]
            else:
                _solve_vertex(target, reference, indptr, indices, c, rotation[c])
                exact += 1
            x, y, z = target[c, 0], target[c, 1], target[c, 2]
            for i in range(3):
                translation[c, i] = reference[c, i] - (
                    rotation[c, i, 0] * x + rotation[c, i, 1] * y + rotation[c, i, 2] * z
                )
    return exact
