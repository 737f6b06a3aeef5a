"""Small files put together while units are being finished: nothing lost, nothing twice, whenever it is killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from pipeline.dataset import run_packing
from pipeline.dataset.card import publish_documents
from pipeline.dataset.compaction import commit_unchanged, compact_dataset, pack_units
from pipeline.dataset.run_packing import packing
from pipeline.dataset.settling import settle
from pipeline.dataset.storage import publish_text
from pipeline.dataset.unit_sink import UnitSink, finished_record
from schemas.dataset import INFO_PATH, JOURNAL_PATH, Dataset, dataset_info, read_records, record_path
from schemas.errors import DatasetError
from schemas.files import Files
from schemas.record_index import INDEX_PATH, entries_of
from tests.pipeline.dataset.test_unit_sink import FAILURE
from tests.support.sample_rows import sample_row
from trainer.config import DataSettings
from trainer.data import Samples, read_index

ROW = sample_row(0, references=1)


def write(root: Path, numbers: range, fingerprint: str = "f") -> None:
    publish_text(json.dumps(dataset_info()), str(root), INFO_PATH)
    for number in numbers:
        with UnitSink(str(root), f"u{number:03d}", fingerprint) as sink:
            sink.emit("samples", ROW | {"sample_id": f"u{number:03d}"})
            for at in range(1 + number % 3):
                sink.emit("failures", FAILURE | {"unit_id": f"u{number:03d}", "message": f"{at}"})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("plain")
    write(root, range(30))
    return root


def rows_of(root: Path) -> list[tuple[str, str]]:
    return [(row["unit_id"], row["message"]) for row in Dataset.open(root).rows("failures")]


def test_a_run_packs_what_it_finishes_and_readers_go_on(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_packing, "_LOOK_EVERY_S", 0.02)
    root = tmp_path / "packed"
    write(root, range(3))
    with packing(str(root), 8):
        write(root, range(3, 12))
        early = Dataset.open(root)
        before = list(early.rows("failures"))
        samples = Samples(read_index(early), DataSettings(), seed=0, training=False)
        writers = [
            threading.Thread(target=write, args=(root, part)) for part in (range(12, 21), range(21, 30))
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        limit_s = time.monotonic() + 60
        while not list(root.glob("failures/pack-*")) and time.monotonic() < limit_s:
            time.sleep(0.02)
    settle(str(root))
    after = list(early.rows("failures"))  # opened before its files were put together
    assert all(row in after for row in before)
    assert not Path(samples.refs[3].path).exists()
    assert [samples.row(at)["sample_id"] for at in (3, 0)] == ["u003", "u000"]  # a training that goes on
    assert Dataset.open(root).content_hash() == Dataset.open(plain).content_hash()
    assert sorted(rows_of(root)) == sorted(rows_of(plain))
    ids = [[ref.sample_id for ref in read_index(Dataset.open(each))] for each in (root, plain)]
    assert ids[0] == ids[1]  # what is trained on comes in one order
    assert Dataset.open(root).verify() == []
    for table in ("samples", "failures"):
        assert len(list((root / table).iterdir())) <= 30 // 8 + 8
    assert all(finished_record(str(root), f"u{number:03d}", "f") for number in range(30))
    done = compact_dataset(str(root))
    assert (done.files_after, Dataset.open(root).content_hash()) == (2, Dataset.open(plain).content_hash())


def test_few_units_and_a_count_of_0_are_left_as_they_are(tmp_path: Path) -> None:
    for every in (0, 5):
        with packing(str(tmp_path), every):
            write(tmp_path, range(4))
        assert not list(tmp_path.rglob("pack-*"))


def test_a_unit_that_is_made_again_meanwhile_keeps_its_new_record(tmp_path: Path) -> None:
    write(tmp_path, range(4))
    records = read_records(tmp_path)
    packed = pack_units(str(tmp_path), records)
    write(tmp_path, range(2, 3), fingerprint="another")
    released = commit_unchanged(str(tmp_path), records, packed)
    assert len(released) == 2 * 3
    now = {record.unit_id: record for record in read_records(tmp_path)}
    assert now["u002"].fingerprint == "another"
    assert [name for name, record in now.items() if record.shards[0].pack is None] == ["u002"]
    settle(str(tmp_path))  # the pack holds rows of the unit as it was
    dataset = Dataset.open(tmp_path)
    assert dataset.verify() == []
    names = sorted(name for name, _ in rows_of(tmp_path))
    assert names == ["u000", "u001", "u001", "u002", "u002", "u002", "u003"]


def test_killed_at_every_step_of_packing_nothing_is_lost(tmp_path: Path) -> None:
    """kill -9 before each file that is renamed or deleted, in a child process; then what the next run does first."""
    made, killed = tmp_path / "made", 0
    write(made, range(2))
    with packing(str(made), 2):
        pass  # what an earlier run has packed
    write(made, range(2, 5))
    expected = Dataset.open(made).content_hash()
    for step in range(100):
        root = Path(shutil.copytree(made, tmp_path / f"step-{step}"))
        child = os.fork()
        if child == 0:
            kill_at(step)
            with packing(str(root), 3):
                pass
            settle(str(root))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert Dataset.open(root).content_hash() == expected
        assert Dataset.open(root).row_count("samples") == len(list(Dataset.open(root).rows("samples")))
        settle(str(root))
        assert not (root / JOURNAL_PATH).exists()
        assert Dataset.open(root).content_hash() == expected
        assert Dataset.open(root).verify() == []
        if not os.WIFSIGNALED(status):
            assert os.WEXITSTATUS(status) == 0
            assert len(list(root.glob("samples/*.parquet"))) == 2
            break
        killed += 1
    assert killed >= 10


def kill_at(step: int) -> None:
    done = [0]

    def counted(real):
        def call(*arguments, **named):
            if done[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            done[0] += 1
            return real(*arguments, **named)

        return call

    os.replace, os.unlink = counted(os.replace), counted(os.unlink)


def test_the_index_stands_for_records_that_are_as_they_were(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, range(5))
    publish_text("", str(tmp_path), "meta/settings.json")
    (tmp_path / "meta/settings.json").unlink()
    publish_documents(str(tmp_path))
    assert list(entries_of((tmp_path / INDEX_PATH).read_bytes())) == [f"u{number:03d}" for number in range(5)]
    asked: list[str] = []
    read = Files._content
    monkeypatch.setattr(Files, "_content", lambda self, name: asked.append(name) or read(self, name))
    content_hash = Dataset.open(tmp_path).content_hash()
    assert asked == []
    assert read_records(tmp_path) == read_records(tmp_path, trust_index=False)
    asked.clear()
    write(tmp_path, range(1, 2), fingerprint="another")  # one record is new
    assert Dataset.open(tmp_path).records[1].fingerprint == "another"
    assert asked == [record_path("u001")]
    (tmp_path / record_path("u003")).unlink()
    assert [record.unit_id for record in Dataset.open(tmp_path).records] == ["u000", "u001", "u002", "u004"]
    (tmp_path / record_path("u004")).write_text("{")
    with pytest.raises(DatasetError, match=r"u004\.json is damaged"):
        Dataset.open(tmp_path)
    write(tmp_path, range(5))
    sound = (tmp_path / INDEX_PATH).read_bytes()
    for damaged in (b"", b"{", sound[:-9], sound.replace(b"kept", b"lost"), b"\xff" + sound):
        (tmp_path / INDEX_PATH).write_bytes(damaged)
        assert Dataset.open(tmp_path).content_hash() == content_hash
        assert Dataset.open(tmp_path).records[0].outcome == "kept"
