"""Beam beyond one machine: a job service, and two pools that start a worker each, all of them own processes."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from schemas.dataset import SUMMARY_PATH
from tests.cluster.loop import plain_command
from tests.support.fast_units import STARTS

ROOT = Path(__file__).resolve().parents[2]
POOLS = 2
_START_LIMIT_S = 120.0


def run_dataset(
    clips: Sequence[Path], folder: Path, command: Callable[..., list[str]] = plain_command
) -> Path:
    """The dataset of these clips. Fails where one of the pools did nothing."""
    out = folder / "dataset"
    with pools_and_service(folder) as endpoint:
        options = ["--runner=PortableRunner", f"--job_endpoint={endpoint}"]
        subprocess.run(command("run", *clips, "--out", out, "--", *options), check=True)
    assert json.loads((out / SUMMARY_PATH).read_text())["workers"] == POOLS
    return out


@contextmanager
def pools_and_service(folder: Path, pools: int = POOLS) -> Iterator[str]:
    """The address of a job service with that many pools, which note the units they begin in `folder`/starts-N."""
    ports = free_ports(pools + 1)
    with ExitStack() as stack:
        for number, port in enumerate(ports[1:]):
            words = ["apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"]
            stack.enter_context(
                _process(folder, f"pool-{number}", words, {STARTS: f"{folder}/starts-{number}"})
            )
        addresses = [f"localhost:{port}" for port in ports[1:]]
        words = ["pipeline.runner.beam_service", str(ports[0]), *addresses]
        stack.enter_context(_process(folder, "service", words, {}))
        for port in ports:
            _await_port(port)
        yield f"localhost:{ports[0]}"


@contextmanager
def _process(folder: Path, name: str, words: Sequence[str], extra: dict[str, str]) -> Iterator[None]:
    """`python -m ...` with a log of its own, ended with the block. Pools start a `python` of the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **extra}
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *words], stdout=log, stderr=log, env=environment)
        try:
            yield
        finally:
            process.terminate()
            process.wait(60)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]


def _await_port(port: int) -> None:
    begin_s = time.monotonic()
    while True:
        try:
            return socket.create_connection(("localhost", port), timeout=1).close()
        except OSError:
            assert time.monotonic() - begin_s < _START_LIMIT_S, f"nobody listens at {port}"
            time.sleep(0.1)
