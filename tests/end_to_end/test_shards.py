"""Runs of shards: in folders of their own and in one dataset, killed and resumed, empty, by a Slurm array's task."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from pipeline.dataset.clip_shards import ClipShard, finished_shards
from pipeline.dataset.verification import verify
from pipeline.runner.driver import run
from pipeline.runner.merging import merge
from pipeline.video.source import clips_from_arguments
from schemas.dataset import SUMMARY_PATH, Dataset
from schemas.errors import DatasetError
from tests.end_to_end.conftest import told
from tests.soak.kills import wait_for
from tests.support.fast_units import (
    SETTINGS,
    STARTS,
    fast_command,
    fast_resources,
    fast_settings,
    write_clips,
)

pytestmark = pytest.mark.usefixtures("demo_clip")
IDS = ("a", "b", "nobody-1", "nobody-2", "nobody-4", "nobody-5")
SHARDS = tuple(ClipShard(index=at, count=2) for at in range(2))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert all(sum(shard.holds(name) for name in IDS) >= 2 for shard in SHARDS)
    return write_clips(tmp_path_factory.mktemp("clips"), IDS)


@pytest.fixture(scope="module")
def expected(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("whole") / "dataset"
    run(clips_from_arguments([str(manifest)]), str(out), fast_settings(), make_resources=fast_resources)
    return Dataset.open(out)


def test_a_shard_that_is_killed_resumes_and_merges_to_the_same_dataset(
    manifest: Path, expected: Dataset, tmp_path: Path
) -> None:
    parts, starts = [tmp_path / "part-0", tmp_path / "part-1"], tmp_path / "starts"
    arguments = (manifest, "--out", parts[0], "--shard", "0/2")
    environment = {**os.environ, STARTS: str(starts)}
    driver = subprocess.Popen(fast_command("run", *arguments), env=environment, stderr=subprocess.DEVNULL)
    wait_for(lambda: any((parts[0] / "meta/records").glob("*.json")), driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    clips = clips_from_arguments([str(manifest)])
    run(clips, str(parts[1]), fast_settings(), shard=SHARDS[1], make_resources=fast_resources)
    with pytest.raises(DatasetError, match="0/2 of the clips"):
        merge(list(map(str, parts)), str(tmp_path / "merged"))
    done = subprocess.run(fast_command("run", *arguments), env=environment, capture_output=True, text=True)
    assert done.returncode in (3, 4), done.stderr  # nobody is found in some clips
    of_shard = len(SHARDS[0].clips(clips))
    assert f"shard 0/2: {of_shard} of {len(IDS)} clip(s)" in done.stderr
    assert of_shard <= len(starts.read_text().split()) <= of_shard + 1
    assert merge(list(map(str, parts)), str(tmp_path / "merged")).content_hash == expected.content_hash()


def test_shards_at_once_in_one_dataset(manifest: Path, expected: Dataset, tmp_path: Path) -> None:
    out, clips = tmp_path / "dataset", clips_from_arguments([str(manifest)])
    command = fast_command("run", manifest, "--out", out, "--shard", "0/2")
    other = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any((out / "meta/shards").glob("*.lock")), other)
    run(clips, str(out), fast_settings(), shard=SHARDS[1], make_resources=fast_resources)
    _, said = other.communicate(timeout=300)
    assert other.returncode in (3, 4), said  # nobody is found in some clips
    made = Dataset.open(out)
    assert made.content_hash() == expected.content_hash()
    assert made.content_hash() in (out / "README.md").read_text()  # of the last one
    assert finished_shards(out) == list(SHARDS)
    assert verify(str(out), render=0).problems == []
    summary, whole = (json.loads((root / SUMMARY_PATH).read_text()) for root in (out, expected.root))
    for name in ("units_kept", "units_failed", "samples", "pairs_kept", "clips_read"):
        assert summary[name] == whole[name], name
    assert not (out / ".spool").exists()
    with pytest.raises(DatasetError, match="was made with other settings"):
        run(clips, str(out), fast_settings("pairs.max_references=1"), shard=SHARDS[1])


def test_an_empty_shard_is_said_and_no_error(
    manifest: Path,
    expected: Dataset,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = next(at for at in range(60) if not any(ClipShard(index=at, count=60).holds(name) for name in IDS))
    task = {"ID": empty, "COUNT": 60, "MIN": 0, "MAX": 59, "STEP": 1}
    for name, value in task.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    settings = [word for each in SETTINGS for word in ("--set", each)]
    code, said = told(["pipeline", "run", manifest, "--out", tmp_path / "empty", *settings], capsys)
    assert code == 0, said
    assert (
        f"shard {empty}/60 (by SLURM_ARRAY_TASK_ID; --shard 0/1 takes all): 0 of 6 clip(s): nothing to do"
        in said
    )
    assert Dataset.open(tmp_path / "empty").records == ()
    made = merge([str(expected.root), str(tmp_path / "empty")], str(tmp_path / "merged"), allow_missing=True)
    assert made.content_hash == expected.content_hash()
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    code, said = told(["pipeline", "run", manifest, "--out", tmp_path / "no"], capsys)
    assert code == 2
    assert "SLURM_ARRAY_TASK_MIN is 1" in said
    assert told(["pipeline", "run", manifest, "--out", tmp_path / "no", "--shard", "4/3"], capsys)[0] == 2
    assert not (tmp_path / "no").exists()
