"""kill -9 at random moments of a run, resume, and again; then the dataset must be that of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from tests.support.fast_units import STARTS, fast_command, fast_resources, fast_settings, write_clips

VICTIMS = {"unit": "multiprocessing.spawn"}
"""What the command lines of the processes hold that are killed; `driver` is the run itself."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Who is killed, in a run with how many workers, once how many more units are finished.

    A run survives the death of a unit's process, so its driver is killed one unit later.
    """

    victim: str
    workers: int
    after_units: int
    delay_s: float


@dataclass(frozen=True, kw_only=True)
class SoakResult:
    """What came of it."""

    kills: int
    units: int
    starts: int
    """Units begun, over all runs: more than `units` by what was redone."""
    redone_allowed: int
    undisturbed_hash: str
    final_hash: str
    problems: tuple[str, ...]


def random_kills(count: int, units: int, seed: int) -> Iterator[Kill]:
    """`count` kills that leave enough units for those after them."""
    rng = random.Random(seed)
    for number in range(count):
        workers = rng.choice((1, 2))
        victim = rng.choice(("driver", "driver", "unit"))
        most = max(1, units // count)
        yield Kill(
            victim=victim,
            workers=workers,
            after_units=rng.randint(0, most) if number else 1,
            delay_s=rng.uniform(0.0, 0.5),
        )


def soak(
    folder: Path, kills: list[Kill], *, units: int = 30, say: Callable[[str], None] = lambda line: None
) -> SoakResult:
    """Makes one dataset undisturbed and one through all those kills."""
    manifest = write_clips(folder / "clips", [f"clip-{number:03d}" for number in range(units)])
    undisturbed = folder / "undisturbed"
    run(
        clips_from_arguments([str(manifest)]),
        str(undisturbed),
        fast_settings(),
        make_resources=fast_resources,
    )
    out, starts = folder / "disturbed", folder / "starts"
    environment = {**os.environ, STARTS: str(starts)}
    allowed = 0
    for number, kill in enumerate(kills):
        code, hit = _run_and_kill(manifest, out, kill, environment)
        allowed += kill.workers + (kill.victim == "unit")
        say(
            f"{number + 1}/{len(kills)}: {kill.victim} killed: {hit}, exit code {code}, {_records(out)} units finished"
        )
    command = fast_command("run", manifest, "--out", out)
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return SoakResult(
        kills=len(kills),
        units=units,
        starts=len(starts.read_text().split()),
        redone_allowed=allowed,
        undisturbed_hash=Dataset.open(undisturbed).content_hash(),
        final_hash=Dataset.open(out).content_hash(),
        problems=tuple(Dataset.open(out).verify()),
    )


def _run_and_kill(manifest: Path, out: Path, kill: Kill, environment: dict[str, str]) -> tuple[int, bool]:
    command = fast_command("run", manifest, "--out", out, "--workers", str(kill.workers))
    driver = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    goal = _records(out) + kill.after_units
    while driver.poll() is None:
        victims = [driver.pid]
        if kill.victim != "driver":
            victims = processes_with(VICTIMS[kill.victim], driver.pid)
        if victims and _records(out) >= goal and processes_with(VICTIMS["unit"], driver.pid):
            time.sleep(kill.delay_s)
            orphans = processes_with("", driver.pid)
            try:
                os.kill(victims[-1], signal.SIGKILL)
            except ProcessLookupError:
                continue
            if kill.victim == "unit":
                _kill_driver_after(driver, out, _records(out) + 1)
            code = driver.wait(timeout=600)
            _await_end(orphans)
            return code, True
        time.sleep(0.02)
    return driver.wait(), False


def _kill_driver_after(driver: subprocess.Popen, out: Path, goal: int) -> None:
    while driver.poll() is None and _records(out) < goal:
        time.sleep(0.02)
    driver.kill()


def _await_end(pids: list[int], limit_s: float = 10.0) -> None:
    """No process of a run may outlive its driver for long: it would write beside the next."""
    begin_s = time.monotonic()
    while any(_is_alive(pid) for pid in pids):
        assert time.monotonic() - begin_s < limit_s, f"processes {pids} outlived their driver"
        time.sleep(0.05)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _records(out: Path) -> int:
    return sum(1 for _ in out.glob("meta/records/*.json"))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen, limit_s: float = 300) -> None:
    """Returns when the condition holds; fails when the process ends before, or never."""
    begin_s = time.monotonic()
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() - begin_s < limit_s
        time.sleep(0.02)


def processes_with(words: str, driver: int) -> list[int]:
    """Processes below a driver whose command line holds these words."""
    parents: dict[int, int] = {}
    lines: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            lines[int(folder.name)] = (
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            )
        except OSError:
            continue

    def is_below(pid: int) -> bool:
        return pid in parents and (parents[pid] == driver or is_below(parents[pid]))

    return sorted(pid for pid, line in lines.items() if words in line and line and is_below(pid))
