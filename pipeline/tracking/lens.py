"""The lens of a film whose focal length nothing says, from what cameras usually have and the perspective of bodies.

People near the camera are drawn in perspective: what is nearer is larger. For each focal length of a grid the
network's world landmarks of a frame are turned and placed so that they fall on its 2-D landmarks; what is left over
is least at the true focal length, were those landmarks true. They err by 8 cm and lean, so the curve says little:
2.5 % of a person's size are left at the true focal length, 2.4 at twice and 3.2 at half of it. It is weighted
accordingly against a prior over cameras, which does most of the work. The landmarks' depth is the limit: with the true
3-D shape of each frame and the same 2-D landmarks estimates are off by a factor of 1.2 where they are off by 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config import CameraSettings
from pipeline.geometry.array_types import Floats
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.records import Footage
from pipeline.tracking.people import Observations

COMPARED = (0, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
"""Nose, ears, limbs and feet."""
SHORTEST, LONGEST, FOCAL_LENGTHS = 0.3, 3.3, 13
"""The grid, in longer sides of the picture: 118 to 17 degrees across them."""
MAX_FRAMES = 20
"""Of a track that are looked at, evenly spread: neighbours err alike."""
ITERATIONS = 12
ROBUST_SIZE = 0.04
"""Landmarks that miss by much more than this share of the person's size count little."""
NEAREST_M = 0.3
LEAST_WEIGHT = 0.02
_DAMPING = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """A focal length of the full image, and where it is from."""

    focal_px: float | None
    """None: the medium lens of each track's crops."""
    source: str
    """`given`, `file`, `estimated` or `assumed`."""
    uncertainty: float | None = None
    """Standard deviation of its logarithm, of an estimate."""


ASSUMED = Lens(focal_px=None, source="assumed")


def known_lens(footage: Footage, settings: CameraSettings) -> Lens:
    """The lens that the user gives, else the one that the file states, else ASSUMED."""
    if footage.focal_px is not None:
        return Lens(focal_px=footage.focal_px, source="given")
    if footage.stated_focal_px is not None and settings.file_lens:
        return Lens(focal_px=footage.stated_focal_px, source="file")
    return ASSUMED


def estimated_lens(people: Sequence[Observations], settings: CameraSettings) -> Lens:
    """One lens for all people of a segment; ASSUMED where there is nobody.

    The mean and the standard deviation of x = log(f / longer side) under

        log p(x) = -(x - log typical_focal)^2 / 2 typical_spread^2 - perspective_weight sum_i (r_i(x)^2 / min r_i^2 - 1)

    with r_i the `perspective_residuals` of person i, interpolated linearly.
    """
    if not people:
        return ASSUMED
    long_px = max(people[0].image_hw)
    knots = np.linspace(np.log(SHORTEST), np.log(LONGEST), FOCAL_LENGTHS)
    x = np.linspace(knots[0], knots[-1], 16 * (FOCAL_LENGTHS - 1) + 1)
    log_p = -0.5 * ((x - np.log(settings.typical_focal)) / settings.typical_spread) ** 2
    for person in people:
        squares = perspective_residuals(person, long_px * np.exp(knots)) ** 2
        log_p -= settings.perspective_weight * np.interp(x, knots, squares / max(squares.min(), 1e-12) - 1)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = float(p @ x)
    spread = float(np.sqrt(p @ (x - mean) ** 2))
    return Lens(focal_px=long_px * float(np.exp(mean)), source="estimated", uncertainty=spread)


def perspective_residuals(seen: Observations, focal_px: Floats) -> Floats:
    """(F,) what is left between world landmarks and 2-D landmarks at focal lengths (F,), in person sizes.

    The weighted root mean square of each frame at its best rotation and place (Gauss-Newton, robust weights), the
    median over at most MAX_FRAMES frames.
    """
    frames = np.unique(np.linspace(0, len(seen) - 1, min(MAX_FRAMES, len(seen))).round().astype(int))
    marks = list(COMPARED)
    centre = np.array([seen.image_hw[1], seen.image_hw[0]]) / 2
    offset_px = seen.xy_px[frames][:, marks] - centre
    world = seen.world_m[frames][:, marks]
    world = world - world.mean(axis=1, keepdims=True)
    weight = np.clip(seen.visibility * seen.presence, 0, 1)[frames][:, marks] ** 2 + LEAST_WEIGHT
    # every frame at every focal length is one problem
    uv = (offset_px[None] / focal_px[:, None, None, None]).reshape(-1, len(marks), 2)
    shape, weights = np.tile(world, (len(focal_px), 1, 1)), np.tile(weight, (len(focal_px), 1))
    left = _least_residual(shape, uv, weights)
    size = np.maximum(np.ptp(uv, axis=1).max(axis=-1), 1e-9)
    return np.asarray(np.median((left / size).reshape(len(focal_px), len(frames)), axis=1))


def _least_residual(shape: Floats, uv: Floats, weight: Floats) -> Floats:
    """(N,) min over R, t of the weighted root mean square |project(R X + t) - uv| of shapes X (N, K, 3)."""
    depth = _spread(shape[..., :2], weight) / np.maximum(_spread(uv, weight), 1e-9)
    place = np.concatenate([_mean(uv, weight) * depth[:, None], depth[:, None]], axis=1)
    scale = ROBUST_SIZE * np.maximum(np.ptp(uv, axis=1).max(axis=-1), 1e-9)
    for _ in range(ITERATIONS):
        points = shape + place[:, None]
        misses, z = _misses(points, uv)
        robust = weight / (1 + (misses**2).sum(axis=-1) / scale[:, None] ** 2) ** 2
        slope = np.zeros((*misses.shape, 6))
        for at, axis in enumerate(np.eye(3)):
            slope[..., at] = _moved(np.cross(axis, shape), points, z)
            slope[..., 3 + at] = _moved(np.broadcast_to(axis, shape.shape), points, z)
        normal = np.einsum("nkda,nk,nkdb->nab", slope, robust, slope) + _DAMPING * np.eye(6)
        step = np.linalg.solve(normal, np.einsum("nkda,nk,nkd->na", slope, robust, misses)[..., None])[..., 0]
        shape = np.einsum("nij,nkj->nki", rotation_from_rotvec(-step[:, :3]), shape)
        place = place - step[:, 3:]
        place[:, 2] = np.maximum(place[:, 2], NEAREST_M)
    misses, _ = _misses(shape + place[:, None], uv)
    return np.asarray(np.sqrt((weight * (misses**2).sum(axis=-1)).sum(axis=1) / weight.sum(axis=1)))


def _misses(points: np.ndarray, uv: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    z = np.maximum(points[..., 2], NEAREST_M / 2)
    return points[..., :2] / z[..., None] - uv, z


def _moved(motion: Floats, points: Floats, z: Floats) -> Floats:
    """Derivative of x / z, y / z along a motion of the points."""
    return (motion[..., :2] - points[..., :2] * (motion[..., 2] / z)[..., None]) / z[..., None]


def _mean(points: Floats, weight: Floats) -> Floats:
    return np.asarray((points * weight[..., None]).sum(axis=1) / weight.sum(axis=1)[:, None])


def _spread(points: Floats, weight: Floats) -> Floats:
    squares = ((points - _mean(points, weight)[:, None]) ** 2).sum(axis=-1)
    return np.asarray(np.sqrt((squares * weight).sum(axis=1) / weight.sum(axis=1)))
