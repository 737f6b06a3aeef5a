"""The plain loop: one process, no framework."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def plain_command(*words: str | Path) -> list[str]:
    """`python -m pipeline ...`."""
    return [sys.executable, "-m", "pipeline", *map(str, words)]


def run_dataset(
    clips: Sequence[Path], folder: Path, command: Callable[..., list[str]] = plain_command
) -> Path:
    """The dataset of these clips. `command` makes the command line of `run`."""
    out = folder / "dataset"
    subprocess.run(command("run", *clips, "--out", out, "--engine", "loop"), check=True)
    return out
