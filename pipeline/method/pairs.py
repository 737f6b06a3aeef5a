"""Which frames are tried as references of a target, which of them are chosen, and why the others are not."""

from __future__ import annotations

import numpy as np

from pipeline.config import PairSettings
from pipeline.geometry.motion import MotionField, PairStatistics


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


def drop_reason(statistics: PairStatistics, settings: PairSettings, *, check_validity: bool) -> str:
    """Why a pair is dropped, as a stable slug; empty when it stays (method, section 4).

    `check_validity` is False for vertex-level estimates, which know nothing of what occludes what.
    """
    if statistics.mean_baseline_m < settings.min_mean_baseline_m:
        return "below-baseline"
    if statistics.rotation_deg > settings.max_rotation_deg:
        return "turned-too-far"
    if statistics.baseline_over_depth > settings.max_baseline_over_depth:
        return "baseline-over-depth"
    if check_validity and statistics.valid_fraction < settings.min_valid_fraction:
        return "little-common-surface"
    return ""


def exceeds(misalignment_px: float | None, limit_px: float | None) -> bool:
    """Whether a pair is dropped as misaligned. One whose pictures show too little to tell, or no limit, is not."""
    return misalignment_px is not None and limit_px is not None and misalignment_px > limit_px


def viewpoint(field: MotionField) -> np.ndarray:
    """Where the reference camera stands for the median vertex, in the target's camera: median of -R^T t, (3,) m."""
    centres = -np.einsum("vij,vi->vj", field.rotation, field.translation)
    return np.asarray(np.median(centres, axis=0))


def spread_order(viewpoints: np.ndarray) -> list[int]:
    """Positions (N,) of viewpoints (N, 3), widest spread first.

    Farthest-point order that starts from the target's own camera at the origin: each next viewpoint is the one
    farthest from all those before it. Ties go to the earlier position.
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
