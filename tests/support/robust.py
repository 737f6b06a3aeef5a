"""The norm of residuals as a formula: the readable twin of what the refinement's kernels do."""

from __future__ import annotations

import numpy as np

from pipeline.refine.robust import ROBUST_SIGMAS


def robust_weight(residual: np.ndarray, counted: np.ndarray, least_sigma: float) -> np.ndarray:
    """Weights of squared residuals r: counted / (s (1 + (r / 3 s)^2))^2.

    s is the standard deviation that the median size of the counted residuals tells, at least `least_sigma`. residual
    (N,) or (N, C) or any shape that begins with counted's.
    """
    seen = np.abs(residual[counted > 0])
    sigma = max(1.4826 * float(np.median(seen)) if seen.size else 0.0, least_sigma)
    bracket = 1.0 + (residual / (ROBUST_SIGMAS * sigma)) ** 2
    counted = counted.reshape(counted.shape + (1,) * (residual.ndim - counted.ndim))
    return counted / (bracket * sigma) ** 2
