"""Muon: its orthogonal matrices, its steps against torch's own, what it leaves to Adam."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from schemas.errors import CheckpointError
from trainer.checkpoint import load_checkpoint, save_checkpoint
from trainer.config import ModelSettings, Settings, TrainSettings
from trainer.model import ReconNet
from trainer.optimiser import Muon, optimiser, orthogonalised

TINY = ModelSettings(downs=3, width=16, stem_width=8, kernel_px=3, groups=4, blocks=1, head_blocks=1)
RATE = 0.01


def seeded(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(5, 16, 40), (5, 40, 16), (3, 24, 24)])
def test_singular_values_become_one_and_their_vectors_stay(shape: tuple[int, int, int]) -> None:
    matrices = seeded(1, *shape) * torch.tensor(1e-3)
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ orthogonalised(matrices) @ vt.mT
    values = torch.diagonal(inside, dim1=1, dim2=2)
    assert values.min() > 0.3
    assert values.max() < 1.25
    assert values.median() == pytest.approx(1, abs=0.25)
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-4


def test_a_matrix_of_zeros_stays_one() -> None:
    assert torch.equal(orthogonalised(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_convolutions_move_as_torchs_own_would_move_their_matrices(order: torch.memory_format) -> None:
    model = ReconNet(TINY).to(memory_format=order)  # type: ignore[call-overload]  # not annotated
    ours = Muon(model, RATE)
    twins = [torch.nn.Parameter(each.detach().flatten(1).clone()) for each in ours.filters]
    theirs = torch.optim.Muon(twins, lr=RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    assert len(twins) > 10
    for seed in range(3):
        before = [each.detach().flatten(1).clone() for each in ours.filters]
        for number, (parameter, twin) in enumerate(zip(ours.filters, twins, strict=True)):
            parameter.grad = seeded(100 * seed + number, *parameter.shape).contiguous(memory_format=order)
            twin.grad = parameter.grad.flatten(1).clone()
            twin.data.copy_(before[number])
        ours.step()
        theirs.step()
        for parameter, twin, old in zip(ours.filters, twins, before, strict=True):
            moved, expected = parameter.detach().flatten(1) - old, twin.detach() - old
            assert (moved - expected).norm() < 0.03 * expected.norm()  # theirs is computed in bfloat16


def test_everything_else_follows_adam_to_the_last_bit() -> None:
    torch.manual_seed(1)
    model = ReconNet(TINY)
    twin = ReconNet(TINY)
    twin.load_state_dict(model.state_dict())
    ours, adam = Muon(model, RATE), torch.optim.Adam(twin.parameters(), lr=RATE)
    filters = {id(each) for each in ours.filters}
    for seed in range(3):
        for number, (one, other) in enumerate(zip(model.parameters(), twin.parameters(), strict=True)):
            one.grad = seeded(100 * seed + number, *one.shape)
            other.grad = one.grad.clone()
        ours.step()
        adam.step()
    others = [
        torch.equal(one, other)
        for one, other in zip(model.parameters(), twin.parameters(), strict=True)
        if id(one) not in filters
    ]
    assert len(others) > 10
    assert all(others)
    assert id(model.last.weight) not in filters
    assert id(model.stem.weight) in filters


def test_moments_of_one_optimiser_are_refused_by_the_other(tmp_path: Path) -> None:
    settings = Settings(model=TINY, train=TrainSettings(optimiser="muon"))
    model = ReconNet(TINY)
    muon = optimiser(model, settings.train)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    muon.step()
    save_checkpoint(tmp_path, model, muon, settings, 1, {})
    again = ReconNet(TINY)
    with pytest.raises(CheckpointError, match=r"parameter 0.*train\.optimiser"):
        load_checkpoint(tmp_path).restore_optimizer(
            optimiser(again, replace(settings.train, optimiser="adam"))
        )
    restored = optimiser(again, settings.train)
    load_checkpoint(tmp_path).restore_optimizer(restored)
    for ours, theirs in zip(model.parameters(), again.parameters(), strict=True):
        assert muon.state[ours].keys() == restored.state[theirs].keys()
        assert torch.equal(muon.state[ours]["exp_avg"], restored.state[theirs]["exp_avg"])
