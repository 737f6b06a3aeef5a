"""Light that stands still while a body turns: a bias of every colour's logarithm by where the surface faces.

Under distant lamps what a surface point shows is its own colour times a light that depends on its normal alone, so the
logarithms of frames t and s differ at point q by L(n_t(q)) - L(n_s(q)). Lambert's reflection lies within the spherical
harmonics up to the second order (Ramamoorthi and Hanrahan 2001, 98 % of its energy under any light); its logarithm is
taken to do so too, with one set of coefficients for a track:

    L(n) = sum_k c_k Y_k(n),   Y = x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1

The constant would be an exposure, which is a bias of the frame. Without this, shading that travels around a limb as it
turns is taken for the limb's texture and drags the body along. Shadows and folds are left to the slow bias of each
frame. Source: our decision; what it is worth: docs/experiments.md, "Refinement".
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from pipeline.refine.robust import robust_weight

COEFFICIENTS = 8
ROUNDS = 4
"""Of robust least squares."""
SIGMA = 0.5
"""How large coefficients may be: what is seen too little to tell stays near 0."""


@njit(inline="always", error_model="numpy")
def _fill_basis(x, y, z, basis):
    length = max(math.sqrt(x * x + y * y + z * z), 1e-12)
    x, y, z = x / length, y / length, z / length
    basis[0], basis[1], basis[2] = x, y, z
    basis[3], basis[4], basis[5] = x * y, x * z, y * z
    basis[6], basis[7] = x * x - y * y, 3.0 * z * z - 1.0


@njit(cache=True, error_model="numpy", nogil=True)
def facing_basis(normal, basis):
    """Fills Y (Q, 8) of normals (Q, 3) of any length, in the camera's axes."""
    for q in range(normal.shape[0]):
        _fill_basis(normal[q, 0], normal[q, 1], normal[q, 2], basis[q])


@njit(cache=True, error_model="numpy", nogil=True)
def subtract_light(normal, seen, light, value):
    """Takes L (Q, C) of light (8, C) at normals (Q, 3) from values (Q, C), where seen (Q,) is above 0."""
    basis = np.empty(COEFFICIENTS)
    for q in range(normal.shape[0]):
        if seen[q] == 0.0:
            continue
        _fill_basis(normal[q, 0], normal[q, 1], normal[q, 2], basis)
        for c in range(value.shape[1]):
            total = 0.0
            for k in range(COEFFICIENTS):
                total += basis[k] * light[k, c]
            value[q, c] -= total


def fitted_light(
    basis: np.ndarray,
    value: np.ndarray,
    seen: np.ndarray,
    neighbours: np.ndarray,
    *,
    min_support: float,
    least_sigma: float,
    sample_weight: float,
) -> np.ndarray:
    """(8, C) the coefficients that explain how values differ from what the frames around show of the same points.

    basis (T, P, 8), value (T, P, C), seen (T, P), neighbours (T, T) weights of frames s in the mean that frame t is
    compared with: least squares of (V_t - mean_s V_s) - (Y_t - mean_s Y_s) c over all frames and points, under the
    same robust norm as the bodies' (`robust_weight`). `sample_weight` is what one point and channel is worth.
    """
    weight = neighbours.astype(np.float32)
    seen = seen.astype(np.float32)
    support = weight @ seen
    counted = np.where(support > min_support, seen, np.float32(0))
    basis_apart = _apart(basis, weight, seen, support)
    value_apart = _apart(value, weight, seen, support)
    light = np.zeros((COEFFICIENTS, value.shape[2]))
    if not counted.any():
        return light
    prior = np.eye(COEFFICIENTS) / SIGMA**2
    for channel in range(value.shape[2]):
        for _ in range(ROUNDS):
            unexplained = value_apart[..., channel] - basis_apart @ light[:, channel].astype(np.float32)
            each = sample_weight * robust_weight(unexplained, counted, least_sigma)
            weighted = (each[..., None] * basis_apart).reshape(-1, COEFFICIENTS)
            flat = basis_apart.reshape(-1, COEFFICIENTS)
            hessian = (weighted.T @ flat).astype(np.float64) + prior
            gradient = (weighted.T @ value_apart[..., channel].reshape(-1)).astype(np.float64)
            light[:, channel] = np.linalg.solve(hessian, gradient)
    return light


def _apart(values: np.ndarray, weight: np.ndarray, seen: np.ndarray, support: np.ndarray) -> np.ndarray:
    """(T, P, K) values less the weighted mean of the frames around that see the point."""
    total = weight @ (seen[..., None] * values).reshape(len(values), -1)
    return values - total.reshape(values.shape) / np.maximum(support, np.float32(1e-6))[..., None]
