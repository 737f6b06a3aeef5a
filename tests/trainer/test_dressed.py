"""The tracks' dressed shapes as teacher: the loss, how they come into a batch, a run that learns from them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.conventions import MAP_PX
from schemas.dataset import Dataset
from schemas.dressed import DressedDepth
from schemas.errors import DatasetError, SettingsError
from schemas.prediction import prediction_path
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import RADIUS_M, map_intrinsics, sphere_depth, sphere_row
from tests.trainer.test_training import BASE_RADIUS_M, SETTINGS
from trainer.augment import flipped, moved
from trainer.batch import collate
from trainer.config import DataSettings, LossSettings, preset
from trainer.data import SampleRef, Samples, read_index
from trainer.dressed import DressedDepths
from trainer.held_out import teaching
from trainer.losses import dressed_loss, truth_loss
from trainer.objective import losses_of
from trainer.train import fit

ALONE = replace(LossSettings(), gamma_dressed=1.0, gamma_photo=0.0, gamma_smooth=0.0, gamma_reg=0.0)


def index_of(root: Path) -> list[SampleRef]:
    return read_index(Dataset.open(str(root)))


def dressed_folder(root: Path, names: list[str]) -> Path:
    """The true ball as what the tracks say, twice as sure on its left half."""
    depth = sphere_depth(MAP_PX, RADIUS_M)
    sigma = np.where(np.arange(MAP_PX) < MAP_PX // 2, 0.004, 0.008) * (depth > 0)
    for name in names:
        DressedDepth(depth_m=depth, sigma_m=sigma, K=map_intrinsics(MAP_PX)).save(prediction_path(root, name))
    return root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, track=f"clip/p0{seed % 2}") for seed in range(6)]
    return write_dataset(tmp_path_factory.mktemp("taught") / "dataset", rows)


@pytest.fixture(scope="module")
def dressed(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dressed_folder(tmp_path_factory.mktemp("dressed"), [ref.sample_id for ref in index_of(dataset)])


def maps(seed: int, side: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    """A base depth and a dressed one, both with holes."""
    rng = np.random.default_rng(seed)
    base, depth = (
        np.where(
            rng.uniform(size=(2, 1, side, side)) < 0.8, 4 + 0.1 * rng.uniform(size=(2, 1, side, side)), 0
        )
        for _ in range(2)
    )
    sigma = rng.uniform(0.002, 0.01, depth.shape) * (depth > 0)
    return torch.from_numpy(base), torch.from_numpy(np.concatenate([depth, sigma], axis=1))


def test_a_constant_costs_nothing_and_pulls_at_nothing() -> None:
    """A dressed shape that is the base, or lies off it by the same everywhere: loss and gradient are 0."""
    base, dressed = maps(0)
    for constant in (0.0, 0.03):
        same = torch.cat([(base + constant) * (base > 0), 0.005 * (base > 0)], dim=1)
        offset = torch.zeros_like(base, requires_grad=True)
        loss = dressed_loss(offset, base, same)
        (gradient,) = torch.autograd.grad(loss.sum(), offset)
        assert float(loss.detach().max()) < 1e-15
        assert float(gradient.abs().max()) < 1e-12 or constant  # beyond rounding there is no side to pull to
    offset = torch.from_numpy(0.01 * np.random.default_rng(1).standard_normal(base.shape))
    torch.testing.assert_close(
        dressed_loss(offset, base, dressed), dressed_loss(offset + 0.07, base, dressed)
    )


def test_the_loss_is_the_least_weighted_error_over_constants() -> None:
    base, dressed = maps(2)
    offset = torch.from_numpy(0.02 * np.random.default_rng(3).standard_normal(base.shape))
    found = dressed_loss(offset, base, dressed)
    for at in range(2):
        depth, sigma = dressed[at].numpy()
        known = (base[at, 0].numpy() > 0) & (depth > 0)
        error = (base[at, 0] + offset[at, 0]).numpy()[known] - depth[known]
        weight = sigma[known] ** -2.0
        least = min(
            (weight * np.abs(error - c)).sum() / weight.sum() for c in error
        )  # the best is one of them
        assert float(found[at]) == pytest.approx(least, rel=1e-12)


def test_what_is_surer_counts_by_its_precision() -> None:
    """One pixel of three stands out by e: w e / sum w, and three times the sigma is a ninth of the weight."""
    base = torch.full((1, 1, 1, 3), 4.0, dtype=torch.float64)
    depth = torch.tensor([[[[4.0, 4.0, 4.01]]]], dtype=torch.float64)
    for sigma, expected in ((0.003, 0.01 / 3), (0.009, 0.01 / 9 / (2 + 1 / 9))):
        sigmas = torch.tensor([[[[0.003, 0.003, sigma]]]], dtype=torch.float64)
        found = dressed_loss(torch.zeros_like(base), base, torch.cat([depth, sigmas], dim=1))
        assert float(found) == pytest.approx(expected)


def test_equally_sure_everywhere_it_is_the_loss_of_known_depth() -> None:
    base, dressed = maps(4)
    even = torch.cat([dressed[:, :1], 0.01 * (dressed[:, :1] > 0)], dim=1)
    offset = torch.from_numpy(0.02 * np.random.default_rng(5).standard_normal(base.shape))
    torch.testing.assert_close(
        dressed_loss(offset, base, even), truth_loss(offset, base, dressed[:, :1]), rtol=1e-9, atol=0
    )


def test_nothing_known_costs_nothing() -> None:
    base = torch.full((1, 1, 5, 5), 4.0)
    offset = torch.zeros_like(base, requires_grad=True)
    loss = dressed_loss(offset, base, torch.zeros(1, 2, 5, 5)).sum()
    loss.backward()
    assert float(loss.detach()) == 0
    assert not offset.grad.any()


def test_they_come_with_their_sample_moved_and_mirrored_alike(dataset: Path, dressed: Path) -> None:
    index = index_of(dataset)
    samples = Samples(index, DataSettings(), seed=1, training=False, dressed=DressedDepths(dressed))
    batch = samples[0, 0]
    np.testing.assert_array_equal(batch.dressed[0, 0], sphere_depth(MAP_PX, RADIUS_M).astype(np.float32))
    offset = torch.from_numpy(0.01 * np.random.default_rng(2).standard_normal((1, 1, MAP_PX, MAP_PX))).float()
    expected = losses_of(batch, offset, ALONE).total
    torch.testing.assert_close(losses_of(flipped(batch), offset.flip(-1), ALONE).total, expected)
    shifted = torch.roll(offset, (5, -7), (-2, -1))
    torch.testing.assert_close(losses_of(moved(batch, 5, -7), shifted, ALONE).total, expected)
    window = batch.body_window
    cut = losses_of(batch.windowed(window), offset[..., *window], ALONE).total
    torch.testing.assert_close(cut, expected)
    assert not torch.allclose(losses_of(batch, offset.flip(-1), ALONE).total, expected)  # halves differ


def test_samples_without_them_stand_beside_those_with_them(dataset: Path, tmp_path: Path) -> None:
    index = index_of(dataset)
    known = DressedDepths(dressed_folder(tmp_path, [index[0].sample_id]))
    samples = Samples(index, DataSettings(), seed=1, training=False, dressed=known)
    batch = collate([replace(samples[0, 1], dressed=None), samples[0, 0], samples[0, 1]])
    found = losses_of(batch, torch.zeros(3, 1, MAP_PX, MAP_PX), ALONE).dressed
    assert found is not None
    assert float(found[0]) == float(found[2]) == 0
    assert float(found[1]) > 0.01


def test_a_taught_run_finds_the_shape_on_who_is_held_out(
    dataset: Path, dressed: Path, tmp_path: Path
) -> None:
    """Every base ball is too large; in 60 steps a third of what the tracks say is found, without pictures or truth."""
    settings = replace(
        SETTINGS,
        losses=replace(SETTINGS.losses, gamma_photo=0.0, gamma_dressed=1.0, gamma_smooth=0.0),
        data=replace(SETTINGS.data, dressed=str(dressed)),
        train=replace(SETTINGS.train, max_steps=60, validate_every=60),
    )
    found = fit([str(dataset)], tmp_path / "out", settings)
    assert found is not None
    assert found.dressed_share > 0.33
    lines = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert any("dressed" in line for line in lines)
    said = [line["validation"]["dressed_share"] for line in lines if "validation" in line]
    assert said[-1] == pytest.approx(found.dressed_share)


def test_teaching_needs_dressed_depth_of_what_is_trained_on(dataset: Path, tmp_path: Path) -> None:
    index = index_of(dataset)
    settings = replace(preset("small"), losses=replace(LossSettings(), gamma_dressed=1.0))
    with pytest.raises(SettingsError, match="no dressed depth is given"):
        teaching(settings, index)
    held = dressed_folder(tmp_path, ["somebody/else/000000"])
    with pytest.raises(SettingsError, match="none of the 6 training samples"):
        teaching(replace(settings, data=replace(settings.data, dressed=str(held))), index)
    assert teaching(preset("small"), index) is None


def test_files_of_another_crop_or_of_something_else_are_refused(dataset: Path, tmp_path: Path) -> None:
    (name, *_) = [ref.sample_id for ref in index_of(dataset)]
    path = prediction_path(dressed_folder(tmp_path, [name]), name)
    good = DressedDepth.load(path)
    batch = Samples(index_of(dataset), DataSettings(), seed=1, training=False)[0, 0]
    replace(good, K=2 * good.K).save(path)
    with pytest.raises(DatasetError, match="the sample's"):
        DressedDepths(tmp_path).maps(batch)
    replace(good, sigma_m=0 * good.sigma_m).save(path)
    with pytest.raises(DatasetError, match="above 0 at the same pixels"):
        DressedDepth.load(path)
    np.savez(path, depth_m=good.depth_m.astype(int), sigma_m=good.sigma_m, K=good.K)
    with pytest.raises(DatasetError, match="not maps of floating-point numbers"):
        DressedDepth.load(path)
    path.write_bytes(b"no")
    with pytest.raises(DatasetError, match="is not a file of dressed depth"):
        DressedDepth.load(path)
