"""Spark on a cluster of this machine: a master and two executors, each a process of its own with one core."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.runner.spark_session import check_parts
from schemas.errors import EngineError
from tests.cluster import Unavailable
from tests.cluster.loop import plain_command
from tests.soak.kills import processes_with

MASTER = "local-cluster[2,1,2048]"
EXECUTOR = "CoarseGrainedExecutorBackend"
"""In an executor's command line."""
LIMIT_S = 900.0


def require_spark() -> None:
    """Raises Unavailable, saying what is missing, where PySpark or Java is."""
    try:
        check_parts()
    except EngineError as error:
        raise Unavailable(str(error)) from None


def run_dataset(
    clips: Sequence[Path],
    folder: Path,
    command: Callable[..., list[str]] = plain_command,
    kill_after: int | None = None,
) -> Path:
    """The dataset of these clips. An executor is killed once `kill_after` units are finished."""
    require_spark()
    out = folder / "dataset"
    words = command("run", *clips, "--out", out, "--engine", "spark", "--master", MASTER)
    with subprocess.Popen(words, start_new_session=True) as driver:
        try:
            if kill_after is not None:
                kill_executor(driver, out, kill_after)
            assert driver.wait(LIMIT_S) == 0
        finally:
            driver.terminate()
    return out


def kill_executor(driver: subprocess.Popen, out: Path, after: int) -> None:
    """kill -9 of one executor while it works, once so many units are finished."""
    begin_s = time.monotonic()
    while sum(1 for _ in out.glob("meta/records/*.json")) < after:
        assert driver.poll() is None, "it ended before"
        assert time.monotonic() - begin_s < LIMIT_S
        time.sleep(0.05)
    executors = processes_with(EXECUTOR, driver.pid)
    assert len(executors) == 2, executors
    os.kill(executors[0], signal.SIGKILL)
