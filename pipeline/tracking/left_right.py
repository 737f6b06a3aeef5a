"""Repairs frames in which the landmark network took left for right (backlit or turning people)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.geometry.array_types import Floats
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.people import Observations

BODY_LANDMARKS = (11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Shoulders, elbows, wrists, hips, knees, ankles."""

WORLD_WEIGHT = 0.5
"""Cost of a metre in the world landmarks, in person heights."""
START_SWAPPED_S = 1.0
"""Beginning in the swapped state costs as much as staying in it for this long."""
LAGS_S = (0.0, 1 / 15, 2 / 15)
"""Time between frames that are compared; 0 stands for neighbours. With neighbours alone 31 of 32 exchanged frames of a
real film stayed so, because frames of collapsed legs lie on both sides of them; with these 2 do."""
MAX_LAG = 8
"""Frames: the choices of so many are held at once, in 2^8 states."""
MAX_GAP_S = 0.5
"""Frames further apart are compared with their neighbours only."""
REFERENCE_FPS = 30.0
"""Costs per frame are stated at this rate and scaled with the time between frames."""


def find_swaps(seen: Observations, swap_cost: float) -> np.ndarray:
    """(T,) bool: frames whose left and right are exchanged, by the cheapest path through two states per frame.

    Frames t-k and t cost 1/k times the mean distance the 12 body landmarks travel about their own mean, in person
    heights, plus WORLD_WEIGHT times the mean distance their world landmarks travel, both in the states chosen: the
    mean over the lags k of `lags_of`. A frame in the swapped state costs swap_cost per 1/30 s. A change of state is
    straddled by k pairs of lag k, so it costs the same at every frame rate. Lags above 1 see across frames that show
    neither: where both legs are drawn in one place, paths through there to the right and the wrong side are equally
    long.
    """
    lags = lags_of(seen.pts_s)
    if not lags:
        return np.zeros(len(seen), bool)
    same, other = _step_costs(seen, lags)
    bits = max(lags)
    duration = np.diff(seen.pts_s, prepend=seen.pts_s[:1]) * REFERENCE_FPS
    # A state holds the choices of the last `bits` frames, the newest lowest. Before the first frame all were as there.
    state = np.arange(1 << bits)
    cost = np.full(len(state), np.inf)
    cost[[0, -1]] = 0.0, swap_cost * START_SWAPPED_S * REFERENCE_FPS
    came_from = np.zeros((len(seen), len(state)), np.int32)
    older = state >> 1, (state >> 1) + (len(state) >> 1)
    chosen = state & 1
    for t in range(1, len(seen)):
        step = chosen * (swap_cost * duration[t])
        for at, lag in enumerate(lags):
            # in the new state the choice of `lag` frames ago is bit `lag`, of which the highest is in `older` alone
            if lag < bits:
                step = step + np.where((state >> lag) & 1 == chosen, same[at, t], other[at, t])
        total = [
            cost[before] + np.where((before >> (bits - 1)) & 1 == chosen, same[-1, t], other[-1, t])
            for before in older
        ]
        came_from[t] = np.where(total[1] < total[0], older[1], older[0])
        cost = np.minimum(*total) + step
    swapped = np.zeros(len(seen), bool)
    at_state = int(cost.argmin())
    for t in range(len(seen) - 1, -1, -1):
        swapped[t], at_state = bool(at_state & 1), int(came_from[t, at_state])
    return swapped


def lags_of(pts_s: np.ndarray) -> tuple[int, ...]:
    """The lags in frames nearest to LAGS_S, increasing, at least one frame; empty for a single frame."""
    if len(pts_s) < 2:
        return ()
    frame_s = max(float(np.median(np.diff(pts_s))), 1e-6)
    longest = min(MAX_LAG, len(pts_s) - 1)
    return tuple(sorted({min(max(round(lag_s / frame_s), 1), longest) for lag_s in LAGS_S}))


def _step_costs(seen: Observations, lags: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(lags, T) twice: what pairs (t-k, t) cost in the same state, and in different ones. 0 where there is no pair."""
    xy, world = _both_states(seen)
    body = list(BODY_LANDMARKS)
    xy, world = xy[:, :, body] / max(float(np.median(seen.size_px)), 1.0), world[:, :, body]
    xy = xy - xy.mean(axis=2, keepdims=True)
    costs = np.zeros((2, len(lags), len(seen)))
    for at, lag in enumerate(lags):
        tied = (seen.pts_s[lag:] - seen.pts_s[:-lag] <= MAX_GAP_S) | (lag == 1)
        for differs in (0, 1):
            travelled = _mean_distance(xy[0, :-lag], xy[differs, lag:])
            travelled = travelled + WORLD_WEIGHT * _mean_distance(world[0, :-lag], world[differs, lag:])
            costs[differs, at, lag:] = np.where(tied, travelled / (lag * len(lags)), 0.0)
    return costs[0], costs[1]


def repair_left_right(seen: Observations, swap_cost: float) -> tuple[Observations, np.ndarray]:
    """The observations with exchanged frames put right, and which frames (T,) those were."""
    swapped = find_swaps(seen, swap_cost)
    return exchanged(seen, swapped), swapped


def exchanged(seen: Observations, swapped: np.ndarray) -> Observations:
    """The observations with left and right exchanged in frames `swapped` (T,)."""
    if not swapped.any():
        return seen
    twin = mirror_permutation()
    xy, world = _both_states(seen)
    at = swapped.astype(int), np.arange(len(seen))
    visibility = np.where(swapped[:, None], seen.visibility[:, twin], seen.visibility)
    presence = np.where(swapped[:, None], seen.presence[:, twin], seen.presence)
    return replace(seen, xy_px=xy[at], world_m=world[at], visibility=visibility, presence=presence)


def _both_states(seen: Observations) -> tuple[np.ndarray, np.ndarray]:
    """(2, T, 33, 2) and (2, T, 33, 3): as seen, and exchanged.

    Who is taken for turned round has their depth negated.
    """
    twin = mirror_permutation()
    exchanged = seen.world_m[:, twin] * [1.0, 1.0, -1.0]
    return np.stack([seen.xy_px, seen.xy_px[:, twin]]), np.stack([seen.world_m, exchanged])


def _mean_distance(a: Floats, b: Floats) -> Floats:
    return np.asarray(np.linalg.norm(a - b, axis=-1).mean(axis=-1))
