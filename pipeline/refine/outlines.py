"""The dressed shape by a track's outlines beside what its pictures say.

Where the body's skin is at the rim of its picture, the person's outline shows how far the surface lies off it. Pictures
hardly know: a radius and a rate of turning explain the same motion of a picture. Bodies are aligned without outlines:
segmentations err by some millimetres, and limbs would turn to explain it.
"""

from __future__ import annotations

import numpy as np

from pipeline.geometry.array_types import Floats
from pipeline.refine.shared_offset import OffsetPrior, OffsetSystem

MOST_COSINE = 0.25
"""Between normal and ray: points this near to the rim tell where the surface ends."""
LEAST_M = -0.03
"""So far inside the skin an outline is looked for: segmentations err to both sides."""
FRAMES = 4
"""Frames that a point's outlines count as, at the most: what a segmentation errs by there, it errs by in all."""
ROBUST_M = 0.03
"""Outlines that are off by much more are another thing's, or a wrong pose's: Geman and McClure's scale."""
STEPS = 4
"""Solutions one after the other, for the robust weights: the next moves the mean offset by less than .1 mm."""


def with_outlines(
    pictures: OffsetSystem, offset_m: Floats, outline_m: np.ndarray, prior: OffsetPrior, sigma_m: float
) -> tuple[Floats, Floats]:
    """The offset (K,) at the nodes by pictures and outlines, and its standard deviation (K,).

    `pictures` are the pictures' equations about `offset_m` (K,); `outline_m` (T, Q) are ways along the points' normals
    to the outline, NaN where there is none. With o_q the offset at point q and n_q the frames that show it on the rim,
    each of them adds

        w r^2,   r = o_q - outline_tq,   w = min(1, FRAMES / n_q) / sigma^2 / (1 + r^2 / s^2)^2

    with Geman and McClure's weights of scale s from the step before.
    """
    start = _at_points(pictures, offset_m)
    found = offset_m
    for _ in range(STEPS):
        both = OffsetSystem(pictures.points)
        here = _at_points(pictures, found)
        both.square += pictures.square
        both.product += pictures.product + pictures.square * (here - start)
        add_outlines(both, here, outline_m, sigma_m)
        found = both.solved(found, prior, damping=0.0)
    return found, both.uncertainty_m(prior.sigma_m)


def add_outlines(offset: OffsetSystem, here_m: Floats, outline_m: np.ndarray, sigma_m: float) -> None:
    """Adds outlines (T, Q) to the equations about offsets (Q,) of the points, see `with_outlines`."""
    known = np.isfinite(outline_m)
    residual = np.where(known, here_m - np.where(known, outline_m, 0), 0)
    weight = np.where(known, (1 + (residual / ROBUST_M) ** 2) ** -2.0, 0)
    weight *= sigma_m**-2.0 * np.minimum(1, FRAMES / np.maximum(known.sum(axis=0), 1))
    offset.square += weight.sum(axis=0)
    offset.product += (weight * residual).sum(axis=0)


def _at_points(system: OffsetSystem, offset_m: Floats) -> Floats:
    """(Q,) of offsets at the nodes (K,)."""
    points = system.points
    return np.asarray((points.node_weight * offset_m[points.node]).sum(axis=1))
