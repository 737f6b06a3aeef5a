"""Training windows of the lifter: posed bodies before random cameras with the landmark network's errors, and films.

Errors are taken from films: what the network saw less the truth, in person sizes, for whole windows at once, so that
they hang together in time; of a film that shows the person from the same side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.tracking.fit_start import HIPS, rotation_to_ray
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.left_right import repair_left_right
from pipeline.tracking.lifter import flip, ray_view
from pipeline.tracking.people import Observations
from schemas.conventions import JOINT_COUNT
from tests.accuracy.lifter_films import Film, drawn_take
from tests.accuracy.motions import MOTION_FPS, Take
from tests.support.torch_body import BodyTensors, rotation_from_axis_angle

FRAMES = 48
ARMS = [13, 14, 16, 17, 18, 19, 20, 21]
BONES = ((0, 1), (1, 4), (4, 7), (0, 3), (3, 6), (6, 9), (9, 12), (16, 18), (18, 20))
SWAP_COST = 0.015
NEAREST_M = 0.25
Batch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""uv (B, T, 33, 2) about the ray, visibility (B, T, 33), world and true points (B, T, 33, 3) along the ray."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Seen:
    """A film, sides repaired, cut or continued to FRAMES."""

    rays: np.ndarray
    """(T, 33, 2)."""
    visibility: np.ndarray
    world_m: np.ndarray
    points_m: np.ndarray
    """(T, 33, 3) the truth about the hips, along the true ray, of a person of middling size."""
    error: np.ndarray
    """(T, 33, 2) of the rays, in person sizes ..."""
    world_error_m: np.ndarray
    """(T, 33, 3) ... and of the world landmarks."""
    facing: float
    """Angle of the line from right to left in the middle frame, seen from above."""


class Posed:
    """Landmarks (N, T, 33, 3) of many windows of movement about the hips, y up, and the hips' paths (N, T, 3)."""

    def __init__(self, takes: Sequence[Take], body: BodyModel, count: int, rng: np.random.Generator) -> None:
        tensors = BodyTensors(body.as_named, np.arange(1))
        made = [_window(rng, takes, body, tensors) for _ in range(count)]
        self.marks = np.stack([marks for marks, _ in made]).astype(np.float32)
        self.paths = np.stack([path for _, path in made]).astype(np.float32)
        sideways = _sideways(self.marks[:, FRAMES // 2])
        self.facing = np.arctan2(-sideways[:, 2], sideways[:, 0])


def _window(
    rng: np.random.Generator, takes: Sequence[Take], body: BodyModel, tensors: BodyTensors
) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (T, 33, 3) and hips' path (T, 3): a take faster or slower, half of the time with changes."""
    speed = float(np.exp(rng.normal(0, 0.2)))
    count = int(np.ceil(FRAMES * speed)) + 1
    take = drawn_take(rng, takes, count)
    pose = take.pose.copy()
    if rng.random() < 0.3:  # these arms with other legs
        pose[:, ARMS] = drawn_take(rng, takes, count).pose[:, ARMS]
    if rng.random() < 0.6:
        turns = rng.normal(0, 0.15, (1, JOINT_COUNT - 1, 3)) * rng.choice([0.5, 1.0, 1.6])
        turns[:, [joint - 1 for joint in ARMS]] *= rng.choice([1.0, 3.0])
        middle = pose[:, 1:].mean(axis=0, keepdims=True)
        pose[:, 1:] = middle + rng.uniform(0.8, 1.3) * (pose[:, 1:] - middle) + turns
    lean = Rotation.from_rotvec(rng.normal(0, 0.08, 3) * [1, 0, 1])
    pose[:, 0] = (lean * Rotation.from_rotvec(pose[:, 0])).as_rotvec()
    betas = 0.8 * np.clip(rng.standard_normal(10), -2, 2)
    marks = (tensors_landmarks(tensors, pose, betas) + take.place[:, None]) * middling(body, betas)
    at = np.arange(FRAMES) * speed
    low, share = at.astype(int), (at % 1)[:, None, None]
    marks = (1 - share) * marks[low] + share * marks[low + 1]
    hips = marks[:, HIPS].mean(axis=1)
    path = hips - hips.mean(axis=0)
    if rng.random() < 0.5:  # the camera moves along
        time = np.arange(FRAMES) - (FRAMES - 1) / 2
        path = path - np.outer(time, np.polyfit(time, path, 1)[0] * [1, 0, 1])
    return marks - hips[:, None], path * min(1.0, 1.0 / max(1e-6, np.abs(path).max()))


def tensors_landmarks(tensors: BodyTensors, pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """(T, 33, 3) as `BodyModel.landmarks` about the origin, in a twentieth of its time."""
    given = torch.tensor(betas, dtype=torch.float32)
    rotations = rotation_from_axis_angle(torch.tensor(pose, dtype=torch.float32))
    return np.asarray(tensors.landmarks(tensors.transforms(rotations, given), given).numpy(), np.float64)


def middling(body: BodyModel, betas: np.ndarray) -> float:
    """How much larger the mean body's bones are than those of a shape, along trunk and limbs."""
    rest = body.joint_template + body.joint_shapedirs @ betas
    length = [
        sum(np.linalg.norm(each[a] - each[b]) for a, b in BONES) for each in (body.joint_template, rest)
    ]
    return float(length[0] / length[1])


def seen_of(film: Film, body: BodyModel) -> Seen:
    """What the lifter would be told of a film, and the truth."""
    count = len(film.xy_px)
    seen = Observations(
        frame_index=np.arange(count),
        pts_s=np.arange(count) / MOTION_FPS,
        image_hw=(1, 1),
        xy_px=film.xy_px.astype(float),
        visibility=film.visibility.astype(float),
        presence=np.ones_like(film.visibility, float),
        world_m=film.world_m.astype(float),
        score=np.ones(count),
        segmentation=np.zeros((count, 1, 1), np.uint8),
        image_from_segmentation=np.zeros((count, 2, 3)),
    )
    seen, _ = repair_left_right(seen, SWAP_COST)
    scale, hips = middling(body, film.betas), film.marks_m[:, HIPS].mean(axis=1, keepdims=True)
    points = scale * ((film.marks_m - hips) @ rotation_to_ray(hips[:, 0]))
    rays, true = seen.xy_px / film.focal_px, film.marks_m[..., :2] / film.marks_m[..., 2:]
    size = np.ptp(true, axis=1).max(axis=-1)[:, None, None]
    world = seen.world_m - seen.world_m[:, HIPS].mean(axis=1, keepdims=True)
    at = np.minimum(np.arange(FRAMES) + max(0, (count - FRAMES) // 2), count - 1)
    sideways = _sideways(points[at[FRAMES // 2]])
    return Seen(
        rays=rays[at],
        visibility=seen.visibility[at],
        world_m=world[at],
        points_m=points[at],
        error=((rays - true) / size)[at],
        world_error_m=(world - points)[at],
        facing=float(np.arctan2(sideways[2], sideways[0])),
    )


def posed_batch(posed: Posed, films: Sequence[Seen], count: int, rng: np.random.Generator) -> Batch:
    """`count` windows of posed bodies with errors of films."""
    chosen, donors = rng.integers(len(posed.marks), size=count), rng.integers(len(films), size=count)
    twin, flipped = mirror_permutation(), rng.random(count) < 0.5
    error, visibility, world_error = (
        np.stack([getattr(films[at], name) for at in donors])
        for name in ("error", "visibility", "world_error_m")
    )
    facing = np.array([films[at].facing for at in donors])
    error[flipped], world_error[flipped] = (
        error[flipped][:, :, twin] * [-1, 1],
        world_error[flipped][:, :, twin] * [-1, 1, 1],
    )
    visibility[flipped], facing[flipped] = visibility[flipped][:, :, twin], -facing[flipped]
    time = (np.arange(FRAMES) - FRAMES / 2) / MOTION_FPS
    turning = np.where(rng.random(count) < 0.3, rng.uniform(-3.5, 3.5, count), 0.0)
    yaw = (facing - posed.facing[chosen] + rng.normal(0, 0.35, count))[:, None] + turning[:, None] * time
    pitch = np.where(rng.random(count) < 0.5, rng.normal(4, 8, count), rng.uniform(-32, 35, count))
    roll = np.where(rng.random(count) < 0.5, rng.normal(0, 4, count), rng.uniform(-32, 32, count))
    tilt = Rotation.from_euler("xz", np.stack([pitch, roll], 1), degrees=True).as_matrix() * [1.0, -1.0, -1.0]
    turned = np.zeros((count, FRAMES, 3, 3))
    turned[..., 0, 0], turned[..., 0, 2], turned[..., 2, 0], turned[..., 2, 2] = (
        np.cos(yaw), np.sin(yaw), -np.sin(yaw), np.cos(yaw),
    )  # fmt: skip
    turned[..., 1, 1] = 1
    turned = tilt[:, None] @ turned
    marks = posed.marks[chosen] @ np.swapaxes(turned, -1, -2)
    path = posed.paths[chosen] @ np.swapaxes(turned[:, FRAMES // 2], -1, -2)
    distance = 1.7 / np.exp(rng.uniform(np.log(0.2), np.log(1.7), count))
    distance = np.maximum(distance, NEAREST_M - (marks + path[:, :, None])[..., 2].min(axis=(1, 2)))
    path[..., 2] += distance[:, None]
    placed = marks + path[:, :, None]
    rays = placed[..., :2] / placed[..., 2:]
    size = np.ptp(rays, axis=2).max(axis=-1)[..., None, None]
    strength = rng.uniform(0.5, 1.2, (count, 1, 1, 1))
    points = marks @ rotation_to_ray(path)
    return _as_seen(rays + strength * size * error, visibility, points + world_error, points, rng)


def film_batch(films: Sequence[Seen], count: int, rng: np.random.Generator) -> Batch:
    """`count` windows of films: mirrored, turned in the picture."""
    chosen = rng.integers(len(films), size=count)
    rays, visibility, world, points = (
        np.stack([getattr(films[at], name) for at in chosen])
        for name in ("rays", "visibility", "world_m", "points_m")
    )
    flipped = rng.random(count) < 0.5
    twin = mirror_permutation()
    points[flipped] = points[flipped][:, :, twin] * [-1, 1, 1]
    for each, other in zip((rays, visibility, world), flip(rays, visibility, world), strict=True):
        each[flipped] = other[flipped]
    angle = rng.normal(0, 1, count) * rng.choice([0.05, 0.3], count)
    about = Rotation.from_rotvec(angle[:, None] * [0, 0, 1]).as_matrix()[:, None]
    world, points, rays = world @ about, points @ about, rays @ about[..., :2, :2]
    return _as_seen(rays, visibility, world, points, rng)


def _as_seen(
    rays: np.ndarray, visibility: np.ndarray, world: np.ndarray, points: np.ndarray, rng: np.random.Generator
) -> Batch:
    """With a lens not quite known, world landmarks turned, scaled or missing, sides exchanged for a while, photos."""
    count, twin = len(rays), mirror_permutation()
    lens = np.where(rng.random(count) < 0.5, rng.normal(0, 0.3, count), 0.0)
    rays = rays * np.exp(lens)[:, None, None, None]
    turn = Rotation.from_rotvec(rng.normal(0, 0.08, (count, 3))).as_matrix()[:, None]
    world = (world @ turn) * rng.normal(1, 0.05, (count, 1, 1, 1))
    rays, visibility, world = rays.copy(), visibility.copy(), world.copy()
    for at in np.flatnonzero(rng.random(count) < 0.06):
        first, last = sorted(rng.integers(0, FRAMES + 1, 2))
        part = slice(first, last)
        rays[at, part], visibility[at, part] = rays[at, part][:, twin], visibility[at, part][:, twin]
        world[at, part] = world[at, part][:, twin] * [1, 1, -1]
    points = points.copy()
    for at in np.flatnonzero(rng.random(count) < 0.05):  # a photo
        frame = rng.integers(FRAMES)
        for each in (rays, visibility, world, points):
            each[at] = each[at, frame]
    world[rng.random(count) < 0.2] = 0
    hips = rays[..., HIPS, :].mean(axis=-2)
    axes = rotation_to_ray(np.concatenate([hips, np.ones_like(hips[..., :1])], -1))
    return ray_view(rays, axes), visibility, world, points


def _sideways(marks: np.ndarray) -> np.ndarray:
    """(..., 3) from right to left, hips and shoulders."""
    return np.asarray(marks[..., 11, :] - marks[..., 12, :] + marks[..., 23, :] - marks[..., 24, :])
