"""Changes that leave the geometry true: the loss of a changed sample with the changed offset is the original's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.conventions import MAP_PX
from schemas.dataset import Dataset
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from trainer.augment import drawn_shift, flipped, moved
from trainer.batch import Batch, batch_of_row
from trainer.config import DataSettings, LossSettings
from trainer.data import Samples, read_index
from trainer.objective import losses_of

PLAIN = DataSettings(colour_jitter=False)
LOSSES = LossSettings()


@pytest.fixture(scope="module", params=[256, 512])
def batch(request: pytest.FixtureRequest) -> Batch:
    return batch_of_row(sphere_row(3, base_radius_m=0.57), PLAIN, photo_px=request.param)


@pytest.fixture(scope="module")
def offset() -> torch.Tensor:
    """Smooth, lopsided, centimetres."""
    v, u = torch.meshgrid(torch.linspace(0, 3, MAP_PX), torch.linspace(0, 5, MAP_PX), indexing="ij")
    return (0.03 * torch.sin(u + 0.3) * torch.cos(v))[None, None]


def test_a_mirrored_sample_costs_the_same(batch: Batch, offset: torch.Tensor) -> None:
    before, after = losses_of(batch, offset, LOSSES), losses_of(flipped(batch), offset.flip(-1), LOSSES)
    for term in ("photo", "smooth", "reg"):
        torch.testing.assert_close(getattr(after, term), getattr(before, term), rtol=2e-5, atol=1e-7)
    unturned = replace(flipped(batch), motion=batch.motion.flip(-1))  # the picture flipped, the motion not
    assert float(losses_of(unturned, offset.flip(-1), LOSSES).photo) > 1.2 * float(before.photo)


def test_mirroring_twice_changes_nothing(batch: Batch) -> None:
    again = flipped(flipped(batch))
    for name in ("inputs", "motion", "references", "valid", "photo_depth"):
        assert torch.equal(getattr(again, name), getattr(batch, name)), name
    torch.testing.assert_close(again.K, batch.K)


@pytest.mark.parametrize("shift", [(7, -12), (-5, 0), (0, 9)])
def test_a_moved_sample_costs_the_same(batch: Batch, offset: torch.Tensor, shift: tuple[int, int]) -> None:
    before = losses_of(batch, offset, LOSSES)
    after = losses_of(moved(batch, *shift), torch.roll(offset, shift, (-2, -1)), LOSSES)
    for term in ("photo", "smooth", "reg"):
        torch.testing.assert_close(getattr(after, term), getattr(before, term), rtol=2e-5, atol=1e-7)
    unmoved_camera = replace(moved(batch, *shift), K=batch.K)
    other = losses_of(unmoved_camera, torch.roll(offset, shift, (-2, -1)), LOSSES)
    assert float(other.photo) > 1.2 * float(before.photo)


def test_shifts_keep_the_body_inside(batch: Batch) -> None:
    rng = np.random.default_rng(0)
    drawn = [drawn_shift(batch, 0.3, rng) for _ in range(200)]
    assert len(set(drawn)) > 100
    extremes = [f(each[axis] for each in drawn) for axis in (0, 1) for f in (min, max)]
    assert extremes[0] < -20 < 20 < extremes[1]
    for shift in drawn[:10]:
        assert (moved(batch, *shift).base_depth > 0).sum() == (batch.base_depth > 0).sum()


def test_training_samples_are_changed_as_set_and_others_are_not(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "dataset", [sphere_row(1, turns_deg=(9.0,))])
    index = read_index(Dataset.open(root))
    changing = replace(PLAIN, flip=True, crop_jitter=0.2, background="replace")
    plain = Samples(index, PLAIN, seed=1, training=True)[0, 0]
    drawn = [Samples(index, changing, seed=1, training=True)[epoch, 0] for epoch in range(8)]
    held = Samples(index, changing, seed=1, training=False)[0, 0]
    assert torch.equal(held.K, plain.K)
    assert torch.equal(held.inputs[:, 3], plain.inputs[:, 3])
    assert (held.inputs[:, :3, 0, 0] == 0.5).all()  # grey behind the body
    assert len({float(each.K[0, 0, 2]) for each in drawn}) >= 5
    assert len({float(each.motion[0, 0, 1].sum().sign()) for each in drawn}) == 2
    assert len({float(each.inputs[0, 0, 128, 250]) for each in drawn}) >= 5
