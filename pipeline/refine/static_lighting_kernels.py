"""The compiled kernels behind `static_lighting`: its basis, and its share of what points show."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pipeline.host.kernel_cache import KERNELS_ARE_CACHED

COEFFICIENTS = 8


@njit(inline="always", error_model="numpy")
def _fill_basis(x, y, z, basis):
    length = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    x, y, z = x / length, y / length, z / length
    basis[0], basis[1], basis[2] = x, y, z
    basis[3], basis[4], basis[5] = x * y, x * z, y * z
    basis[6], basis[7] = x * x - y * y, 3.0 * z * z - 1.0


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def facing_basis(normal, basis):
    """Fills Y (Q, 8) of normals (Q, 3) of any length, in the camera's axes."""
    for q in range(normal.shape[0]):
        _fill_basis(normal[q, 0], normal[q, 1], normal[q, 2], basis[q])


@njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)
def subtract_lighting(normal, seen, lighting, value):
    """Takes L (Q, C) of lighting (8, C) at normals (Q, 3) from values (Q, C), where seen (Q,) is above 0."""
    basis = np.empty(COEFFICIENTS)
    for q in range(normal.shape[0]):
        if seen[q] == 0.0:
            continue
        _fill_basis(normal[q, 0], normal[q, 1], normal[q, 2], basis)
        for c in range(value.shape[1]):
            total = 0.0
            for k in range(COEFFICIENTS):
                total += basis[k] * lighting[k, c]
            value[q, c] -= total
