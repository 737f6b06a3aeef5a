"""The fault table: what happens when a disk, a process, a clip or a clock fails, and that nothing else is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.dataset import folder_lock as run_lock
from pipeline.dataset.folder_lock import LOCK_PATH, RunLock
from pipeline.dataset.storage import SPOOL
from pipeline.dataset.verification import verify
from pipeline.records import ClipRef
from pipeline.runner.driver import run
from pipeline.video.source import clips_from_arguments
from schemas.dataset import CROISSANT_PATH, Dataset, record_path
from schemas.errors import DatasetError
from tests.soak.kills import processes_with, wait_for
from tests.support.fast_units import fast_command, fast_resources, fast_run, fast_settings, write_clips

pytestmark = pytest.mark.usefixtures("demo_clip")  # `run` looks for the models
IDS = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips"), IDS)


@pytest.fixture(scope="module")
def clips(manifest: Path) -> list[ClipRef]:
    return clips_from_arguments([str(manifest)])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, clips: list[ClipRef]) -> Path:
    root = tmp_path_factory.mktemp("made") / "dataset"
    assert go_on(clips, root).exit_code == 0
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "dataset"))


def go_on(clips: list[ClipRef], root: Path, *overrides: str, **options):
    return run(clips, str(root), fast_settings(*overrides), make_resources=fast_resources, **options)


def loose_files(root: Path) -> list[str]:
    """Files that are neither named by a record nor metadata."""
    named = {shard.file.path for record in Dataset.open(root).records for shard in record.shards}
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    documents = {"README.md", CROISSANT_PATH}
    return sorted(name for name in found - named - documents if not name.startswith("meta/"))


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete", "no record", "bad record", "strange shard"])
def test_a_damaged_unit_is_remade_and_no_other(
    root: Path, clips: list[ClipRef], damage: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = Dataset.open(root).content_hash()
    shard, record = root / "samples/b-s000-w000.parquet", root / record_path("b-s000-w000")
    data = bytearray(shard.read_bytes())
    if damage == "truncate":
        shard.write_bytes(data[:-100])
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
    elif damage == "delete":
        shard.unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "bad record":
        record.write_text(record.read_text()[:50])
    else:
        shutil.copy(shard, shard.with_name("z-s000-w000.parquet"))
    monkeypatch.setenv("HUMANDEPTH_TEST_STARTS", str(tmp_path / "starts"))
    assert go_on(clips, root).units_kept == len(IDS)
    assert Dataset.open(root).content_hash() == before
    assert loose_files(root) == []
    starts = (tmp_path / "starts").read_text().split() if (tmp_path / "starts").exists() else []
    assert starts == ([] if damage == "strange shard" else ["b-s000-w000"])


def test_settings_that_changed_are_refused_unless_told_which(root: Path, clips: list[ClipRef]) -> None:
    before = Dataset.open(root).content_hash()
    with pytest.raises(DatasetError, match=r"max_references: 2 -> 1\).*--settings-from"):
        go_on(clips, root, "pairs.max_references=1")
    assert go_on(clips, root, "pairs.max_references=1", settings_from="dataset").units_skipped == len(IDS)
    assert Dataset.open(root).content_hash() == before
    assert go_on(clips, root, "run.unit_time_limit_s=77").units_skipped == len(IDS)  # no row depends on it
    remade = go_on(clips, root, "pairs.max_references=1", settings_from="command")
    assert (remade.units_kept, remade.units_skipped) == (len(IDS), 0)
    assert {row["reference_count"] for row in Dataset.open(root).rows("samples", ["reference_count"])} == {1}


def test_units_that_a_clip_no_longer_has_are_removed(root: Path, clips: list[ClipRef]) -> None:
    go_on(clips, root, "video.max_unit_s=0.5", settings_from="command")
    assert len(Dataset.open(root).records) == 2 * len(IDS)
    go_on(clips, root, settings_from="command")
    assert len(Dataset.open(root).records) == len(IDS)
    assert verify(str(root), render=0).problems == []


def test_a_second_run_is_refused_while_the_first_lives(root: Path, clips: list[ClipRef]) -> None:
    with RunLock(root):
        with pytest.raises(DatasetError, match=f"in use by process {os.getpid()}"):
            go_on(clips, root)
        with pytest.raises(DatasetError, match="in use"):
            RunLock(root).__enter__()
    assert not (root / LOCK_PATH).exists()
    go_on(clips, root)


def test_a_stale_lock_is_recognised_whatever_the_clock_says(
    root: Path, clips: list[ClipRef], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = {"pid": os.getpid(), "host": run_lock.socket.gethostname(), "started": "2999-01-01T00:00:00"}
    (root / LOCK_PATH).write_text(json.dumps(left))  # of a process number that lives again, from the future
    go_on(clips, root)
    assert "ended without finishing" in capsys.readouterr().err
    (root / LOCK_PATH).write_text(json.dumps(left | {"host": "elsewhere"}))
    with pytest.raises(DatasetError, match=r"elsewhere.*delete"):
        go_on(clips, root)


def test_a_clock_that_goes_backwards_changes_nothing(
    made: Path, clips: list[ClipRef], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter(range(2_000_000_000, 0, -1000))
    monkeypatch.setattr(time, "strftime", lambda form: f"{next(now)}")
    go_on(clips, tmp_path / "out")
    go_on(clips, tmp_path / "out")
    old = time.time() - 10**7
    for path in (tmp_path / "out").rglob("*"):
        os.utime(path, (old, old))
    assert go_on(clips, tmp_path / "out").units_skipped == len(IDS)
    assert Dataset.open(tmp_path / "out").content_hash() == Dataset.open(made).content_hash()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own; skips the test where none may be mounted."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_clear_error_and_no_half_shard(
    manifest: Path, clips: list[ClipRef], made: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", "900k") as disk:
        done = fast_run(manifest, "--out", disk / "out")
        assert done.returncode == 1, done.stdout + done.stderr
        assert "No space left on device. Free some space" in done.stderr
        assert "Traceback" not in done.stderr
        dataset = Dataset.open(disk / "out")
        assert 0 < len(dataset.records) < len(IDS)
        assert dataset.verify() == []
        assert list((disk / "out" / SPOOL).iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=9m", str(disk)], check=True)
        assert go_on(clips, disk / "out").units_skipped == len(dataset.records)
        assert Dataset.open(disk / "out").content_hash() == Dataset.open(made).content_hash()


def test_a_read_only_folder_is_one_clear_error(clips: list[ClipRef], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(DatasetError, match="cannot be written: Read-only"):
            go_on(clips, disk / "out")


def test_a_bug_stops_the_job_with_its_traceback(clips: list[ClipRef], tmp_path: Path, manifest: Path) -> None:
    bug = write_clips(tmp_path / "clips", ["a", "bug"])
    with pytest.raises(Exception, match="planted") as caught:
        go_on(clips_from_arguments([str(bug)]), tmp_path / "out")
    assert "fast_units.py" in "".join(traceback.format_exception(caught.value))
    done = fast_run(bug, "--out", tmp_path / "isolated")
    assert done.returncode == 1
    assert "a bug that was planted" in done.stderr
    assert "fast_units.py" in done.stderr
    assert len(Dataset.open(tmp_path / "isolated").records) == 1  # and what was finished stays


def test_hanging_and_crashing_clips_take_nothing_else_along(tmp_path: Path, made: Path) -> None:
    bad = write_clips(tmp_path / "clips", ["a", "hang", "b", "crash", "c", "d", "missing"])
    done = fast_run(bad, "--out", tmp_path / "out", "--set", "run.unit_time_limit_s=30")
    assert done.returncode == 3, done.stdout + done.stderr
    failures = {row["clip_id"]: row for row in Dataset.open(tmp_path / "out").rows("failures")}
    assert {name: row["reason"] for name, row in failures.items()} == {
        "hang": "timed-out", "crash": "crashed", "missing": "bad-source",
    }  # fmt: skip
    assert "30 s" in failures["hang"]["message"]
    assert "SIGSEGV" in failures["crash"]["message"]
    assert failures["hang"]["retryable"]
    assert failures["crash"]["retryable"]
    assert verify(str(tmp_path / "out"), render=0).problems == []
    good = {row["sample_id"] for row in Dataset.open(tmp_path / "out").rows("samples", ["sample_id"])}
    assert good == {row["sample_id"] for row in Dataset.open(made).rows("samples", ["sample_id"])}
    limited = fast_run(
        bad,
        "--out",
        tmp_path / "out",
        "--set",
        "run.max_failed_share=0.1",
        "--set",
        "run.unit_time_limit_s=30",
    )
    assert limited.returncode == 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_drops_the_unit_at_work(
    number: signal.Signals, code: int, made: Path, clips: list[ClipRef], manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    driver = subprocess.Popen(fast_command("run", manifest, "--out", out), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(out.glob("meta/records/*.json")), driver)
    driver.send_signal(number)
    _, said = driver.communicate(timeout=30)
    assert driver.returncode == code, said
    assert f"stopped by {number.name}" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (out / SPOOL).exists()
    assert not (out / LOCK_PATH).exists()
    go_on(clips, out)
    assert Dataset.open(out).content_hash() == Dataset.open(made).content_hash()


def test_a_killed_worker_is_replaced_and_the_run_goes_on(made: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = fast_command("run", manifest, "--out", out, "--workers", "2")
    driver = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(out.glob("meta/records/*.json")), driver)
    workers = processes_with("multiprocessing.spawn", driver.pid)
    assert workers
    os.kill(workers[-1], signal.SIGKILL)
    _, said = driver.communicate(timeout=60)
    assert driver.returncode == 0, said
    assert Dataset.open(out).content_hash() == Dataset.open(made).content_hash()


def test_many_failing_clips_take_bounded_time(tmp_path: Path, clips: list[ClipRef]) -> None:
    """0.3 s each at the most, whose time is that of writing: 6 files or folders are synced with the disk for each."""
    bad = [ClipRef(clip_id=f"no-{at:04d}", uri=f"{tmp_path}/{at}.mp4", source_id="s") for at in range(400)]
    begin_s = time.monotonic()
    summary = go_on([*bad[:200], clips[0], *bad[200:]], tmp_path / "out")
    assert (summary.units_kept, summary.units_failed) == (1, 400)
    assert Dataset.open(tmp_path / "out").row_count("failures") == 400
    assert time.monotonic() - begin_s < 120
