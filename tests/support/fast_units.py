"""Units that cost a fraction of a second: tiny clips, and a tracker that knows where the body is.

`python -m tests.support.fast_units run MANIFEST --out FOLDER ...` is the real command line with that tracker. Words in
a clip's id make its unit misbehave: `hang`, `crash`, `bug`, `nobody`.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from pipeline.config import Settings, preset
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation
from pipeline.method.resources import Resources
from pipeline.records import Footage, Frame, Quality, Track
from schemas.conventions import IMAGE_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_SIZE
from schemas.settings import with_overrides
from tests.support.clips import even_times, moving_blob, write_clip

FPS = 15.0
FRAMES = 12
SIDE_PX = 96
DEPTH_M = 5.0
STARTS = "HUMANDEPTH_TEST_STARTS"
"""Environment variable: a file that gets one line for every unit that is begun."""
SETTINGS = (
    "rendering.rasterizer=compiled",
    "pairs.candidate_gaps_s=[0.2]",
    "pairs.target_stride=6",
    "pairs.max_references=2",
    "refine.mode=off",
)


class ScriptedTracker:
    """One person in the middle of the picture who turns by 60 degrees a second; nothing is looked at."""

    def track(
        self,
        frames: Iterable[Frame],
        footage: Footage,
        *,
        on_progress: object = None,
    ) -> list[Track]:
        """See `pipeline.tracking.tracker.Tracker`."""
        unit_id = footage.unit_id
        _note_start(unit_id)
        _misbehave(unit_id)
        index, pts_s = zip(*[(frame.index, frame.pts_s) for frame in frames])
        if "nobody" in unit_id:
            return []
        count, times_s = len(index), np.array(pts_s)
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(unit_id.encode()).digest()[:8], "big"))
        heading, betas = rng.uniform(-0.5, 0.5), rng.normal(scale=0.5, size=10)
        focal = 500.0 / 224.0 * IMAGE_PX
        vector = np.zeros((count, VECTOR_SIZE))
        vector[:, VECTOR_CAMERA] = [focal / (0.5 * IMAGE_PX * DEPTH_M), 0.0, 0.1]
        vector[:, VECTOR_BETAS] = betas
        vector[:, 3 + 3 * 16 + 2], vector[:, 3 + 3 * 17 + 2] = -1.1, 1.1  # arms down from the T pose
        for at, turn in enumerate(heading + np.radians(60.0) * times_s):
            facing = rotation_from_rotvec(np.array([np.pi, 0, 0])) @ rotation_from_rotvec(
                np.array([0, turn, 0])
            )
            vector[at, 3:6] = rotvec_from_rotation(facing)
        ones = np.ones(count)
        quality = Quality(
            detector_score=ones, reprojection_error=0.01 * ones, silhouette_iou=0.9 * ones,
            acceleration_mm=ones, border_distance_px=5 * ones, overlap=0 * ones,
        )  # fmt: skip
        K = np.array([[focal, 0, IMAGE_PX / 2], [0, focal, IMAGE_PX / 2], [0, 0, 1.0]])
        return [
            Track(
                track_id=f"{unit_id}/p00",
                person_index=0,
                frame_index=np.array(index),
                pts_s=times_s,
                box_px=np.tile([30.0, 10.0, 66.0, 90.0], (count, 1)),
                crop_px=np.tile([SIDE_PX / 2, SIDE_PX / 2, SIDE_PX], (count, 1)),
                vector=vector,
                K=np.tile(K, (count, 1, 1)),
                quality=quality,
                reason=("",) * count,
            )
        ]


class FastResources(Resources):
    """The product's resources with another tracker."""

    @cached_property
    def tracker(self) -> ScriptedTracker:  # type: ignore[override]
        """The scripted one."""
        return ScriptedTracker()


@lru_cache(maxsize=1)
def fast_resources(settings: Settings) -> Resources:
    """One a process; named by its module, so that it travels to workers."""
    return FastResources(settings)


def write_clips(folder: Path, ids: Iterable[str], source_of: str = "") -> Path:
    """A manifest of tiny clips, each with a file of its own; every clip is its own source unless one is given."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, clip_id in enumerate(ids):
        path = folder / f"{clip_id}.mp4"
        if "missing" not in clip_id:
            paint = moving_blob((SIDE_PX, SIDE_PX), 1.0 + 0.1 * (number % 7))
            write_clip(path, paint, even_times(FRAMES, FPS))
        rows.append({"clip_id": clip_id, "source_id": source_of or f"source-{clip_id}", "uri": str(path)})
    return write_rows(folder / "clips.csv", rows)


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV manifest."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["clip_id", "source_id", "uri"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def fast_settings(*overrides: str) -> Settings:
    """Settings under which a unit is cheap."""
    return with_overrides(preset("paper"), [*SETTINGS, *overrides])


def fast_command(*arguments: str | Path) -> list[str]:
    """The command line of a run with this tracker. Settings among the arguments win over its own."""
    overrides = [text for setting in SETTINGS for text in ("--set", setting)]
    name, *rest = map(str, arguments)
    return [sys.executable, "-m", "tests.support.fast_units", name, *overrides, *rest]


def fast_run(*arguments: str | Path, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """`python -m pipeline run ...` to its end."""
    return subprocess.run(
        fast_command("run", *arguments), capture_output=True, text=True, timeout=timeout_s, check=False
    )


def _note_start(unit_id: str) -> None:
    if os.environ.get(STARTS):
        with open(os.environ[STARTS], "a") as file:
            file.write(f"{unit_id}\n")


def _misbehave(unit_id: str) -> None:
    if "hang" in unit_id:
        time.sleep(3600)
    if "crash" in unit_id:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "bug" in unit_id:
        raise ZeroDivisionError("a bug that was planted")


if __name__ == "__main__":
    import pipeline.runner.driver
    from pipeline.commands.main import main
    from tests.support.fast_units import fast_resources as named_resources

    pipeline.runner.driver.run = functools.partial(pipeline.runner.driver.run, make_resources=named_resources)  # type: ignore[assignment]
    sys.exit(main())
