"""Supervision by known depth, a named option: the loss, how truth comes into a batch, a run that learns from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.conventions import MAP_PX
from schemas.errors import SettingsError
from schemas.prediction import prediction_path
from schemas.truth import Truth
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import RADIUS_M, map_intrinsics, sphere_depth, sphere_row
from tests.trainer.test_training import BASE_RADIUS_M, SETTINGS
from trainer.augment import flipped, moved
from trainer.batch import collate
from trainer.config import DataSettings, LossSettings, preset
from trainer.data import Samples, read_index
from trainer.held_out import supervision
from trainer.losses import truth_loss
from trainer.metrics import depth_errors
from trainer.objective import losses_of
from trainer.train import fit
from trainer.truth import Truths


def truth_folder(root: Path, names: list[str]) -> Path:
    for name in names:
        Truth(depth_m=sphere_depth(MAP_PX, RADIUS_M), K=map_intrinsics(MAP_PX)).save(
            prediction_path(root, name)
        )
    return root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, track=f"clip/p0{seed % 2}") for seed in range(6)]
    return write_dataset(tmp_path_factory.mktemp("supervised") / "dataset", rows)


@pytest.fixture(scope="module")
def truths(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = [ref.sample_id for ref in read_index_of(dataset)]
    return truth_folder(tmp_path_factory.mktemp("truth"), names)


def read_index_of(root: Path):
    from schemas.dataset import Dataset

    return read_index(Dataset.open(str(root)))


def test_the_loss_is_the_error_that_is_reported() -> None:
    """Mean |error| after the best constant, the figure of `depth_errors`, for any offset."""
    rng = np.random.default_rng(0)
    base = np.where(rng.uniform(size=(2, 1, 40, 40)) < 0.7, 4 + 0.1 * rng.uniform(size=(2, 1, 40, 40)), 0)
    truth = np.where(rng.uniform(size=base.shape) < 0.7, 4 + 0.1 * rng.uniform(size=base.shape), 0)
    offset = 0.05 * rng.standard_normal(base.shape)
    found = truth_loss(*(torch.from_numpy(each) for each in (offset, base, truth)))
    for at in range(2):
        depth = np.where(base[at, 0] > 0, base[at, 0] + offset[at, 0], 0)
        expected = depth_errors(depth, truth[at, 0], np.diag([40.0, 40.0, 1.0])).mae_mm / 1000
        np.testing.assert_allclose(float(found[at]), expected, rtol=1e-3)


def test_a_constant_costs_nothing_and_its_gradient_is_that_of_the_shape() -> None:
    rng = np.random.default_rng(1)
    base = torch.from_numpy(4 + 0.1 * rng.uniform(size=(1, 1, 9, 9)))
    truth = base + torch.from_numpy(0.02 * rng.standard_normal(base.shape))
    offset = torch.zeros_like(base, requires_grad=True)
    torch.testing.assert_close(truth_loss(offset, base, truth), truth_loss(offset + 0.07, base, truth))
    (gradient,) = torch.autograd.grad(truth_loss(offset, base, truth).sum(), offset)
    assert abs(float(gradient.sum())) < 1.5 / base.numel()  # as many pixels pull up as down
    step = torch.zeros_like(base)
    step[0, 0, 4, 4] = 1e-6
    change = (truth_loss(offset + step, base, truth) - truth_loss(offset, base, truth)).detach() / 1e-6
    np.testing.assert_allclose(float(change), float(gradient[0, 0, 4, 4]), rtol=1e-5)


def test_nothing_known_costs_nothing() -> None:
    base = torch.full((1, 1, 5, 5), 4.0)
    offset = torch.zeros_like(base, requires_grad=True)
    loss = truth_loss(offset, base, torch.zeros_like(base)).sum()
    loss.backward()
    assert float(loss.detach()) == 0
    assert not offset.grad.any()


def test_truth_comes_with_its_sample_moved_and_mirrored_alike(dataset: Path, truths: Path) -> None:
    samples = Samples(read_index_of(dataset), DataSettings(), seed=1, training=False, truths=Truths(truths))
    batch = samples[0, 0]
    np.testing.assert_array_equal(batch.true_depth[0, 0], sphere_depth(MAP_PX, RADIUS_M).astype(np.float32))
    bent = torch.from_numpy(np.random.default_rng(3).uniform(0, 0.05, (1, 1, MAP_PX, MAP_PX))).float()
    batch = replace(
        batch, true_depth=batch.true_depth + bent * (batch.true_depth > 0)
    )  # a ball is its own mirror
    settings = replace(LossSettings(), gamma_truth=1.0, gamma_photo=0.0, gamma_smooth=0.0, gamma_reg=0.0)
    offset = torch.from_numpy(0.01 * np.random.default_rng(2).standard_normal((1, 1, MAP_PX, MAP_PX))).float()
    expected = losses_of(batch, offset, settings).total
    torch.testing.assert_close(losses_of(flipped(batch), offset.flip(-1), settings).total, expected)
    shifted = torch.roll(offset, (5, -7), (-2, -1))
    torch.testing.assert_close(losses_of(moved(batch, 5, -7), shifted, settings).total, expected)
    window = batch.body_window
    cut = losses_of(batch.windowed(window), offset[..., *window], settings).total
    torch.testing.assert_close(cut, expected)


def test_samples_without_truth_stand_beside_those_with_it(dataset: Path, tmp_path: Path) -> None:
    index = read_index_of(dataset)
    known = truth_folder(tmp_path / "truth", [index[0].sample_id])
    samples = Samples(index, DataSettings(), seed=1, training=False, truths=Truths(known))
    without = replace(samples[0, 1], true_depth=None)
    batch = collate([without, samples[0, 0], samples[0, 1]])
    offset = torch.zeros(3, 1, MAP_PX, MAP_PX)
    found = losses_of(batch, offset, replace(LossSettings(), gamma_truth=1.0, gamma_photo=0.0)).truth
    assert found is not None
    assert float(found[0]) == float(found[2]) == 0
    assert float(found[1]) > 0.01


def test_without_the_pictures_nothing_of_them_is_used(dataset: Path, truths: Path) -> None:
    batch = Samples(read_index_of(dataset), DataSettings(), seed=1, training=False, truths=Truths(truths))[
        0, 0
    ]
    broken = replace(batch, references=torch.full_like(batch.references, torch.nan))
    offset = torch.zeros_like(batch.base_depth)
    settings = replace(LossSettings(), gamma_truth=1.0, gamma_photo=0.0)
    assert torch.isfinite(losses_of(broken, offset, settings).total)
    assert float(losses_of(broken, offset, settings).photo) == 0


def test_references_that_nothing_looks_at_are_not_read(dataset: Path, truths: Path) -> None:
    """Every other draw of the sample, its losses and gradients are those of a batch with them."""
    drawn = replace(preset("small").data, flip=True, crop_jitter=0.1, colour_jitter=True)
    settings = replace(LossSettings(), gamma_truth=1.0, gamma_photo=0.0)
    lists = [
        Samples(
            read_index_of(dataset), drawn, seed=1, training=True, truths=Truths(truths), with_references=kept
        )
        for kept in (True, False)
    ]
    offset = torch.from_numpy(0.01 * np.random.default_rng(2).standard_normal((2, 1, MAP_PX, MAP_PX))).float()
    for epoch in range(3):
        full, lean = (collate([samples[epoch, 0], samples[epoch, 1]]) for samples in lists)
        assert full.references.shape[1] > 0 == lean.references.shape[1] == lean.motion.shape[1]
        assert torch.equal(full.inputs, lean.inputs)
        window = lean.body_window
        found = [
            losses_of(each.windowed(window), offset[..., *window], settings).total for each in (full, lean)
        ]
        assert torch.equal(found[0], found[1])


def test_a_supervised_run_learns_the_shape_of_who_is_held_out(
    dataset: Path, truths: Path, tmp_path: Path
) -> None:
    """Every base ball is too large; in 60 steps the held-out one's error falls by a third, pictures unused."""
    supervised = replace(
        SETTINGS,
        losses=replace(SETTINGS.losses, gamma_photo=0.0, gamma_truth=1.0, gamma_smooth=0.0),
        data=replace(SETTINGS.data, truth=str(truths)),
        train=replace(SETTINGS.train, max_steps=60, validate_every=60),
    )
    found = fit([str(dataset)], tmp_path / "out", supervised)
    assert found is not None
    assert found.depth_errors is not None
    assert found.base_depth_errors is not None
    assert found.depth_errors.mae_mm < 0.67 * found.base_depth_errors.mae_mm
    assert '"truth"' in (tmp_path / "out/log.jsonl").read_text()


def test_a_supervised_run_may_hold_nobody_out(dataset: Path, truths: Path, tmp_path: Path) -> None:
    """The truth is of what it trains on, then."""
    data = replace(SETTINGS.data, truth=str(truths), validation_share=0.0, held_out=())
    losses = replace(SETTINGS.losses, gamma_photo=0.0, gamma_truth=1.0)
    train = replace(SETTINGS.train, max_steps=2)
    fit([str(dataset)], tmp_path / "out", replace(SETTINGS, data=data, losses=losses, train=train))
    assert '"truth"' in (tmp_path / "out/log.jsonl").read_text()


def test_supervision_needs_truth_of_what_is_trained_on(dataset: Path, tmp_path: Path) -> None:
    index = read_index_of(dataset)
    settings = replace(preset("small"), losses=replace(LossSettings(), gamma_truth=1.0))
    with pytest.raises(SettingsError, match="no true depth is given"):
        supervision(settings, index)
    held = truth_folder(tmp_path / "truth", ["somebody/else/000000"])
    with pytest.raises(SettingsError, match="none of the 6 training samples"):
        supervision(replace(settings, data=replace(settings.data, truth=str(held))), index)
    assert supervision(preset("small"), index) is None
