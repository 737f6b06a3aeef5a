"""How far the dressed surface lies off the body: one slow field that all frames of a track share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.config import RefineSettings
from pipeline.geometry.array_types import Floats
from pipeline.refine.surface_points import SurfacePoints


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetPrior:
    """Where the dressed surface is expected without any picture: a normal distribution, cut off at both ends."""

    mean_m: float
    sigma_m: float
    range_m: tuple[float, float]

    @classmethod
    def of(cls, settings: RefineSettings) -> OffsetPrior:
        """As the settings have it."""
        return cls(
            mean_m=settings.offset_mean_m, sigma_m=settings.offset_sigma_m, range_m=settings.offset_range_m
        )


class OffsetSystem:
    """Normal equations of the offset, at the nodes of the coarse field."""

    def __init__(self, points: SurfacePoints) -> None:
        self.points = points
        self.square, self.product = np.zeros(len(points.face)), np.zeros(len(points.face))
        """(Q,) sums over frames and channels of w s^2 and w s r: weights, slopes by the offset, residuals."""

    def solved(self, offset_m: Floats, prior: OffsetPrior, damping: float) -> Floats:
        """The offset (K,) after one step, held near the prior's mean; `damping` is a share of the diagonal.

        Ends of the range are kept by cutting the step's result.
        """
        hessian = self._hessian()
        gradient = np.bincount(
            self.points.node.ravel(),
            (self.product[:, None] * self.points.node_weight).ravel(),
            self.points.node_count,
        )
        diagonal = np.arange(len(hessian))
        hessian[diagonal, diagonal] = (1.0 + damping) * hessian[diagonal, diagonal] + prior.sigma_m**-2.0
        step = -np.linalg.solve(hessian, gradient + (offset_m - prior.mean_m) / prior.sigma_m**2)
        least, most = prior.range_m
        return np.clip(offset_m + step, least, most)

    def uncertainty_m(self, sigma_m: float) -> Floats:
        """(K,) standard deviation of the offset at the nodes, given all else: sigma_m where no picture says anything.

        sqrt diag (H + 1 / sigma^2)^-1 with the weights that the pictures have in the alignment, so that it is a matter
        of trust, not of noise alone.
        """
        hessian = self._hessian() + np.eye(self.points.node_count) * sigma_m**-2.0
        return np.asarray(np.sqrt(np.diag(np.linalg.inv(hessian))))

    def _hessian(self) -> Floats:
        """(K, K) without the prior."""
        node, share, count = self.points.node, self.points.node_weight, self.points.node_count
        pair = (node[:, :, None] * count + node[:, None, :]).ravel()
        shares = (self.square[:, None, None] * share[:, :, None] * share[:, None, :]).ravel()
        return np.asarray(np.bincount(pair, shares, count * count), np.float64).reshape(count, count)
