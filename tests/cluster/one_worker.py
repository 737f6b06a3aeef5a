"""The command line with one worker: what a laptop does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def run_dataset(clips: Sequence[Path], folder: Path) -> Path:
    """The dataset of these clips."""
    return run_workers(clips, folder, 1)


def run_workers(clips: Sequence[Path], folder: Path, workers: int) -> Path:
    """The dataset of these clips, by so many worker processes."""
    out = folder / "dataset"
    words = ["-m", "pipeline", "run", *map(str, clips), "--out", str(out), "--workers", str(workers)]
    subprocess.run([sys.executable, *words], check=True)
    return out
