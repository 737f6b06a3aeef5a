"""The same dataset however it is made: disturbed by kill -9, in another order, in a plain loop, by two workers."""

from __future__ import annotations

import fcntl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.dataset.fingerprint import fingerprint
from pipeline.dataset.unit_sink import UnitSink
from pipeline.method.segment import process_segment
from pipeline.runner.driver import resolve, run
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from schemas.dataset import Dataset
from tests.soak.kills import Kill, processes_with, soak
from tests.support.fast_units import fast_command, fast_resources, fast_run, fast_settings, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models


def test_killed_and_resumed_is_the_same_dataset(tmp_path: Path) -> None:
    """The short form of `make soak`: a unit's process of two, the driver of two, the unit's process of one."""
    kills = [
        Kill(victim="unit", workers=2, after_units=2, delay_s=0.29),
        Kill(victim="driver", workers=2, after_units=3, delay_s=0.05),
        Kill(victim="unit", workers=1, after_units=3, delay_s=0.21),
    ]
    result = soak(tmp_path, kills, units=20)
    assert result.final_hash == result.undisturbed_hash
    assert result.problems == ()
    assert 20 < result.starts <= 20 + result.redone_allowed


def test_plain_loop_and_another_order_give_the_same_content(tmp_path: Path) -> None:
    clips = clips_from_arguments([str(write_clips(tmp_path / "clips", ["a", "b", "c", "nobody"]))])
    settings = fast_settings()
    run(clips, str(tmp_path / "one"), settings, make_resources=fast_resources)
    run(clips[::-1], str(tmp_path / "backwards"), settings, make_resources=fast_resources)
    expected = Dataset.open(tmp_path / "one").content_hash()
    assert Dataset.open(tmp_path / "backwards").content_hash() == expected
    settings = resolve(settings)
    resources, plain = fast_resources(settings), tmp_path / "plain"
    for clip in clips:
        for segment in segments_of(clip, settings.video):
            with UnitSink(str(plain), segment.unit_id, fingerprint(segment, settings)) as sink:
                sink.outcome = process_segment(segment, resources, sink.emit).outcome
    (plain / "meta/info.json").write_bytes((tmp_path / "one/meta/info.json").read_bytes())
    assert Dataset.open(plain).content_hash() == expected


def test_the_next_run_removes_what_a_killed_one_left_and_nothing_of_a_living_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """kill -9 of a run of two processes, beside a run that goes on; then a third."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    clips = write_clips(tmp_path / "clips", ["a", "hang"])
    runs = [
        subprocess.Popen(
            fast_command("run", clips, "--out", tmp_path / name, "--workers", "2"), stderr=subprocess.DEVNULL
        )
        for name in ("killed", "living")
    ]
    try:
        for name in ("killed", "living"):
            await_that(lambda name=name: any((tmp_path / name / "meta" / "records").glob("a-*.json")))
        left = {folder for folder in temporary.iterdir() if folder.name.startswith("humandepth-run-")}
        assert len(left) == 2
        assert {path for path in temporary.iterdir()} == left  # Beam's own folders lie in them
        children = processes_with("", runs[0].pid)
        runs[0].kill()
        runs[0].wait()
        await_that(lambda: not any(map(is_alive, children)))
        (dead,) = [folder for folder in left if not is_locked(folder)]
        (alive,) = left - {dead}
        before = sorted(alive.rglob("*"))
        assert list(dead.rglob("*"))
        done = fast_run(write_clips(tmp_path / "more", ["b"]), "--out", tmp_path / "third")
        assert done.returncode == 0, done.stderr
        assert list(temporary.iterdir()) == [alive]
        assert set(before) <= set(alive.rglob("*"))
        assert runs[1].poll() is None
    finally:
        for driver in runs:
            driver.terminate()
            driver.wait()
    await_that(lambda: not list(temporary.iterdir()))  # a run that is stopped by a signal tidies up itself


def await_that(holds: Callable[[], bool], limit_s: float = 200.0) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def is_locked(folder: Path) -> bool:
    with open(folder / ".owner") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
