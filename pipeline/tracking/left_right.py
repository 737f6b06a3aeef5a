"""Repairs frames in which the landmark network took left for right (backlit or turning people)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.tracking.people import Observations
from schemas.conventions import LANDMARK_COUNT

MIRROR_PAIRS = (
    (1, 4), (2, 5), (3, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 18), (19, 20), (21, 22),
    (23, 24), (25, 26), (27, 28), (29, 30), (31, 32),
)  # fmt: skip
"""Left and right twins of BlazePose's 33 landmarks."""

BODY_LANDMARKS = (11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""Shoulders, elbows, wrists, hips, knees, ankles."""

WORLD_WEIGHT = 0.5
"""Cost of a metre in the world landmarks, in person heights."""
START_SWAPPED_S = 1.0
"""Beginning in the swapped state costs as much as staying in it for this long."""
REFERENCE_FPS = 30.0
"""Costs per frame are stated at this rate and scaled with the time between frames."""


def mirror_permutation() -> np.ndarray:
    """(33,) index of each landmark's twin."""
    permutation = np.arange(LANDMARK_COUNT)
    for left, right in MIRROR_PAIRS:
        permutation[[left, right]] = right, left
    return permutation


def find_swaps(seen: Observations, swap_cost: float) -> np.ndarray:
    """(T,) bool: frames whose left and right are exchanged, by the cheapest path through two states per frame.

    A step from frame t-1 to t costs the mean distance the 12 body landmarks travel, in person heights, plus
    WORLD_WEIGHT times the mean distance their world landmarks travel, both in the states chosen; a frame in the
    swapped state costs swap_cost per 1/30 s. Path lengths and times do not depend on the frame rate.
    """
    xy, world = _both_states(seen)
    body = list(BODY_LANDMARKS)
    xy, world = xy[:, :, body] / max(float(np.median(seen.size_px)), 1.0), world[:, :, body]
    duration = np.diff(seen.pts_s, prepend=seen.pts_s[:1]) * REFERENCE_FPS
    cost = np.array([0.0, swap_cost * START_SWAPPED_S * REFERENCE_FPS])
    came_from = np.zeros((len(seen), 2), int)
    for t in range(1, len(seen)):
        travelled = _mean_distance(xy[:, None, t], xy[None, :, t - 1])
        travelled = travelled + WORLD_WEIGHT * _mean_distance(world[:, None, t], world[None, :, t - 1])
        total = travelled + cost[None]
        came_from[t] = total.argmin(axis=1)
        cost = total.min(axis=1) + np.array([0.0, swap_cost * duration[t]])
    state = np.zeros(len(seen), bool)
    at = int(cost.argmin())
    for t in range(len(seen) - 1, -1, -1):
        state[t], at = bool(at), int(came_from[t, at])
    return state


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


def _mean_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=-1).mean(axis=-1)
