"""Which frames are tried as references of a target, and in which order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.estimate_kernel import fill_viewpoint
from pipeline.geometry.motion import MotionField


def candidate_references(
    pts_s: np.ndarray, kept: np.ndarray, target: int, gaps_s: tuple[float, ...]
) -> list[int]:
    """Positions in the track tried as references of `target`, in order of time.

    For every gap g and sign, the kept frame nearest to t + g counts if it lies within half a frame of it (the
    frame period is the track's median), so that 24, 30 and 60 fps try the same turns of the body.
    """
    usable = np.flatnonzero(kept)
    usable = usable[usable != target]
    if usable.size == 0:
        return []
    period_s = float(np.median(np.diff(pts_s))) if len(pts_s) > 1 else 0.0
    wanted_s = pts_s[target] + np.array([sign * gap for gap in gaps_s for sign in (-1.0, 1.0)])
    distance = np.abs(pts_s[usable][None, :] - wanted_s[:, None])
    nearest = distance.argmin(axis=1)
    near_enough = distance[np.arange(len(wanted_s)), nearest] <= period_s / 2 + 1e-9
    return sorted({int(usable[at]) for at in nearest[near_enough]})


def viewpoint(field: MotionField, vertices: NDArray[np.int64]) -> np.ndarray:
    """Centre of the reference camera for the median of some vertices, in the target's camera: -R^T t, (3,) metres.

    The vertices are those that the target shows. Head and hands hold half of all. Without any it is the origin.
    """
    centre = np.zeros(3)
    if len(vertices):
        fill_viewpoint(field.rotation, field.translation, vertices, centre)
    return centre


def spread_order(viewpoints: np.ndarray) -> list[int]:
    """Positions (N,) of viewpoints (N, 3) metres in the order of farthest-point sampling.

    Starts from the target's own camera at the origin: each next viewpoint is the one farthest from all those before
    it. Ties go to the earlier position.
    """
    distance = np.linalg.norm(viewpoints, axis=1)
    order: list[int] = []
    for _ in range(len(viewpoints)):
        remaining = distance.copy()
        remaining[order] = -1.0
        chosen = int(remaining.argmax())
        order.append(chosen)
        distance = np.minimum(distance, np.linalg.norm(viewpoints - viewpoints[chosen], axis=1))
    return order
