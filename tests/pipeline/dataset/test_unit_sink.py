"""Finished or absent: whatever happens while a unit is written, nothing half-written counts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.dataset import storage, unit_sink
from pipeline.dataset.storage import publish_file, publish_text, read_json
from pipeline.dataset.unit_sink import UnitSink, discard_unit, finished_record
from schemas.dataset import INFO_PATH, Dataset, dataset_info, record_path
from schemas.errors import DatasetError
from tests.support.sample_rows import sample_row

FAILURE = {
    "source_id": "s", "clip_id": "c", "unit_id": "u", "uri": "x", "stage": "track", "reason": "r", "message": "m",
    "remedy": "d", "retryable": False, "attempts": 1,
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> str:
    publish_text(json.dumps(dataset_info()), str(tmp_path), INFO_PATH)
    return str(tmp_path)


def write_unit(root: str, unit_id: str = "u", fingerprint: str = "f", samples: int = 2) -> None:
    with UnitSink(root, unit_id, fingerprint) as unit:
        for seed in range(samples):
            unit.emit("samples", sample_row(seed, references=1))
        unit.emit("failures", FAILURE)


def files_below(root: str) -> set[str]:
    return {path.relative_to(root).as_posix() for path in Path(root).rglob("*") if path.is_file()}


def test_a_finished_unit_is_read_back(root: str) -> None:
    write_unit(root)
    record = finished_record(root, "u", "f")
    assert record is not None
    assert [shard.table for shard in record.shards] == ["samples", "failures"]
    dataset = Dataset.open(root)
    assert dataset.row_count("samples") == len(list(dataset.rows("samples"))) == 2
    assert dataset.row_count("frames") == 0
    assert dataset.verify() == []
    assert files_below(root) == {INFO_PATH, record_path("u"), "samples/u.parquet", "failures/u.parquet"}


def test_an_error_while_writing_leaves_nothing(root: str) -> None:
    def write_and_crash() -> None:
        with UnitSink(root, "u", "f") as unit:
            unit.emit("samples", sample_row(0, references=1))
            raise RuntimeError("a bug")

    with pytest.raises(RuntimeError):
        write_and_crash()
    assert files_below(root) == {INFO_PATH}
    assert finished_record(root, "u", "f") is None


def test_shards_without_a_record_do_not_count(root: str) -> None:
    write_unit(root)
    (Path(root) / record_path("u")).unlink()
    assert finished_record(root, "u", "f") is None
    assert Dataset.open(root).shards("samples") == []


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_a_damaged_shard_is_not_finished(root: str, damage: str) -> None:
    write_unit(root)
    path = Path(root) / "samples/u.parquet"
    data = bytearray(path.read_bytes())
    if damage == "delete":
        path.unlink()
    else:
        data[len(data) // 2] ^= 1
        path.write_bytes(bytes(data[:-10] if damage == "truncate" else data))
    assert finished_record(root, "u", "f") is None
    if damage == "flip":
        assert any("SHA-256" in problem for problem in Dataset.open(root).verify())
    else:
        with pytest.raises(DatasetError, match="missing or not"):
            Dataset.open(root).shards("samples")


def test_another_fingerprint_is_other_work(root: str) -> None:
    write_unit(root)
    assert finished_record(root, "u", "other") is None


def test_a_unit_made_again_leaves_no_stale_shard(root: str) -> None:
    write_unit(root)
    with UnitSink(root, "u", "g") as unit:
        unit.emit("failures", FAILURE)
    assert not (Path(root) / "samples/u.parquet").exists()
    assert finished_record(root, "u", "g") is not None


def test_the_same_rows_give_the_same_content_hash(tmp_path: Path) -> None:
    hashes = []
    for name, order in (("a", ("u", "v")), ("b", ("v", "u"))):
        publish_text(json.dumps(dataset_info()), str(tmp_path / name), INFO_PATH)
        for unit_id in order:
            write_unit(str(tmp_path / name), unit_id)
        hashes.append(Dataset.open(tmp_path / name).content_hash())
    assert hashes[0] == hashes[1]
    write_unit(str(tmp_path / "b"), "v", samples=1)
    assert Dataset.open(tmp_path / "b").content_hash() != hashes[0]


def test_a_crash_between_copy_and_rename_leaves_the_old_file(
    root: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish_text("old", root, "x/y")
    new = tmp_path / "new"
    new.write_text("new")

    def crash(source: str, target: str) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage.os, "replace", crash)
    with pytest.raises(OSError, match="no space"):
        publish_file(new, root, "x/y")
    assert (Path(root) / "x/y").read_text() == "old"
    assert [path.name for path in (Path(root) / "x").iterdir()] == ["y"]


def test_buckets_go_through_beams_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The remote branch, driven on local paths: Beam's FileSystems serve both."""
    for module in (storage, unit_sink):
        monkeypatch.setattr(module, "is_remote", lambda path: True)
    root = str(tmp_path)
    for folder in ("samples", "failures", "meta/records"):
        (tmp_path / folder).mkdir(parents=True)
    publish_text(json.dumps(dataset_info()), root, INFO_PATH)
    write_unit(root)
    write_unit(root)
    assert read_json(root, INFO_PATH) == dataset_info()
    assert finished_record(root, "u", "f") is not None
    assert Dataset.open(root).verify() == []
    discard_unit(root, "u")
    assert finished_record(root, "u", "f") is None


def test_a_damaged_record_is_named(root: str) -> None:
    write_unit(root)
    (Path(root) / record_path("u")).write_text("{")
    assert finished_record(root, "u", "f") is None
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(root)


def test_other_folders_are_not_datasets(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="not a dataset"):
        Dataset.open(tmp_path)
    (tmp_path / "meta").mkdir()
    (tmp_path / INFO_PATH).write_text(json.dumps(dataset_info() | {"format_version": 99}))
    with pytest.raises(DatasetError, match="version 99"):
        Dataset.open(tmp_path)
