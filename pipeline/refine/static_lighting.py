"""Static lighting: a bias of every colour's logarithm that is a function of the surface normal, one for a track.

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

import numpy as np

from pipeline.body.skinning import JointTransforms
from pipeline.geometry.array_types import Singles
from pipeline.refine.point_kernels import place_points
from pipeline.refine.static_lighting_kernels import COEFFICIENTS, add_lighting_equations, facing_basis
from pipeline.refine.surface_points import RestSurface

ROUNDS = 4
"""Of robust least squares."""
SIGMA = 0.5
"""How large coefficients may be: what is seen too little to tell stays near 0."""


def lighting_basis(surface: RestSurface, placed: JointTransforms, few: slice) -> np.ndarray:
    """(T, P, 8) float32: Y of the normals that some of the surface's points have in every frame."""
    points = surface.points
    joint, weight, rest, facing = (
        np.ascontiguousarray(each[few])
        for each in (points.joint, points.weight, surface.rest, surface.normal)
    )
    basis = np.empty((len(placed.rotation), len(rest), COEFFICIENTS), np.float32)
    point, normal = np.empty_like(rest), np.empty_like(rest)
    for rotation, offset, of_frame in zip(placed.rotation, placed.offset, basis):
        place_points(rest, facing, joint, weight, rotation, offset, point, normal)
        facing_basis(normal, of_frame)
    return basis


def fitted_lighting(
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
    same robust norm as the bodies'. `sample_weight` is what one point and channel is worth.
    """
    weight = neighbours.astype(np.float32)
    seen = seen.astype(np.float32)
    support = weight @ seen
    counted = np.where(support > min_support, seen, np.float32(0))
    telling = counted > 0
    lighting = np.zeros((COEFFICIENTS, value.shape[2]))
    if not telling.any():
        return lighting
    counted = counted[telling]
    basis_apart = _apart(basis, weight, seen, support)[telling]
    value_apart = _apart(value, weight, seen, support)[telling].T
    scratch = np.empty((2, len(counted)), np.float32)
    for channel, apart in enumerate(np.ascontiguousarray(value_apart)):
        for _ in range(ROUNDS):
            hessian, gradient = np.eye(COEFFICIENTS) / SIGMA**2, np.zeros(COEFFICIENTS)
            add_lighting_equations(
                basis_apart, apart, counted, lighting[:, channel].copy(), least_sigma, sample_weight,
                scratch[0], scratch[1], hessian, gradient,
            )  # fmt: skip
            lighting[:, channel] = np.linalg.solve(hessian, gradient)
    return lighting


def _apart(values: Singles, weight: Singles, seen: Singles, support: Singles) -> Singles:
    """(T, P, K) values less the weighted mean of the frames around that see the point."""
    total = weight @ (seen[..., None] * values).reshape(len(values), -1)
    mean = total.reshape(values.shape)
    mean /= np.maximum(support, np.float32(1e-6))[..., None]
    return np.subtract(values, mean, out=mean)
