"""Do the same movements give the same bodies at another frame rate, or turned by a quarter through metadata?"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from pipeline.method.rendered_frames import body_from_vector
from pipeline.records import Frame, Track
from pipeline.video.decode import decode
from schemas.conventions import IMAGE_PX
from tests.accuracy.joints import Scene
from tests.support.clips import write_clip

CROP_HW = (IMAGE_PX, IMAGE_PX)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Distance between two tracks' vertices at the times both have, in millimetres, in camera coordinates."""

    frames: int
    mean_mm: float
    p95_mm: float
    turned_mean_mm: float
    """The same once each body's mean is taken away: pose and shape without place."""


def agreement(body: BodyModel, one: Track, other: Track) -> Agreement:
    """Compares at equal presentation times (to a millisecond)."""
    times = {round(1000 * pts_s): at for at, pts_s in enumerate(other.pts_s)}
    shared = [
        (at, times[round(1000 * pts_s)]) for at, pts_s in enumerate(one.pts_s) if round(1000 * pts_s) in times
    ]
    apart, turned = [], []
    for mine, theirs in shared:
        a, b = vertices(body, one, mine), vertices(body, other, theirs)
        apart.append(np.linalg.norm(a - b, axis=1))
        turned.append(np.linalg.norm((a - a.mean(axis=0)) - (b - b.mean(axis=0)), axis=1))
    distance = np.concatenate(apart)
    return Agreement(
        frames=len(shared),
        mean_mm=1000 * float(distance.mean()),
        p95_mm=1000 * float(np.percentile(distance, 95)),
        turned_mean_mm=1000 * float(np.concatenate(turned).mean()),
    )


def vertices(body: BodyModel, track: Track, at: int) -> np.ndarray:
    """(V, 3) metres in the camera of the whole image (crops share its axes)."""
    return body_from_vector(track.vector[at], Camera(track.K[at], CROP_HW), body).vertices


def sampled(frames: list[Frame], every: int) -> list[Frame]:
    """Every n-th frame with its own time, counted anew."""
    return [Frame(index=at, pts_s=frame.pts_s, image=frame.image) for at, frame in enumerate(frames[::every])]


def through_a_file(scene: Scene, rotation_deg: int) -> list[Frame]:
    """The scene's frames after a (nearly lossless) file whose pictures lie on their side and whose metadata says so."""
    pictures = [np.rot90(frame.image, -rotation_deg // 90) for frame in scene.frames]
    times = [frame.pts_s for frame in scene.frames]
    with tempfile.TemporaryDirectory() as folder:
        path = write_clip(
            Path(folder) / "clip.mp4",
            lambda at: np.ascontiguousarray(pictures[at]),
            times,
            pix_fmt="yuv444p",
            rotation_deg=float(rotation_deg) if rotation_deg else None,
            options={"crf": "4"},
        )
        return list(decode(path))
