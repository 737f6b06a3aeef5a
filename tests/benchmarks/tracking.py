"""Tracking against the decoding and network calls that no tracker can do without; decoding against seeking."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2

from pipeline.assets import asset_path
from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.records import Footage, Frame
from pipeline.tracking.tracker import LandmarkTracker, landmark_models
from pipeline.video.decode import decode
from schemas.errors import AssetError
from tests.benchmarks.measuring import Benchmark, Call, UnavailableError
from tests.support.clips import even_times, moving_blob, write_clip

TRACKED_FRAMES = 60
STRIDE = 10


def benchmarks() -> list[Benchmark]:
    """Entries of build/benchmarks.json."""
    return [
        Benchmark(
            name="tracking_vs_inference",
            detail=(
                f"{TRACKED_FRAMES} frames of the demo clip, two people: decode, detect, landmarks, repair, fit, "
                "quality; peer: decode and one landmark call per person and frame"
            ),
            prepare=_tracking,
            max_rounds=5,
            budget_s=60.0,
        ),
        Benchmark(
            name="decode_vs_cv2_seek",
            detail=f"every {STRIDE}th frame of 300 (540x960, H.264): one forward pass; peer: cv2 seeks to each",
            prepare=_decoding,
            max_rounds=9,
        ),
    ]


def _tracking() -> tuple[Call, Call]:
    try:
        path, models = asset_path("demo.mp4"), landmark_models(Settings())
    except AssetError as error:
        raise UnavailableError(str(error)) from None
    body, settings = BodyModel.open_body(), Settings()

    def frames() -> Iterator[Frame]:
        return islice(decode(path, start_s=1.8), TRACKED_FRAMES)

    tracker = LandmarkTracker(body, settings, models)
    found = tracker.track_with_landmarks(frames(), Footage(unit_id="bench"))
    people = len(found)
    assert people == 2
    first = next(frames())
    regions = [models.detect_people(first.image, 0.6).region(index) for index in range(people)]

    def bare() -> None:
        looking = list(regions)
        for frame in frames():
            looking = [models.landmarks(frame.image, region).next_region for region in looking]

    return (lambda: tracker.track(frames(), Footage(unit_id="bench"))), bare


def _decoding() -> tuple[Call, Call]:
    folder = Path(tempfile.mkdtemp(prefix="humandepth-bench-"))
    path = write_clip(folder / "clip.mp4", moving_blob((540, 960)), even_times(300), key_every=60)

    def ours() -> int:
        return sum(frame.image.shape[0] > 0 for frame in decode(path, sample_fps=30 / STRIDE))

    def seeking() -> int:
        capture, count = cv2.VideoCapture(str(path)), 0
        for number in range(0, 300, STRIDE):
            capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            done, image = capture.read()
            count += bool(done) and cv2.cvtColor(image, cv2.COLOR_BGR2RGB).shape[0] > 0
        capture.release()
        return count

    assert ours() == seeking() == 300 // STRIDE
    return ours, seeking
