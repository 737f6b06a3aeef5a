"""Random but well-formed rows of `samples`."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL, VECTOR_SIZE


def sample_row(seed: int, *, references: int) -> dict[str, Any]:
    """A sample whose maps cover a disc and whose references are that many."""
    rng = np.random.default_rng(seed)
    frame_index = 10 * seed
    return {
        "sample_id": f"clip/p00/{frame_index:06d}",
        "source_id": "source",
        "clip_id": "clip",
        "track_id": "clip/p00",
        "frame_index": frame_index,
        "pts_s": frame_index / 30,
        "image": jpeg(rng),
        "K": intrinsics(),
        "input_depth": disc_depth(rng, IMAGE_PX),
        "base_depth": disc_depth(rng, MAP_PX),
        "body_vector": rng.standard_normal(VECTOR_SIZE).astype(np.float32),
        "reference_count": references,
        "mean_baseline_m": 0.8,
        "valid_fraction": 0.5,
        "references": [reference(rng, frame_index + 3 * (1 + at)) for at in range(references)],
    }


def reference(rng: np.random.Generator, frame_index: int) -> dict[str, Any]:
    """One reference of a sample."""
    mask = disc(MAP_PX)
    motion = np.where(mask[..., None], rng.standard_normal((MAP_PX, MAP_PX, 6)) * 0.1, 0).astype(np.float16)
    numbers = ("mean", "median", "p10", "p90")
    return {
        "frame_index": frame_index,
        "pts_s": frame_index / 30,
        "image": jpeg(rng),
        "K": intrinsics(),
        "motion": motion,
        "validity": np.where(mask, VALID_ALL, 0).astype(np.uint8),
        **{f"{name}_baseline_m": float(rng.uniform(0.5, 2)) for name in numbers},
        "rotation_deg": 12.0,
        "parallax_px": 5.0,
        "baseline_over_depth": 0.2,
        "visible_fraction": 0.7,
        "valid_fraction": 0.6,
    }


def intrinsics() -> np.ndarray:
    """The medium camera at image size."""
    focal = 500 / 224 * IMAGE_PX
    return np.array([[focal, 0, IMAGE_PX / 2], [0, focal, IMAGE_PX / 2], [0, 0, 1.0]])


def disc(side_px: int) -> np.ndarray:
    """(side, side) bool: a centred disc."""
    v, u = np.mgrid[0:side_px, 0:side_px] + 0.5 - side_px / 2
    return np.hypot(u, v) < side_px / 6


def disc_depth(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """(side, side) metres, 0 outside the disc."""
    return np.where(disc(side_px), 4.5 + 0.1 * rng.uniform(size=(side_px, side_px)), 0.0)


def jpeg(rng: np.random.Generator) -> bytes:
    """A smooth random colour picture."""
    small = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    _, data = cv2.imencode(".jpg", cv2.resize(small, (IMAGE_PX, IMAGE_PX), interpolation=cv2.INTER_CUBIC))
    return bytes(data.tobytes())
