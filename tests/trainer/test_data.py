"""Rows to batches: which, in which order, and exactly what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL
from schemas.dataset import Dataset
from schemas.errors import DatasetError, SettingsError
from tests.support.datasets import write_dataset
from tests.support.sample_rows import sample_row
from tests.support.sphere_scene import sphere_row
from trainer.batch import batch_of_row, collate, decode_image
from trainer.colour import ColourDraw
from trainer.config import DataSettings
from trainer.data import SampleRef, Samples, read_index, split
from trainer.loading import Loader
from trainer.order import BatchOrder, Mix, epoch_order
from trainer.stopping import Stopping

SETTINGS = DataSettings(colour_jitter=False)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    made = [sample_row(seed, references=1 + seed % 4) for seed in range(10)]
    for seed, row in enumerate(made):
        row["track_id"], row["source_id"] = f"clip/p{seed % 3:02d}", f"source-{seed % 5}"
        row["mean_baseline_m"] = 0.5 + 0.1 * seed
    return made


@pytest.fixture(scope="module")
def root(rows: list[dict], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", rows, per_unit=4)


def test_the_index_holds_every_row_in_order(root: Path, rows: list[dict]) -> None:
    index = read_index(Dataset.open(root))
    assert [ref.sample_id for ref in index] == [row["sample_id"] for row in rows]
    assert len({ref.path for ref in index}) == 3


def test_a_filter_keeps_what_it_says(root: Path, rows: list[dict]) -> None:
    kept = read_index(Dataset.open(root), "mean_baseline_m >= 0.75 and reference_count > 1")
    expected = [
        row["sample_id"] for row in rows if row["mean_baseline_m"] >= 0.75 and row["reference_count"] > 1
    ]
    assert [ref.sample_id for ref in kept] == expected
    assert 0 < len(expected) < len(rows)
    for ref in kept:  # positions survive the filter: the row read is the row meant
        assert Samples([ref], SETTINGS, seed=0, training=False).row(0)["sample_id"] == ref.sample_id
    with pytest.raises(DatasetError, match="no sample for which"):
        read_index(Dataset.open(root), "mean_baseline_m > 9")


def refs(keys: list[str]) -> list[SampleRef]:
    return [
        SampleRef(sample_id=f"s{at}", source_id=key, track_id=f"{key}/p00", path="x", row_group=0, row=at)
        for at, key in enumerate(keys)
    ]


def test_a_source_is_never_on_both_sides() -> None:
    index = refs([f"source-{at % 40}" for at in range(400)])
    training, held = split(index, replace(SETTINGS, validation_share=0.25))
    assert len(training) + len(held) == len(index)
    sources = {ref.source_id for ref in training}, {ref.source_id for ref in held}
    assert not sources[0] & sources[1]
    assert 4 <= len(sources[1]) <= 18
    more = refs([f"source-{at}" for at in range(400)])
    still_held = {ref.source_id for ref in split(more, replace(SETTINGS, validation_share=0.25))[1]}
    assert sources[1] <= still_held  # growing the dataset never moves a source


def test_small_datasets_keep_both_sides() -> None:
    for keys in (["a", "b"], ["a", "b", "c"]):
        for share in (0.01, 0.99):
            training, held = split(refs(keys), replace(SETTINGS, validation_share=share))
            assert training
            assert held
    training, held = split(refs(["only", "only"]), SETTINGS)
    assert len(training) == 2
    assert not held


def test_named_keys_are_held_out() -> None:
    training, held = split(refs(["a", "b", "a"]), replace(SETTINGS, held_out=("a",)))
    assert [ref.source_id for ref in held] == ["a", "a"]
    assert [ref.source_id for ref in training] == ["b"]
    with pytest.raises(SettingsError, match="'c'"):
        split(refs(["a", "b"]), replace(SETTINGS, held_out=("c",)))
    with pytest.raises(SettingsError, match="no sample is left"):
        split(refs(["a"]), replace(SETTINGS, held_out=("a",)))


def test_an_epoch_visits_every_sample_once() -> None:
    assert sorted(epoch_order(50, 1, 0)) == list(range(50))
    assert list(epoch_order(50, 1, 0)) == list(epoch_order(50, 1, 0))
    assert list(epoch_order(50, 1, 0)) != list(epoch_order(50, 1, 1))
    assert list(epoch_order(50, 1, 0)) != list(epoch_order(50, 2, 0))
    visited = [at for batch in BatchOrder(Mix.of([7]), 3, 5, first_step=0, last_step=7) for at in batch]
    for epoch in range(3):
        assert sorted(place for number, place in visited if number == epoch) == list(range(7))


def test_a_resumed_order_is_the_rest_of_the_order() -> None:
    whole = list(BatchOrder(Mix.of([7]), 3, 5, first_step=0, last_step=20))
    assert list(BatchOrder(Mix.of([7]), 3, 5, first_step=11, last_step=20)) == whole[11:]


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_change_nothing(root: Path, workers: int) -> None:
    settings = replace(SETTINGS, colour_jitter=True, max_references=2)
    samples = Samples(read_index(Dataset.open(root)), settings, seed=3, training=True)
    order = BatchOrder(Mix.of([len(samples)]), 3, 3, first_step=0, last_step=4)

    def batches(count: int) -> list:
        with Loader(samples, order, workers=count, time_limit_s=60, stopping=Stopping()) as loader:
            return list(loader)

    for plain, parallel in zip(batches(0), batches(workers), strict=True):
        assert plain.sample_ids == parallel.sample_ids
        assert torch.equal(plain.inputs, parallel.inputs)
        assert torch.equal(plain.references, parallel.references)


def test_a_row_becomes_exactly_its_tensors(rows: list[dict]) -> None:
    row = rows[2]
    batch = batch_of_row(row, SETTINGS)
    mask = row["input_depth"] > 0
    image = decode_image(row["image"], IMAGE_PX)
    np.testing.assert_array_equal(batch.inputs[0, :3].permute(1, 2, 0), image * mask[..., None])
    depth = batch.inputs[0, 3].numpy()
    np.testing.assert_allclose(
        depth[mask], (row["input_depth"] - np.median(row["input_depth"][mask]))[mask], atol=1e-6
    )
    assert (depth[~mask] == 0).all()
    np.testing.assert_allclose(batch.K[0, :2], row["K"][:2] * MAP_PX / IMAGE_PX)
    np.testing.assert_array_equal(batch.base_depth[0, 0], row["base_depth"].astype(np.float32))
    for at, reference in enumerate(row["references"]):
        np.testing.assert_array_equal(
            batch.motion[0, at].permute(1, 2, 0), reference["motion"].astype(np.float32)
        )
        np.testing.assert_array_equal(batch.valid[0, at, 0] > 0, reference["validity"] == VALID_ALL)
    kept = batch_of_row(row, replace(SETTINGS, background="keep"))
    np.testing.assert_array_equal(kept.inputs[0, :3].permute(1, 2, 0), image)
    mean = batch_of_row(row, replace(SETTINGS, centre_by="mean")).inputs[0, 3].numpy()
    assert abs(mean[mask].mean()) < 1e-6


def test_padding_has_no_valid_pixel(rows: list[dict]) -> None:
    batch = collate([batch_of_row(rows[0], SETTINGS), batch_of_row(rows[3], SETTINGS)])
    assert batch.references.shape[:2] == (2, 4)
    assert batch.valid[0, 1:].sum() == 0
    assert batch.valid[0, 0].sum() > 0
    assert (batch.reference_K[0, 3] == batch.reference_K[0, 0]).all()


def test_a_window_holds_the_whole_body_and_moves_the_camera(rows: list[dict]) -> None:
    batch = batch_of_row(rows[1], SETTINGS)
    window = batch.body_window
    cut = batch.windowed(window)
    assert (cut.base_depth > 0).sum() == (batch.base_depth > 0).sum()
    assert cut.base_depth.shape[-1] < MAP_PX
    assert cut.K[0, 0, 2] == batch.K[0, 0, 2] - window[1].start
    assert cut.K[0, 1, 2] == batch.K[0, 1, 2] - window[0].start


def test_references_beyond_the_limit_are_drawn_anew_each_epoch(root: Path, rows: list[dict]) -> None:
    index = read_index(Dataset.open(root))
    samples = Samples(index, replace(SETTINGS, max_references=1), seed=0, training=True)
    place = next(at for at, row in enumerate(rows) if len(row["references"]) == 4)
    drawn = {float(samples[epoch, place].references.sum()) for epoch in range(12)}
    assert len(drawn) > 1
    assert float(samples[0, place].references.sum()) == float(samples[0, place].references.sum())


def test_colours_change_together(rows: list[dict]) -> None:
    draw = ColourDraw.of(np.random.default_rng(1))
    plain, changed = batch_of_row(rows[1], SETTINGS), batch_of_row(rows[1], SETTINGS, draw)
    expected = draw.applied(np.ascontiguousarray(plain.references[0, 0].permute(1, 2, 0).numpy()))
    np.testing.assert_allclose(changed.references[0, 0].permute(1, 2, 0), expected, atol=1e-6)
    assert (changed.target - plain.target).abs().mean() > 0.005
    neutral = ColourDraw(hue=0, saturation=1, brightness=0, contrast=1)
    picture = np.random.default_rng(2).uniform(size=(6, 6, 3)).astype(np.float32)
    np.testing.assert_allclose(neutral.applied(picture), picture, atol=1e-5)


def test_a_damaged_row_is_named(root: Path, tmp_path: Path) -> None:
    index = read_index(Dataset.open(root))
    data = bytearray(Path(index[0].path).read_bytes())
    at = data.find(b"\xff\xd8\xff") + 2000  # inside the first JPEG: the page's checksum no longer fits
    data[at] ^= 0xFF
    damaged = tmp_path / "shard.parquet"
    damaged.write_bytes(bytes(data))
    samples = Samples([replace(index[0], path=str(damaged))], SETTINGS, seed=0, training=False)
    with pytest.raises(DatasetError, match=f"{index[0].sample_id}.*row 0"):
        samples.row(0)


@pytest.mark.parametrize("photo_px", [256, 512])
def test_equal_pictures_stay_equal(photo_px: int) -> None:
    row = sphere_row(3, base_radius_m=0.57, turns_deg=(9.0,))
    row["references"][0]["image"] = row["image"]
    batch = batch_of_row(row, DataSettings(), photo_px=photo_px)
    assert torch.equal(batch.target, batch.references[:, 0])
