"""What the landmark network sees of a scene, kept on disk: an experiment repeats the fit alone."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np

from pipeline.config import TrackingSettings
from pipeline.tracking.people import LandmarkModels, Observations, follow_people
from tests.accuracy.filming import Look, filmed
from tests.accuracy.scenes import MotionScene

SEEN = Path(tempfile.gettempdir()) / "humandepth-accuracy"
ARRAYS = [field.name for field in fields(Observations) if field.name not in ("image_hw", "portraits")]


def observed(
    scene: MotionScene, models: LandmarkModels, settings: TrackingSettings, folder: Path
) -> Observations | None:
    """The person of a scene, None where nobody is found; from `folder` where the same film has been seen before.

    Where the person is lost and found again the longest part counts.
    """
    path = folder / f"{_digest(scene, settings)}.npz"
    if not path.exists():
        rng = np.random.default_rng(scene.seed)
        look = Look.of(rng, scene.body, scene.performance.camera.hw, backlit=scene.backlit)
        people = follow_people(filmed(scene.body, scene.performance, look, rng), models, settings)
        found = {"image_hw": np.array(scene.performance.camera.hw)}
        if people:
            longest = max(people, key=len)
            found |= {name: getattr(longest, name) for name in ARRAYS}
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.tmp.npz")
        np.savez_compressed(unfinished, **found)
        unfinished.rename(path)
    with np.load(path, allow_pickle=False) as stored:
        if "xy_px" not in stored:
            return None
        height, width = (int(side) for side in stored["image_hw"])
        return Observations(image_hw=(height, width), **{name: stored[name] for name in ARRAYS})


def _digest(scene: MotionScene, settings: TrackingSettings) -> str:
    """A name for everything that the film and the landmarks depend on, but code."""
    performance = scene.performance
    digest = hashlib.sha256(f"{scene.kind} {scene.seed} {performance.camera.hw}".encode())
    digest.update(f"{settings.landmark_model} {settings.detect_every} {settings.detector_threshold}".encode())
    if settings.heavy_every_s > 0:
        digest.update(f"heavy every {settings.heavy_every_s} s".encode())
    if settings.mirrored_look:
        digest.update(b"mirrored look")
    if scene.own_lengths:
        digest.update(scene.body.template.tobytes())
    for array in (performance.pose, performance.betas, performance.translation, performance.camera.K):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]
