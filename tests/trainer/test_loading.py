"""Loading processes: the same batches in the same order, nothing in /dev/shm, and no waiting without limit."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from itertools import islice
from multiprocessing import active_children
from pathlib import Path

import pytest
import torch

from schemas.dataset import Dataset
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from trainer.batch import Batch, collate
from trainer.cli import main
from trainer.config import DataSettings
from trainer.data import Samples, read_index
from trainer.loading import Loader, LoadingError
from trainer.stopping import StoppedError, Stopping, sigterm_stops

ROOT = Path(__file__).resolve().parents[2]
PLACES = [[(0, 3), (0, 1)], [(0, 0), (1, 2)], [(1, 3), (2, 0)], [(2, 2), (2, 1)], [(3, 0), (3, 1)]]
ENDLESS = [[(0, 0)]] * 1000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    turns = [(9.0,), (9.0, -9.0), (8.0,), (7.0, 8.0)]
    rows = [sphere_row(seed, base_radius_m=0.57, turns_deg=turns[seed]) for seed in range(4)]
    return write_dataset(tmp_path_factory.mktemp("loading") / "dataset", rows)


@pytest.fixture(scope="module")
def samples(root: Path) -> Samples:
    return Samples(read_index(Dataset.open(root)), DataSettings(), seed=5, training=True)


def loading(
    samples: Samples,
    order: list[list[tuple[int, int]]],
    workers: int,
    *,
    time_limit_s: float = 60,
    stopping: Stopping | None = None,
) -> Loader:
    return Loader(samples, order, workers=workers, time_limit_s=time_limit_s, stopping=stopping or Stopping())


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def only_worker(loader: Loader) -> int:
    (worker,) = loader._workers
    assert worker.pid is not None
    return worker.pid


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_those_of_the_places_in_their_order(samples: Samples, workers: int) -> None:
    before = active_children()
    with loading(samples, PLACES, workers) as loader:
        found = list(loader)
    assert len(found) == len(PLACES)
    for places, batch in zip(PLACES, found, strict=True):
        expected = collate([samples[place] for place in places])
        for field in fields(Batch):
            value, wanted = getattr(batch, field.name), getattr(expected, field.name)
            assert torch.equal(value, wanted) if torch.is_tensor(wanted) else value == wanted, field.name
    assert active_children() == before


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system has no anonymous files of memory")
def test_batches_without_references_come_through_as_they_are(root: Path) -> None:
    """Where only known depth teaches none are read; their tensors are empty."""
    index = read_index(Dataset.open(root))
    samples = Samples(index, DataSettings(), seed=5, training=True, with_references=False)
    with loading(samples, PLACES, 1) as loader:
        found = list(loader)
    for places, batch in zip(PLACES, found, strict=True):
        expected = collate([samples[place] for place in places])
        assert batch.references.shape == (2, 0, *expected.references.shape[2:])
        for name in (field.name for field in fields(Batch)):
            one, other = getattr(batch, name), getattr(expected, name)
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def test_batches_lie_in_memory_of_their_own_that_is_given_back(samples: Samples) -> None:
    def mapped() -> int:
        return Path("/proc/self/maps").read_text().count("memfd:humandepth-batch")

    shared, open_files = set(os.listdir("/dev/shm")), len(os.listdir("/proc/self/fd"))
    with loading(samples, PLACES, 1) as loader:
        batch = next(loader)
        assert mapped() == 1
        assert set(os.listdir("/dev/shm")) <= shared
        kept = batch.motion
        del batch
        assert mapped() == 1  # one tensor keeps it
        del kept
        assert mapped() == 0
        assert len(list(loader)) == len(PLACES) - 1
    assert len(os.listdir("/proc/self/fd")) == open_files


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGKILL, r"SIGKILL, as the system does.*sample clip.*data\.workers=0"),
        (signal.SIGUSR2, "SIGUSR2"),
    ],
)
def test_a_loader_that_is_killed_ends_the_run_with_its_cause(
    samples: Samples, number: signal.Signals, expected: str
) -> None:
    with loading(samples, ENDLESS, 1) as loader:
        next(loader)
        os.kill(only_worker(loader), number)
        begin = time.monotonic()
        with pytest.raises(LoadingError, match=expected):
            list(islice(loader, 5))  # what had been loaded before comes first
        assert time.monotonic() - begin < 10


def test_sigterm_is_not_for_loaders(samples: Samples) -> None:
    """Clusters send it to every process of a job: the training process still has its checkpoint to write."""
    with loading(samples, PLACES, 1) as loader:
        next(loader)
        os.kill(only_worker(loader), signal.SIGTERM)
        assert len(list(loader)) == len(PLACES) - 1


def test_a_loader_that_hangs_is_waited_for_until_the_limit_and_killed(samples: Samples) -> None:
    with loading(samples, ENDLESS, 1, time_limit_s=1.0) as loader:
        next(loader)
        os.kill(only_worker(loader), signal.SIGSTOP)
        with pytest.raises(LoadingError, match=r"within 1 s.*data\.time_limit_s"):
            list(islice(loader, 5))
    assert not active_children()


class _Faulty(Samples):
    """A dataset whose code has a bug."""

    def __getitem__(self, at: tuple[int, int]) -> Batch:
        raise ZeroDivisionError("a bug")


def test_a_bug_in_a_loader_crashes_with_its_traceback(samples: Samples) -> None:
    faulty = _Faulty(samples.refs, DataSettings(), seed=0, training=True)
    with (
        loading(faulty, ENDLESS, 1) as loader,
        pytest.raises(RuntimeError, match=r"(?s)__getitem__.*ZeroDivisionError: a bug"),
    ):
        next(loader)


def test_sigterm_interrupts_the_wait_for_a_loader(samples: Samples) -> None:
    begin = time.monotonic()
    with (
        pytest.raises(StoppedError),
        sigterm_stops() as stopping,
        loading(samples, ENDLESS, 1, stopping=stopping) as loader,
    ):
        _wait_for_a_stopped_loader(loader)
    assert time.monotonic() - begin < 20
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def _wait_for_a_stopped_loader(loader: Loader) -> None:
    next(loader)
    os.kill(only_worker(loader), signal.SIGSTOP)
    threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    list(islice(loader, 5))


HANGS = """
import sys, time
from schemas.dataset import Dataset
from trainer.config import DataSettings
from trainer.data import Samples, read_index
from trainer.loading import Loader
from trainer.stopping import sigterm_stops
class Hanging(Samples):
    def __getitem__(self, at):
        time.sleep(600)
samples = Hanging(read_index(Dataset.open(sys.argv[1])), DataSettings(), seed=0, training=True)
with sigterm_stops() as stopping:
    next(Loader(samples, [[(0, 0)]], workers=0, time_limit_s=0.5, stopping=stopping))
"""


def test_loading_in_the_training_process_has_the_same_limit(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS, str(root)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "this process has not loaded sample clip/p00/000000" in done.stderr
    assert "data.time_limit_s" in done.stderr


def test_loaders_end_with_a_training_process_that_is_killed(root: Path, tmp_path: Path) -> None:
    with started_fit(root, tmp_path / "out", "data.workers=2") as process:
        assert _comes(lambda: len(children_of(process.pid)) == 2)
        loaders = children_of(process.pid)
        process.kill()
        process.wait(timeout=30)
    assert _comes(lambda: not any(_runs(pid) for pid in loaders))


def _runs(pid: int) -> bool:
    """Whether it does; one that has ended and that nobody has asked about yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _comes(look: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 120
    while not look() and time.monotonic() < deadline:
        time.sleep(0.05)
    return look()


def fit_command(root: Path, out: Path, *changes: str) -> list[str]:
    given = ["model.width=8", "model.stem_width=8", "model.downs=3", "data.validation_share=0", *changes]
    command = [sys.executable, "-m", "trainer", "fit", str(root), "--out", str(out), "--preset", "small"]
    return [*command, "--device", "cpu", *(part for change in given for part in ("--set", change))]


class started_fit:
    """`python -m trainer fit` as a user starts it, killed at the end of the context."""

    def __init__(self, root: Path, out: Path, *changes: str) -> None:
        self._command = fit_command(root, out, *changes)

    def __enter__(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._command,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        return self._process

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate(timeout=60)
        if self._process.stderr is not None:
            self._process.stderr.close()


def _may_unshare() -> bool:
    """Whether this user may have a /dev/shm of their own."""
    if shutil.which("unshare") is None:
        return False
    tried = ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /dev/shm"]
    return subprocess.run(tried, capture_output=True).returncode == 0


@pytest.mark.parametrize("size", ["64m", "1m"])
def test_fit_trains_with_a_small_dev_shm(root: Path, tmp_path: Path, size: str) -> None:
    """As in a container: batches of 60 MB, of which several are on their way."""
    if not _may_unshare():
        pytest.skip("a mount namespace of its own (unshare -m, as root) is not permitted here")
    fit = fit_command(root, tmp_path / "out", "data.workers=2", "train.max_steps=2", "train.batch_size=8")
    mounted = f'mount -t tmpfs -o size={size} tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", *fit],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "ended as planned: 2 of 2 steps" in done.stderr


def test_the_time_limit_is_checked(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*fit_command(root, tmp_path, "data.time_limit_s=0")[3:]]) == 2
    assert "data.time_limit_s" in capsys.readouterr().err
