"""A few flat pictures with random bodies, and a network small enough for tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pipeline.body.model import open_body_path
from schemas.conventions import VECTOR_SIZE
from schemas.portraits import PORTRAIT_PX, PORTRAITS
from trainer.tracknet.config import NetworkSettings, PictureSettings, TrackNetSettings, TrainSettings

BODY_FILE = str(open_body_path())
NETWORK = NetworkSettings(
    image_px=32, blocks=(1, 1, 1, 1), width=8, bottleneck=False, hidden=64, dropout=0.1, scaling="hmr"
)
SETTINGS = TrackNetSettings(
    network=NETWORK,
    pictures=PictureSettings(validation_share=0.3),
    train=TrainSettings(
        batch_size=4, max_steps=6, learning_rate=1e-3, warm_up_steps=2, log_every=1, validate_every=3
    ),
)


def vector(rng: np.random.Generator) -> np.ndarray:
    """(85,) an upright body with bent joints."""
    values = np.concatenate(
        [[0.8, *rng.uniform(-0.1, 0.1, 2)], rng.normal(0, 0.2, 72), rng.normal(0, 0.5, 10)]
    )
    values[3:6] += [np.pi, 0, 0]
    assert values.shape == (VECTOR_SIZE,)
    return values


def write_pictures(path: Path, count: int = 10, seed: int = 0) -> Path:
    """Portraits of `count` people: a rectangle in a colour of its own each."""
    rng, rows = np.random.default_rng(seed), []
    for number in range(count):
        image = np.full((PORTRAIT_PX, PORTRAIT_PX, 3), 90, np.uint8)
        mask = np.zeros((PORTRAIT_PX, PORTRAIT_PX), np.uint8)
        mask[40:216, 90:170] = 1
        image[mask > 0] = rng.integers(0, 255, 3)
        rows.append(
            {
                "sample_id": f"s{number}/000", "source_id": f"s{number}", "mask": mask, "body_vector": vector(rng),
                "image": cv2.imencode(".png", image)[1].tobytes(),
            }
        )  # fmt: skip
    PORTRAITS.write(rows, path)
    return path
