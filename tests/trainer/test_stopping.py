"""SIGTERM ends a run with 143 wherever it is; what is begun is finished; what does not come back is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from tests.trainer.test_loading import ROOT, started_fit
from trainer.checkpoint import load_checkpoint
from trainer.stopping import SigtermInterrupt, StoppedError, sigterm_stops


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        sphere_row(seed, base_radius_m=0.57, turns_deg=(9.0,), track=f"clip/p0{seed % 2}")
        for seed in range(6)
    ]
    return write_dataset(tmp_path_factory.mktemp("stopping") / "dataset", rows)


def tell() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_what_is_being_finished_is_finished_first() -> None:
    done: list[str] = []
    with pytest.raises(StoppedError):
        _told_in_a_step(done)
    assert done == ["step", "loop"]


def _told_in_a_step(done: list[str]) -> None:
    with sigterm_stops() as stopping:
        with stopping.finishing(30):
            tell()
            time.sleep(0.01)
            done.append("step")
        assert stopping.told
        done.append("loop")
        with stopping.interrupted():  # told before: not even begun
            done.append("validation")


def test_elsewhere_it_interrupts_at_once_and_once() -> None:
    done: list[str] = []
    with sigterm_stops() as stopping:
        with pytest.raises(SigtermInterrupt):
            tell()
        tell()  # a second one changes nothing: the first is being acted on
        done.append("saved")
        assert stopping.told
    assert done == ["saved"]


def test_handlers_are_put_back_and_other_threads_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with sigterm_stops():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
    seen: list[object] = []

    def elsewhere() -> None:
        with sigterm_stops() as stopping:
            seen.extend([signal.getsignal(signal.SIGTERM), stopping.told])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [before, False]


STUCK = """
import hashlib, os, signal, threading, time
from trainer import stopping
def told():
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=told).start()
with stopping.sigterm_stops() as stop:
    stop._grace_s = 1.0
    with stop.{section}:
        hashlib.pbkdf2_hmac("sha256", b"one call", b"of minutes", 10**9)  # into a library, which no signal interrupts
"""


@pytest.mark.parametrize("section", ["interrupted()", "finishing(1.5)", "interrupted(False)"])
def test_a_call_that_does_not_come_back_is_ended(section: str) -> None:
    begin = time.monotonic()
    code = STUCK.format(section=section)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 143
    assert "stopped by SIGTERM" in done.stderr
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize("wait_s", [0.4, 1.5, 4.0, 6.5, 9.0, 12.0])
def test_sigterm_ends_fit_with_143_at_any_moment(root: Path, tmp_path: Path, wait_s: float) -> None:
    """Imports, first batches, steps, validation and checkpoints: what it is at these moments depends on the machine."""
    changes = ["data.workers=2", "train.validate_every=1", "data.split_by=track", "data.validation_share=0.5"]
    with started_fit(root, tmp_path, *changes) as process:
        time.sleep(wait_s)
        process.terminate()
        said = process.communicate(timeout=60)[1]
    # Before the first line of ours the system's own end by SIGTERM, which a shell calls 143 too.
    assert process.returncode in ((143, -signal.SIGTERM) if wait_s < 1 else (143,)), said
    if "holds a checkpoint" in said:
        assert load_checkpoint(tmp_path).step >= 1


IMPORTING = """
import os, signal, sys
from trainer import cli
def imports(options):
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    except BaseException:  # as torch does around parts of its import
        pass
    return 0
cli._export = imports
sys.exit(cli.main(["export", "--checkpoint", "a", "--out", "b.onnx"]))
"""


def test_commands_end_with_143_while_they_import() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 143, done.stderr
    assert done.stderr == "error: stopped by SIGTERM.\n"


def test_an_import_that_swallowed_the_interrupt_is_no_other_error() -> None:
    def swallow() -> None:
        with contextlib.suppress(BaseException):
            tell()
        raise ImportError("cannot load module more than once per process")

    with pytest.raises(StoppedError), sigterm_stops() as stopping, stopping.interrupted():
        swallow()
    with pytest.raises(ImportError), sigterm_stops():
        raise ImportError("no such module")
