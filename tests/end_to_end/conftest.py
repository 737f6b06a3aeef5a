"""A short piece of the demo clip, preprocessed once through the real command line."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.assets import asset_path
from pipeline.commands.main import main as pipeline_main
from tests.support.kernels import compile_once
from tests.support.made_once import made_once
from trainer.cli import main as trainer_main

CLIP = {"clip_id": "short", "source_id": "demo", "start_s": "2.0", "end_s": "2.7", "licence": "BSD-3-Clause"}
FAST = [
    "--set",
    "tracking.iterations=[25, 35]",
    "--set",
    "pairs.target_stride=2",
    "--set",
    "pairs.max_references=2",
    "--set",
    "refine.levels_px=[96]",
    "--set",
    "refine.iterations=2",
]
"""Short fits, short refinement and few pairs: these tests are about the chain, not about its figures."""


def command(*arguments: str | Path, timeout_s: float = 400) -> subprocess.CompletedProcess[str]:
    """Runs `python -m ...` and returns what it printed."""
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def write_manifest(path: Path, rows: list[dict[str, str]]) -> Path:
    """A CSV manifest of clips."""
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, ["clip_id", "source_id", "uri", "start_s", "end_s", "licence"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def told(arguments: Sequence[str | Path], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and standard error of `python -m ...`, without a process of its own: an exception is a failure."""
    program, *rest = map(str, arguments)
    main = {"pipeline": pipeline_main, "trainer": trainer_main}[program]
    capsys.readouterr()
    try:
        code = main(rest)
    except SystemExit as ended:  # by argparse
        code = int(ended.code or 0)
    return code, capsys.readouterr().err


@pytest.fixture(scope="session")
def demo_clip() -> Path:
    """The demo clip out of the cache (`make test` fetches it)."""
    return asset_path("demo.mp4")


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("end_to_end")


@pytest.fixture(scope="session")
def manifest(work: Path, demo_clip: Path) -> Path:
    return write_manifest(work / "clips.csv", [CLIP | {"uri": str(demo_clip)}])


@pytest.fixture(scope="session")
def dataset(work: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the dataset of the short clip, which was made by one process, once for all tests."""

    def make(folder: Path) -> None:
        done = command("pipeline", "run", manifest, "--out", folder / "dataset", *FAST)
        assert done.returncode == 0, done.stdout + done.stderr

    made = made_once(tmp_path_factory, "short-clip", make)
    return Path(shutil.copytree(made / "dataset", work / "dataset"))


@pytest.fixture(scope="session", autouse=True)
def _kernels(tmp_path_factory: pytest.TempPathFactory) -> None:
    compile_once(tmp_path_factory)
