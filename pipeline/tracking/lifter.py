"""Landmarks in space from a track of landmarks in the picture: a small network learned from motion capture.

A stack of dilated convolutions over 31 frames at 30 a second (Pavllo et al. 2019, with our own inputs), in numpy. What
it learned, from whom and how: `tests/accuracy/learn_lifter.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.tracking.fit_start import HIPS, camera_from_ray
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.people import Observations
from schemas.conventions import LANDMARK_COUNT
from schemas.errors import SettingsError

STEP_S = 1 / 30
"""Tracks are read at this spacing of presentation time."""
DILATIONS = (1, 2, 4, 8)
INPUTS = LANDMARK_COUNT * 6 + 2
SIZE_WINDOW_S = 0.5
"""Standard deviation of the smoothing of a person's size."""
LEAST_SIZE, NEAREST = 0.02, 0.1
"""Of a person and of a ray's third coordinate, in units of the distance."""
LOG_SIGMA = -3.0
"""Standard deviations are told relative to exp(LOG_SIGMA) m."""
POINT_UNIT_M = 0.2
Given = tuple[np.ndarray, np.ndarray, np.ndarray]
"""uv (..., T, 33, 2) about the viewing ray, visibility (..., T, 33), world landmarks (..., T, 33, 3)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lifted:
    """Landmarks of a person of middling size in space. T frames."""

    points_m: np.ndarray
    """(T, 33, 3) about the hips, in axes of the viewing ray: z along the ray to the hips."""
    sigma_m: np.ndarray
    """(T, 33, 2) their errors across and along the ray (mean absolute)."""


class Lifter:
    """The network, from its weights by name (float32)."""

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self._weights = weights

    def raw(self, given: np.ndarray) -> np.ndarray:
        """(T, 166) numbers of inputs (T, INPUTS); the track's ends go on for ever."""
        w, at = self._weights, np.arange(len(given))
        x = given @ w["input.weight"] + w["input.bias"]
        for number, dilation in enumerate(DILATIONS):
            hidden = _gelu(_normal(x))
            around = [hidden[np.clip(at + shift, 0, len(at) - 1)] for shift in (-dilation, 0, dilation)]
            y = np.concatenate(around, axis=1) @ w[f"wide{number}.weight"] + w[f"wide{number}.bias"]
            x = x + _gelu(y) @ w[f"narrow{number}.weight"] + w[f"narrow{number}.bias"]
        return np.asarray(_gelu(_normal(x)) @ w["output.weight"] + w["output.bias"])


def lifted(seen: Observations, camera: Camera, network: Lifter) -> Lifted:
    """What the network makes of a track: the mean of it and its mirror image. `camera` is the full image's."""
    time_s = seen.pts_s - seen.pts_s[0]
    grid_s = np.arange(int(np.floor(time_s[-1] / STEP_S + 1e-6)) + 1) * STEP_S
    rays = (seen.xy_px - camera.K[:2, 2]) / [camera.K[0, 0], camera.K[1, 1]]
    axes = camera_from_ray(seen, camera)
    uv = ray_view(rays, axes)
    visibility = np.clip(seen.visibility * seen.presence, 0, 1)
    given = tuple(_between(time_s, each, grid_s) for each in (uv, visibility, seen.world_m))
    points, sigma = _both_ways(network, (given[0], given[1], given[2]))
    return Lifted(points_m=_between(grid_s, points, time_s), sigma_m=_between(grid_s, sigma, time_s))


def _both_ways(network: Lifter, given: Given) -> tuple[np.ndarray, np.ndarray]:
    """Points and sigmas on the grid: the mean of what is made of a person and of their mirror image."""
    twin, mirrored = mirror_permutation(), flip(*given)
    points, sigma = decoded(network.raw(network_input(*given)), given[0])
    others, other_sigma = decoded(network.raw(network_input(*mirrored)), mirrored[0])
    return (points + others[:, twin] * [-1, 1, 1]) / 2, (sigma + other_sigma[:, twin]) / 2


def ray_view(rays: np.ndarray, camera_from_ray: np.ndarray) -> np.ndarray:
    """(..., T, 33, 2) places in the picture at z = 1 of a camera that looks at the hips, of those in the film's."""
    turned = np.concatenate([rays, np.ones_like(rays[..., :1])], -1) @ camera_from_ray
    return np.asarray(turned[..., :2] / np.maximum(turned[..., 2:], NEAREST))


def network_input(uv: np.ndarray, visibility: np.ndarray, world_m: np.ndarray) -> np.ndarray:
    """(..., T, INPUTS) of uv (..., T, 33, 2) about the viewing ray, visibility (..., T, 33), world (..., T, 33, 3).

    A frame whose world landmarks are all zero counts as one without.
    """
    size = smooth_size(uv)[..., None, None]
    hips = world_m[..., HIPS, :].mean(axis=-2, keepdims=True)
    flat = (*uv.shape[:-2], -1)
    return np.concatenate(
        [
            (2 * uv / size).reshape(flat),
            visibility,
            (2 * (world_m - hips)).reshape(flat),
            np.log(size[..., 0]) + 1,
            np.asarray(world_m.any(axis=(-2, -1)))[..., None],
        ],
        axis=-1,
    ).astype(np.float32)


def smooth_size(uv: np.ndarray) -> np.ndarray:
    """(..., T) the longer side of the landmarks' box, smoothed over SIZE_WINDOW_S."""
    log = np.log(np.maximum(np.ptp(uv, axis=-2).max(axis=-1), LEAST_SIZE))
    at = np.arange(log.shape[-1]) * STEP_S
    kernel = np.exp(-0.5 * ((at[:, None] - at) / SIZE_WINDOW_S) ** 2)
    return np.asarray(np.exp(log @ (kernel / kernel.sum(axis=0))))


def decoded(raw: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (T, 33, 3) and sigmas (T, 33, 2) in metres of the network's numbers.

    A landmark lies at uv (d + z), z, plus a correction, with d the distance of the hips that the size suggests.
    """
    points, log_sigma = raw[:, : 3 * LANDMARK_COUNT], raw[:, 3 * LANDMARK_COUNT : 5 * LANDMARK_COUNT]
    correction = POINT_UNIT_M * points.reshape(-1, LANDMARK_COUNT, 3)
    distance = 1.6 * np.exp(0.3 * raw[:, -1]) / smooth_size(uv)
    z = correction[..., 2]
    across = uv * np.maximum(distance[:, None] + z, 0.1)[..., None] + correction[..., :2]
    found = np.concatenate([across, z[..., None]], -1)
    found = found - found[:, HIPS].mean(axis=1, keepdims=True)
    sigma = np.exp(np.clip(log_sigma.reshape(-1, LANDMARK_COUNT, 2), -3, 3) + LOG_SIGMA)
    return found, sigma


def flip(uv: np.ndarray, visibility: np.ndarray, world_m: np.ndarray) -> Given:
    """What is seen of the mirror image of a person."""
    twin = mirror_permutation()
    return uv[..., twin, :] * [-1, 1], visibility[..., twin], world_m[..., twin, :] * [-1, 1, 1]


@lru_cache(maxsize=2)
def lifter_of(path: str) -> Lifter:
    """The network in a file. Raises SettingsError where it is none."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            weights = {name: stored[name].astype(np.float32) for name in stored.files}
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"setting 'tracking.lifter' is {path!r}, which cannot be read as an .npz ({error}).",
            remedy="Give a file that `python -m tests.accuracy.learn_lifter` wrote, or none.",
        ) from error
    inputs = weights.get("input.weight", np.empty((0, 0))).shape[0]
    if inputs != INPUTS:
        raise SettingsError(
            f"setting 'tracking.lifter' is {path!r}, whose network takes {inputs} inputs instead of {INPUTS}.",
            remedy="Give a file that `python -m tests.accuracy.learn_lifter` wrote with this version.",
        )
    return Lifter(weights)


def _between(from_s: np.ndarray, values: np.ndarray, to_s: np.ndarray) -> np.ndarray:
    """Linear interpolation of values (T, ...) in time; before and after as at the ends."""
    if len(from_s) == 1:
        return np.repeat(values, len(to_s), axis=0)
    right = np.clip(np.searchsorted(from_s, to_s), 1, len(from_s) - 1)
    share = np.clip((to_s - from_s[right - 1]) / (from_s[right] - from_s[right - 1]), 0, 1)
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((1 - share) * values[right - 1] + share * values[right])


def _normal(x: np.ndarray) -> np.ndarray:
    """Each row with mean 0 and variance 1."""
    x = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(x / np.sqrt((x * x).mean(axis=-1, keepdims=True) + 1e-5))


def _gelu(x: np.ndarray) -> np.ndarray:
    """x times the logistic of 1.702 x."""
    return np.asarray(x / (1 + np.exp(-1.702 * x)))
