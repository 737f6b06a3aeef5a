"""What is learnt from many T-posed bodies: directions of shape, and joints from vertices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.body.smpl_layout import JOINT_NAMES, mirrored_names
from pipeline.geometry.array_types import Floats


@dataclass(frozen=True, slots=True, eq=False)
class ShapeSpace:
    """v(beta) = mean + directions beta, with beta of unit variance over the samples."""

    mean: np.ndarray
    """(V, 3) metres."""
    directions: np.ndarray
    """(V, 3, C) metres per standard deviation."""
    explained: float
    """Share of the samples' variance that the C directions hold."""


def principal_shapes(samples: np.ndarray, component_count: int) -> ShapeSpace:
    """Principal components of bodies (N, V, 3): columns scaled by sqrt(eigenvalue), signed so that + is taller."""
    mean = samples.mean(axis=0)
    centred = (samples - mean).reshape(len(samples), -1)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    variance = singular**2 / (len(samples) - 1)
    directions = rows[:component_count].T * np.sqrt(variance[:component_count])
    directions = directions.reshape(*mean.shape, component_count)
    taller = np.einsum("vc,v->c", directions[:, 1], np.sign(mean[:, 1]))
    directions *= np.where(taller < 0, -1.0, 1.0)
    return ShapeSpace(mean, directions, float(variance[:component_count].sum() / variance.sum()))


def fit_joint_regressor(
    samples: np.ndarray, joints: np.ndarray, mirror: np.ndarray, ridge: float, candidates: int
) -> np.ndarray:
    """(24, V) signed weights, rows that sum to one, with joints = regressor @ vertices, exactly mirror-symmetric.

    Per joint, over the `candidates` vertices nearest to it: min |X w - j|^2 + ridge |w - 1/n|^2 with sum w = 1, X
    the coordinates of all samples in metres. Non-negative weights would be biased by up to 14 mm where a joint lies
    outside the reach of the skin's convex combinations over adults (knee, upper spine).

    samples (N, V, 3) and joints (N, 24, 3) mirror-symmetric, mirror (V,) each vertex's mirror image.
    """
    mean, mean_joints = samples.mean(axis=0), joints.mean(axis=0)
    tree = cKDTree(mean)
    images = mirrored_names(JOINT_NAMES)
    regressor = np.zeros((len(JOINT_NAMES), len(mean)))
    for joint, image in enumerate(images):
        if image < joint:
            regressor[joint] = regressor[image][mirror]
            continue
        near = tree.query(mean_joints[joint], k=candidates)[1]
        if image == joint:
            near = np.union1d(near, mirror[near])
        weights = _ridge_to_one(samples[:, near], joints[:, joint], ridge)
        regressor[joint, near] = weights
        if image == joint:
            regressor[joint] = (regressor[joint] + regressor[joint][mirror]) / 2
    return regressor


def _ridge_to_one(points: Floats, targets: Floats, ridge: float) -> Floats:
    """(n,) argmin |X w - t|^2 + ridge |w - 1/n|^2, sum w = 1; points (N, n, 3), targets (N, 3)."""
    count = points.shape[1]
    even = points.mean(axis=1)
    # with w = 1/n + d and sum d = 0, columns relative to their mean lose nothing and the constraint is met by ridge
    design = (points - even[:, None]).transpose(0, 2, 1).reshape(-1, count)
    change = np.linalg.solve(
        design.T @ design + ridge * np.eye(count), design.T @ (targets - even).reshape(-1)
    )
    return np.asarray(1 / count + change - change.mean())
