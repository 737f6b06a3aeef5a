"""Datasets by address: the same samples, batches and weights as from the folder."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest
import torch

from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.settings import with_overrides
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from tests.trainer.test_runs import SETTINGS, difference
from trainer.config import DataSettings
from trainer.data import Samples, read_index
from trainer.subject import subjects_of_dataset
from trainer.train import fit


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sphere_row(seed, base_radius_m=0.57, turns_deg=(9.0,)) for seed in range(5)]
    for row in rows:
        row["track_id"] = "held" if row["sample_id"].endswith("40") else row["track_id"]
    return write_dataset(tmp_path_factory.mktemp("remote") / "dataset", rows, per_unit=2)


@pytest.fixture
def memory(root: Path) -> str:
    """The dataset in fsspec's memory: no path of it exists on a disk."""
    filesystem = fsspec.filesystem("memory")
    filesystem.store.clear()
    filesystem.put(f"{root}/", "/bucket/dataset/", recursive=True)
    return "fsspec+memory://bucket/dataset"


def test_a_bucket_holds_what_the_folder_holds(root: Path, memory: str) -> None:
    dataset = Dataset.open(memory + "/")
    assert dataset.files.is_remote
    local, remote = read_index(Dataset.open(root)), read_index(dataset)
    assert [ref.sample_id for ref in remote] == [ref.sample_id for ref in local]
    assert all(ref.path.startswith(memory + "/samples/") for ref in remote)
    where = "frame_index >= 15 and frame_index < 35"
    assert [ref.sample_id for ref in read_index(dataset, where)] == ["clip/p00/000020", "clip/p00/000030"]
    ours, theirs = (Samples(index, DataSettings(), seed=1, training=True) for index in (local, remote))
    assert (ours.is_remote, theirs.is_remote) == (False, True)
    for at in range(5):
        first, second = ours[2, at], theirs[2, at]
        assert not second.bad_rows
        assert torch.equal(first.inputs, second.inputs)
        assert torch.equal(first.motion, second.motion)
    names = [subject.name for subject in subjects_of_dataset(memory, per_track=1)]
    assert names == [subject.name for subject in subjects_of_dataset(str(root), per_track=1)]


def test_training_by_address_gives_the_same_weights(root: Path, memory: str, tmp_path: Path) -> None:
    """In this process from memory; from a file:// address in loading processes, which are not forked."""
    settings = with_overrides(SETTINGS, ["train.max_steps=2"])
    fit(str(root), str(tmp_path / "local"), settings)
    fit(memory, str(tmp_path / "memory"), settings)
    fit(root.as_uri(), str(tmp_path / "file"), with_overrides(settings, ["data.workers=1"]))
    assert difference(tmp_path / "local", tmp_path / "memory") == 0
    assert difference(tmp_path / "local", tmp_path / "file") == 0


def test_what_is_wrong_with_a_remote_dataset_is_named(memory: str) -> None:
    filesystem = fsspec.filesystem("memory")
    for address in (
        "fsspec+memory://bucket/nowhere",
        "nosuchscheme://bucket/dataset",
        "fsspec+nosuch://bucket/d",
    ):
        with pytest.raises(DatasetError, match="cannot be read") as caught:
            Dataset.open(address)
        assert address in str(caught.value)
    shard = next(path for path in filesystem.find("/bucket/dataset/samples"))
    filesystem.pipe(shard, filesystem.cat(shard)[:-1])
    with pytest.raises(DatasetError, match="bytes long") as caught:
        read_index(Dataset.open(memory))
    assert memory in str(caught.value)
    record = next(path for path in filesystem.find("/bucket/dataset/meta/records"))
    filesystem.pipe(record, b"{}")
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(memory)
    filesystem.pipe("/bucket/dataset/meta/info.json", b"{}")
    with pytest.raises(DatasetError, match="version None"):
        Dataset.open(memory)
    for damaged in (b"[]", b"\xff", b"{", b"[" * 100_000):
        filesystem.pipe("/bucket/dataset/meta/info.json", damaged)
        with pytest.raises(DatasetError, match=r"meta/info.json cannot be read"):
            Dataset.open(memory)
