"""`python -m tests.soak.memory [--minutes 10] [--fps 10] [--still-frames 20000]`: peak memory by a clip's length.

Cuts and tracks the demo clip, played to and fro, for 10 s, 20 s (the longest unit of work) and some minutes; then a
camera that stands still before an empty room. Every length has a process of its own. Writes build/memory.json; 0 only
if the longest clip takes no more than a tenth above the longest unit, and so the still camera's.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from pipeline.assets import asset_path
from pipeline.config import Settings
from pipeline.records import ClipRef
from pipeline.steps import track_segment
from pipeline.toolbox import Toolbox
from pipeline.video.decode import decode
from pipeline.video.shots import segments_of
from tests.support.clips import Paint, even_times, write_clip

OUTPUT = Path(__file__).parents[2] / "build" / "memory.json"
SIDE_PX = 640
UNIT_S = 20.0
MAX_GROWTH = 1.1
STILL_FPS = 30.0


def main() -> int:
    """Measures every length; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.memory", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=10.0)
    parser.add_argument("--still-frames", type=int, default=20_000)
    parser.add_argument(
        "--clip", type=Path, help="measure this clip in this process (what the command itself calls)"
    )
    options = parser.parse_args()
    if options.clip is not None:
        print(json.dumps(tracked(options.clip)))
        return 0
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="humandepth-memory-") as folder:
        paint, clip = to_and_fro(options.fps), Path(folder) / "clip.mp4"
        for seconds in (UNIT_S / 2, UNIT_S, 60 * options.minutes):
            write_clip(clip, paint, even_times(round(seconds * options.fps), options.fps), key_every=60)
            found[f"{seconds:g} s at {options.fps:g} fps"] = measured(clip)
        for frames in (max(1, options.still_frames // 20), options.still_frames):
            write_clip(clip, empty_room(), even_times(frames, STILL_FPS), key_every=250)
            found[f"{frames} frames of an empty room"] = measured(clip)
    for name, figures in found.items():
        print(name.ljust(32), *(f"{key} {value:.1f}" for key, value in figures.items()))
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(found, indent=1) + "\n")
    _, unit, longest, few, many = (figures["peak_mb"] for figures in found.values())
    growth = longest / unit, many / few
    print(f"longest clip over longest unit {growth[0]:.2f}; many empty frames over few {growth[1]:.2f}")
    return 0 if max(growth) <= MAX_GROWTH else 1


def tracked(path: Path) -> dict[str, float]:
    """Cuts a clip and tracks all its units, each dropped before the next: what one worker does with it."""
    settings, begin_s = Settings(), time.monotonic()
    toolbox = Toolbox(settings)
    segments = segments_of(ClipRef(clip_id="clip", uri=str(path), source_id="clip"), settings.video)
    frames = people = 0
    for segment in segments:
        found = track_segment(segment, toolbox, settings)
        frames += found.frames_read
        people += len(found.tracks)
    peak_kb = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak_kb is not None
    return {
        "peak_mb": int(peak_kb[1]) / 1e3,
        "frames": frames,
        "units": len(segments),
        "tracks": people,
        "seconds": time.monotonic() - begin_s,
    }


def measured(clip: Path) -> dict[str, float]:
    """`tracked` in a fresh process."""
    command = [sys.executable, "-m", "tests.soak.memory", "--clip", str(clip)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(clip.name, figures, flush=True)
    return figures


def to_and_fro(fps: float) -> Paint:
    """The demo clip forwards and backwards for ever, smaller: nobody ever jumps."""
    frames = decode(asset_path("demo.mp4"), sample_fps=fps, max_side_px=SIDE_PX)
    once = [np.ascontiguousarray(frame.image) for frame in frames]
    there_and_back = [*once, *once[-2:0:-1]]
    return lambda number: there_and_back[number % len(there_and_back)]


def empty_room(hw: tuple[int, int] = (48, 64)) -> Paint:
    """A picture that never changes."""
    still = cv2.resize(np.random.default_rng(6666).integers(60, 190, (6, 8, 3), np.uint8), hw[::-1])
    return lambda number: still


if __name__ == "__main__":
    sys.exit(main())
