"""The compiled kernels behind `static_lighting`: its basis, and its share of what points show."""

from __future__ import annotations

import math

from numba import njit

from pipeline.host.kernel_cache import KERNELS_ARE_CACHED

COEFFICIENTS = 8


@njit(inline="always", error_model="numpy")
def fill_basis(x, y, z, basis):
    """Y (8,) of a normal of any length."""
    length = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    x, y, z = x / length, y / length, z / length
    basis[0], basis[1], basis[2] = x, y, z
    basis[3], basis[4], basis[5] = x * y, x * z, y * z
    basis[6], basis[7] = x * x - y * y, 3.0 * z * z - 1.0


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def facing_basis(normal, basis):
    """Fills Y (Q, 8) of normals (Q, 3) of any length, in the camera's axes."""
    for q in range(normal.shape[0]):
        fill_basis(normal[q, 0], normal[q, 1], normal[q, 2], basis[q])
