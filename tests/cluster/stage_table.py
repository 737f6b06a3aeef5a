"""`python -m tests.cluster.stage_table`: CPU seconds of each stage of a run on the demo clip, one thread.

What docs/clusters.md and `pipeline/runner/planning.py` multiply with (`STAGE_SHARES`, `BUILT_IN`).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from unittest import mock

import tests.support.one_thread  # noqa: F401

# isort: split
from pipeline.assets import asset_path
from pipeline.config import Settings
from pipeline.runner.driver import resolve
from pipeline.runner.units import UnitWork, cut_clip, render_unit, track_unit
from pipeline.video.source import clips_from_arguments


def measure(root: str) -> tuple[dict[str, float], int]:
    """CPU seconds by stage, and the frames that were read."""
    (clip,) = clips_from_arguments([str(asset_path("demo.mp4"))])
    work = UnitWork(settings=resolve(Settings()), root=root)
    seconds: dict[str, float] = {}
    frames = 0
    with mock.patch("pipeline.runner.stopwatch.time.monotonic", time.process_time):
        cut = cut_clip(work, clip)
        parts = [cut.spent.seconds]
        for segment in cut.todo:
            tracked, spent = track_unit(work, segment)
            frames += tracked.frames_read
            parts += [spent.seconds, render_unit(work, tracked)[1].seconds]
    for part in parts:
        for stage, spent_s in part.items():
            seconds[stage] = seconds.get(stage, 0.0) + spent_s
    return seconds, frames


def main() -> None:
    """Measures twice, the first time to compile and load everything, and prints the second."""
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="hd-stages-") as root:
            seconds, frames = measure(root)
            size = sum(path.stat().st_size for path in Path(root).glob("*/*.parquet"))
    total_s = sum(seconds.values())
    for stage, spent_s in seconds.items():
        print(f"{stage:8} {spent_s:7.2f} s {spent_s / total_s:6.3f} {1e3 * spent_s / frames:7.1f} ms a frame")
    print(
        f"{total_s:.1f} s, {frames} frames, {total_s / frames:.3f} s a frame, {size / frames:.0f} bytes a frame"
    )


if __name__ == "__main__":
    main()
