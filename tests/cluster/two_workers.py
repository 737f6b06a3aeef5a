"""The command line with two worker processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.cluster.one_worker import run_workers


def run_dataset(clips: Sequence[Path], folder: Path) -> Path:
    """The dataset of these clips."""
    return run_workers(clips, folder, 2)
