"""Shards of clips: a partition that never changes, refusals by name, and locks that let shards work side by side."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.dataset.clip_shards import (
    SHARDS_PATH,
    ClipShard,
    finished_shards,
    forget_shard_notes,
    missing_shards,
    shard_from_slurm,
    shard_from_text,
    shard_summaries,
    write_shard_note,
)
from pipeline.dataset.folder import prepare_folder
from pipeline.dataset.folder_lock import LOCK_PATH, RunLock
from pipeline.dataset.shard_lock import ShardLock
from pipeline.host.slurm import has_ended
from pipeline.records import ClipRef
from schemas.errors import DatasetError, SettingsError

IDS = [f"clip-{number}" for number in range(3000)]


def slurm(task: int, count: int, first: int = 0, last: int | None = None, step: int = 1) -> dict[str, str]:
    last = first + (count - 1) * step if last is None else last
    values = {"ID": task, "COUNT": count, "MIN": first, "MAX": last, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize("count", [1, 3, 7])
def test_every_clip_falls_to_exactly_one_shard_and_shards_are_alike(count: int) -> None:
    shards = [ClipShard(index=at, count=count) for at in range(count)]
    found = [[shard.index for shard in shards if shard.holds(clip_id)] for clip_id in IDS]
    assert all(len(each) == 1 for each in found)
    sizes = Counter(each[0] for each in found)
    expected = len(IDS) / count
    assert all(abs(sizes[at] - expected) < 5 * expected**0.5 for at in range(count))  # five sigma


def test_where_a_clip_falls_is_the_same_in_every_version() -> None:
    """SHA-256 of "a" begins with ca978112ca1bbdca, of "b" with 3e23e8160039594a."""
    assert ClipShard(index=0xCA978112CA1BBDCA % 7, count=7).holds("a")
    assert ClipShard(index=0x3E23E8160039594A % 7, count=7).holds("b")
    clips = [ClipRef(clip_id=name, uri=name, source_id=name) for name in IDS[:50]]
    shard = ClipShard(index=1, count=3)
    assert shard.clips(clips[::-1]) == shard.clips(clips)[::-1]


@pytest.mark.parametrize(
    "text", ["4/3", "3/3", "0/0", "-1/3", "1", "1/3/5", "a/b", "", "1.0/3", "٣/٤", "1/ 3"]
)
def test_shards_that_are_not_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        shard_from_text(text)
    assert text in error.value.message
    assert "--shard I/N" in error.value.remedy


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (slurm(0, 3), "0/3"),
        (slurm(2, 3), "2/3"),
        (slurm(10, 4, step=5), "2/4"),
        (slurm(0, 1), "0/1"),
        ({}, "None"),
    ],
)
def test_a_task_of_a_slurm_array_is_a_shard(task: dict[str, str], expected: str) -> None:
    assert str(shard_from_slurm(task)) == expected


@pytest.mark.parametrize(
    ("task", "named"),
    [
        (slurm(1, 3, first=1), "SLURM_ARRAY_TASK_MIN is 1"),
        (slurm(5, 2, first=4), "SLURM_ARRAY_TASK_MIN is 4"),
        (slurm(2, 2, last=5), "SLURM_ARRAY_TASK_COUNT 2"),
        (slurm(3, 4, step=2, last=6), "SLURM_ARRAY_TASK_ID 3"),
        (slurm(9, 3), "SLURM_ARRAY_TASK_ID 9"),
        (slurm(0, 3) | {"SLURM_ARRAY_TASK_COUNT": "three"}, "SLURM_ARRAY_TASK_COUNT is 'three'"),
        ({"SLURM_ARRAY_TASK_ID": "1"}, "SLURM_ARRAY_TASK_COUNT is ''"),
    ],
)
def test_a_part_of_an_array_is_refused_by_name(task: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as error:
        shard_from_slurm(task)
    assert named in error.value.message
    assert "--shard I/N" in error.value.remedy


def test_notes_say_which_shards_are_finished(tmp_path: Path) -> None:
    root = str(tmp_path)
    shards = [ClipShard(index=at, count=3) for at in range(3)]
    for shard in shards[:2]:
        write_shard_note(root, shard, 5, {"samples": 2 + shard.index})
    write_shard_note(root, ClipShard(index=0, count=8), 5, {})
    assert missing_shards(finished_shards(root)) == [shards[2]]
    assert [each["samples"] for each in shard_summaries(root, 3)] == [2, 3]
    forget_shard_notes(root, shards[0])
    assert missing_shards(finished_shards(root)) == [shards[0], shards[2]]
    forget_shard_notes(root, None)
    assert finished_shards(root) == missing_shards([]) == []
    assert missing_shards(shards) == []


def test_shards_share_a_folder_and_the_last_one_has_it_for_itself(tmp_path: Path) -> None:
    one, two = (ShardLock(tmp_path, ClipShard(index=at, count=2)) for at in range(2))
    with one:
        assert one.alone
        one.share()
        with two:
            assert not two.alone
            with pytest.raises(DatasetError, match="in use by process"):
                ShardLock(tmp_path, ClipShard(index=1, count=2)).__enter__()
            with pytest.raises(DatasetError, match="in use by runs of shards"):
                RunLock(tmp_path).__enter__()
            assert not (tmp_path / LOCK_PATH).exists()
            assert not one.regain()  # two is still at work
            assert two.regain()  # one has given up
    assert [path.name for path in (tmp_path / SHARDS_PATH).iterdir()] == []
    with RunLock(tmp_path), pytest.raises(DatasetError, match="in use by process"):
        ShardLock(tmp_path, ClipShard(index=0, count=2)).__enter__()
    with RunLock(tmp_path):
        pass
    prepare_folder(str(tmp_path / "new"), Settings())


def test_a_lock_of_another_machine_is_stale_only_if_slurm_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / LOCK_PATH
    path.parent.mkdir()
    left = {"pid": 7, "host": "elsewhere", "started": "then", "slurm_job": "12", "slurm_restarts": "0"}
    path.write_text(json.dumps({name: left[name] for name in ("pid", "host", "started")}))
    with pytest.raises(DatasetError, match="elsewhere"):
        RunLock(tmp_path).__enter__()
    path.write_text(json.dumps(left))
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    with pytest.raises(DatasetError, match="elsewhere"):  # two steps of one job are two runs
        RunLock(tmp_path).__enter__()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    with RunLock(tmp_path) as lock:
        assert lock.stale == left
    assert not has_ended({})
    assert not has_ended({"slurm_job": "12; rm"})
