"""A textured sphere that turns between frames, as rows of `samples`: everything about it is known in closed form.

The base depth is that of a sphere with another radius, so the true offset is known too: what training should find.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL, VECTOR_SIZE
from tests.support.sample_rows import intrinsics

CENTRE_M = np.array([0.0, 0.0, 4.5])
RADIUS_M = 0.6


def rays(side_px: int) -> np.ndarray:
    """(side, side, 3) K^-1 (u, v, 1) at pixel centres."""
    K = map_intrinsics(side_px)
    v, u = np.mgrid[0:side_px, 0:side_px] + 0.5
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], axis=-1)


def map_intrinsics(side_px: int) -> np.ndarray:
    """The medium camera at another size."""
    scale = side_px / IMAGE_PX
    return intrinsics() * np.array([[scale], [scale], [1.0]])


def sphere_depth(side_px: int, radius_m: float) -> np.ndarray:
    """(side, side) z of the nearer intersection of each pixel's ray with the sphere; 0 where there is none."""
    ray = rays(side_px)
    a, b = (ray**2).sum(-1), ray @ CENTRE_M
    discriminant = b**2 - a * (CENTRE_M @ CENTRE_M - radius_m**2)
    return np.where(discriminant > 0, (b - np.sqrt(np.maximum(discriminant, 0))) / a, 0.0)


def texture(direction: np.ndarray, seed: int) -> np.ndarray:
    """(..., 3) colours in [0, 1] of unit directions from the centre, smooth enough for 256 pixels."""
    rng = np.random.default_rng(seed)
    colour = np.zeros(direction.shape)
    for _ in range(12):
        wave = rng.standard_normal((3, 3)) * 9
        colour += np.sin(direction @ wave.T + rng.uniform(0, 6, 3))
    return 0.5 + 0.5 * np.tanh(colour / 3)


def picture(turn: Rotation, seed: int, side_px: int = IMAGE_PX, radius_m: float = RADIUS_M) -> np.ndarray:
    """(side, side, 3) float: the sphere turned by `turn` about its centre, black around."""
    depth = sphere_depth(side_px, radius_m)
    seen, colour = depth > 0, np.zeros((side_px, side_px, 3))
    point = rays(side_px)[seen] * depth[seen][:, None]
    colour[seen] = texture(turn.inv().apply((point - CENTRE_M) / radius_m), seed)
    return colour


def sphere_row(
    seed: int,
    *,
    base_radius_m: float = RADIUS_M,
    turns_deg: tuple[float, ...] = (10.0, -14.0),
    track: str = "clip/p00",
) -> dict[str, Any]:
    """A sample of the sphere: target unturned, references turned about axes drawn from the seed.

    The motion is the true rigid one about the sphere's centre, applied to the points of the base surface.
    """
    rng = np.random.default_rng(seed)
    depth = sphere_depth(MAP_PX, base_radius_m)
    references = []
    for number, turn_deg in enumerate(turns_deg):
        axis = rng.standard_normal(3) * [0.3, 1.0, 0.3]
        turn = Rotation.from_rotvec(np.radians(turn_deg) * axis / np.linalg.norm(axis))
        references.append(_reference(turn, depth, seed, 10 * seed + number + 1))
    return {
        "sample_id": f"{track}/{10 * seed:06d}",
        "source_id": "sphere",
        "clip_id": track.partition("/")[0],
        "track_id": track,
        "frame_index": 10 * seed,
        "pts_s": seed / 3,
        "image": png(picture(Rotation.identity(), seed)),
        "K": intrinsics(),
        "input_depth": sphere_depth(IMAGE_PX, base_radius_m),
        "base_depth": depth,
        "body_vector": np.zeros(VECTOR_SIZE, np.float32),
        "reference_count": len(references),
        "mean_baseline_m": float(np.mean([row["mean_baseline_m"] for row in references])),
        "valid_fraction": float(np.mean([row["valid_fraction"] for row in references])),
        "references": references,
    }


def _reference(turn: Rotation, depth: np.ndarray, seed: int, frame_index: int) -> dict[str, Any]:
    mask = depth > 0
    point = rays(MAP_PX) * depth[..., None]
    moved = turn.apply((point - CENTRE_M).reshape(-1, 3)).reshape(point.shape) + CENTRE_M
    motion = np.where(
        mask[..., None],
        np.concatenate([np.broadcast_to(turn.as_rotvec(), point.shape), moved - point], -1),
        0,
    )
    outward = moved - CENTRE_M
    visible = mask & ((outward * moved).sum(-1) < 0)
    baseline_m = float(np.linalg.norm(CENTRE_M - turn.apply(CENTRE_M)))
    share = float(visible.sum() / mask.sum())
    return {
        "frame_index": frame_index,
        "pts_s": frame_index / 30,
        "image": png(picture(turn, seed)),
        "K": intrinsics(),
        "motion": motion.astype(np.float16),
        "validity": np.where(visible, VALID_ALL, np.where(mask, 1, 0)).astype(np.uint8),
        **dict.fromkeys(
            ("mean_baseline_m", "median_baseline_m", "p10_baseline_m", "p90_baseline_m"), baseline_m
        ),
        "rotation_deg": float(np.degrees(turn.magnitude())),
        "parallax_px": 5.0,
        "baseline_over_depth": baseline_m / 4.5,
        "visible_fraction": share,
        "valid_fraction": share,
    }


def png(image: np.ndarray) -> bytes:
    """An image in [0, 1] as PNG bytes: image cells may hold either, and PNG is exact."""
    _, data = cv2.imencode(".png", np.rint(255 * image[..., ::-1]).astype(np.uint8))
    return bytes(data.tobytes())
