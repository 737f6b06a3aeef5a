"""The compiled kernels behind `static_lighting`: its basis, and its share of what points show."""

from __future__ import annotations

import math

from pipeline.geometry.array_types import Floats, Reals, Singles
from pipeline.geometry.compiling import inlined, kernel
from pipeline.refine.appearance_kernels import median
from pipeline.refine.robust import ROBUST_SIGMAS

COEFFICIENTS = 8


@inlined
def fill_basis(x: float, y: float, z: float, basis: Reals) -> None:
    """Y (8,) of a normal of any length."""
    length = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    x, y, z = x / length, y / length, z / length
    basis[0], basis[1], basis[2] = x, y, z
    basis[3], basis[4], basis[5] = x * y, x * z, y * z
    basis[6], basis[7] = x * x - y * y, 3.0 * z * z - 1.0


@kernel
def facing_basis(normal: Floats, basis: Singles) -> None:
    """Fills Y (Q, 8) of normals (Q, 3) of any length, in the camera's axes."""
    for q in range(normal.shape[0]):
        fill_basis(normal[q, 0], normal[q, 1], normal[q, 2], basis[q])


@kernel
def add_lighting_equations(
    basis: Reals, apart: Reals, counted: Reals, lighting: Reals, least_sigma: float, sample_weight: float,
    sizes: Reals, residual: Reals, hessian: Reals, gradient: Reals,
) -> None:  # fmt: skip
    """Adds sum w Y Y^T (8, 8) and sum w Y v (8,) of samples Y = basis (N, 8), v = apart (N,).

    w = sample_weight counted / (s (1 + (r / 3 s)^2))^2 with r = v - Y lighting (8,) and s the standard deviation that
    the median size of r tells, at least least_sigma (Geman and McClure). sizes and residual (N,) are used up.
    """
    for n in range(basis.shape[0]):
        explained = 0.0
        for k in range(COEFFICIENTS):
            explained += basis[n, k] * lighting[k]
        residual[n] = apart[n] - explained
        sizes[n] = abs(residual[n])
    sigma = max(1.4826 * median(sizes), least_sigma)
    for n in range(basis.shape[0]):
        bracket = 1.0 + (residual[n] / (ROBUST_SIGMAS * sigma)) ** 2
        weight = sample_weight * counted[n] / (bracket * sigma) ** 2
        for k in range(COEFFICIENTS):
            share = weight * basis[n, k]
            gradient[k] += share * apart[n]
            for m in range(k + 1):
                hessian[k, m] += share * basis[n, m]
    for k in range(COEFFICIENTS):
        for m in range(k):
            hessian[m, k] = hessian[k, m]
