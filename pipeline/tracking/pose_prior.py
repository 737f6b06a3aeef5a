"""How likely a pose is: a mixture of Student distributions over the turns of 19 joints, learned from motion capture.

The file holds one half of the mixture; its mirror images are the other, so that no side is preferred. What was
learned, from whom and how: `tests/accuracy/learn_prior.py`.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.tracking.prior_kernel import add_surprise_slopes

PRIOR_FILE = Path(__file__).parents[1] / "body" / "data" / "pose_prior.npz"
PRIOR_JOINTS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
"""Toes and hands are not observed by motion capture."""
FREEDOM = 30.0
"""Degrees of freedom: poses that nobody was captured in are pulled less the stranger they are. On the two real views
57 mm (PA) are left, 61 with Gaussians."""
_ROWS = np.array(PRIOR_JOINTS) - 1
_TWINS = np.array([2, 1, 3, 5, 4, 6, 8, 7, 9, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20])
_TWIN_PLACES = np.array([PRIOR_JOINTS.index(joint) for joint in _TWINS])


class PosePrior:
    """-2 log of p(theta) = sum_k w_k t(theta; mu_k, S_k, FREEDOM) + const, theta the axis-angles of `PRIOR_JOINTS`."""

    def __init__(self, weight: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> None:
        """weight (K,), mean (K, 57), covariance (K, 57, 57), in radians."""
        factor = np.linalg.inv(np.linalg.cholesky(covariance))
        log_scale = np.log(weight) + np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1)
        self.means, self.log_scales = mean.astype(np.float32), log_scale - log_scale.max()
        self.factors = np.ascontiguousarray(np.swapaxes(factor, 1, 2), np.float32)

    @classmethod
    def with_mirror_images(cls, weight: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> PosePrior:
        """Half of these components (see above), and half of their mirror images."""
        twins = mirrored(np.swapaxes(mirrored(covariance), 1, 2))
        return cls(
            np.concatenate([weight, weight]) / 2,
            np.concatenate([mean, mirrored(mean)]),
            np.concatenate([covariance, twins]),
        )

    def add_slopes(self, values: np.ndarray, pose: int, weight: float, by_values: np.ndarray) -> float:
        """weight times the mean of -2 log p over T frames, 0 at the mode of the only component; adds its derivative.

        -2 log sum_k s_k (1 + |F_k (theta - mu_k)|^2 / f)^(-(f + 57) / 2), f = FREEDOM, S_k^-1 = F_k' F_k,
        s_k = w_k |F_k| over the largest. The axis-angles of values (T, N) begin at column `pose`; by_values (T, N).
        """
        columns = (pose + 3 * _ROWS[:, None] + np.arange(3)).ravel()
        return add_surprise_slopes(
            values, columns, self.means, self.factors, self.log_scales, FREEDOM, weight, by_values
        )


def mirrored(values: np.ndarray) -> np.ndarray:
    """Axis-angles (..., 57) of `PRIOR_JOINTS` as in a mirror: twins exchanged, turns about y and z reversed."""
    turns = values.reshape(*values.shape[:-1], len(PRIOR_JOINTS), 3)
    return np.asarray((turns[..., _TWIN_PLACES, :] * [1.0, -1.0, -1.0]).reshape(values.shape))


@lru_cache(maxsize=1)
def learned_prior() -> PosePrior:
    """The mixture that ships with the pipeline."""
    with np.load(PRIOR_FILE, allow_pickle=False) as stored:
        weight, mean, covariance = (
            stored[name].astype(np.float64) for name in ("weight", "mean", "covariance")
        )
    return PosePrior.with_mirror_images(weight, mean, covariance)
