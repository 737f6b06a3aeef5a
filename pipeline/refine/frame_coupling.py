"""How the steps of a track's frames hang together: in time, and by the frames they are aligned to."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solveh_banded

from pipeline.geometry.array_types import Floats, Reals, Singles
from pipeline.geometry.compiling import kernel

MAX_RELAXATION, STABLE_RELAXATION = 1.5, 1.6
"""See `relaxation`."""


def follow_each_other(pts_s: np.ndarray) -> np.ndarray:
    """(T,) bool: frames whose neighbours on both sides are no farther than half as much again as is usual."""
    gap = np.diff(pts_s)
    near = gap <= 1.5 * np.median(gap)
    return np.concatenate([[False], near[:-1] & near[1:], [False]])


def acceleration_precision(pts_s: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """(P,) what a squared second difference from frame to frame weighs where accelerations have deviations sigma (P,).

    With f frames a second the acceleration is f^2 times the second difference d, so (f^2 d / sigma)^2 = (f^2 / sigma)^2
    d^2: a motion costs the same in each of its frames at every rate. f comes from the median gap, to a thousandth.
    """
    if len(pts_s) < 2:
        return np.zeros_like(sigma)
    frames_per_s = round(1.0 / float(np.median(np.diff(pts_s))), 3)
    return (sigma / (frames_per_s * frames_per_s)) ** -2.0


def relaxation(neighbours: np.ndarray) -> float:
    """The factor w of every step, for weights (T, T) of frames in each other's appearance.

    All frames move at once, each towards the mean M of its neighbours: an error e becomes e - w (e - M e), which
    shrinks where |1 - w (1 - m)| < 1 for every eigenvalue m of M. Slow errors have m near 1 and gain by a w above 1;
    two frames that only see each other have m = -1 and would change places for ever. w = min(1.5, 1.6 / (1 - least m)).
    """
    total = neighbours.sum(axis=1)
    scale = 1 / np.sqrt(np.where(total > 0, total, 1.0))
    mean = scale[:, None] * 0.5 * (neighbours + neighbours.T) * scale  # similar to M, and symmetric
    least = float(np.linalg.eigvalsh(mean)[0])
    return round(min(MAX_RELAXATION, STABLE_RELAXATION / (1.0 - min(least, 0.0))), 2)


def drift_mean(pts_s: Floats, neighbours: Singles, window_s: float) -> Floats:
    """(T, T) rows that take each frame's mean over a raised cosine of half-width `window_s`; over the track for inf.

    Frames without neighbours (T, T) are in no mean and have none: nothing moves them.
    """
    lag = np.abs(pts_s[:, None] - pts_s[None, :])
    weight = np.ones_like(lag)
    if np.isfinite(window_s):
        weight = np.where(lag < window_s, 0.5 + 0.5 * np.cos(np.pi * lag / window_s), 0.0)
    counted = neighbours.sum(axis=1) > 0
    weight *= counted[:, None] & counted[None, :]
    total: Floats = weight.sum(axis=1, keepdims=True)
    return weight / np.maximum(total, 1e-12)


def smooth_step(
    hessian: np.ndarray, gradient: np.ndarray, so_far: np.ndarray, precision: np.ndarray, is_inner: np.ndarray
) -> np.ndarray:
    """(T, P) the x of (H + D^T W D) x = g + D^T W D c: all frames at once, coupled by second differences in time.

    D takes the second difference c_before - 2 c + c_after at the frames of is_inner (T,), W is precision (P,) on each;
    c is so_far (T, P), hessian (T, P, P) one block a frame, gradient (T, P). A banded Cholesky factorisation: the cost
    grows with T. A tracker's errors vary smoothly, and so must what is added to its bodies.
    """
    frames, size = gradient.shape
    inner = np.flatnonzero(is_inner)
    coupling = np.zeros((3, frames))
    """The bands of D^T D: a frame with itself, with the next, and with the one after it (stored at the later one)."""
    pull = np.zeros_like(gradient)
    bend = so_far[inner - 1] - 2 * so_far[inner] + so_far[inner + 1]
    for place, factor in ((-1, 1.0), (0, -2.0), (1, 1.0)):
        coupling[0, inner + place] += factor**2
        pull[inner + place] += factor * bend
    coupling[1, inner] += -2.0
    coupling[1, inner + 1] += -2.0
    coupling[2, inner + 1] += 1.0
    # In the order that LAPACK wants, so that it works in this memory, 45 kB a frame, and in no copy. In float32:
    # stiffness and damping keep the system far from singular, and the next step mends what this one is off by.
    band = np.zeros((frames, size, 2 * size + 1), np.float32)
    fill_band(hessian, band)
    band[..., 2 * size] += coupling[0][:, None] * precision
    band[..., size] += coupling[1][:, None] * precision
    band[..., 0] += coupling[2][:, None] * precision
    right = (gradient + precision * pull).astype(np.float32).reshape(-1)
    step: Singles = solveh_banded(band.reshape(frames * size, -1).T, right, overwrite_ab=True)
    return step.reshape(frames, size).astype(np.float64)


@kernel
def fill_band(hessian: Reals, band: Reals) -> None:
    """band (T, P, 2 P + 1): entry 2 P + row - column of a column, row <= column, is that of hessian (T, P, P), which is
    symmetric."""
    size = hessian.shape[1]
    for at in range(hessian.shape[0]):
        for column in range(size):
            for row in range(column + 1):
                band[at, column, 2 * size + row - column] = hessian[at, column, row]


def limited(vectors: Floats, longest: float) -> Floats:
    """Vectors (..., 3), those longer than `longest` shortened to it."""
    length: Floats = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors * np.minimum(1.0, longest / np.maximum(length, 1e-12))
