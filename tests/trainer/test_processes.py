"""Several processes: each gradient of a step is exchanged once, and what takes part is the bare network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from tests.support.sphere_scene import sphere_row
from trainer.batch import Batch, batch_of_row
from trainer.config import ModelSettings, Settings, preset
from trainer.model import ReconNet
from trainer.processes import Processes
from trainer.step import train_step

TINY = ModelSettings(downs=2, width=8, stem_width=8, kernel_px=3, groups=2, blocks=1, head_blocks=1)
SETTINGS = replace(preset("small"), model=TINY)


@pytest.fixture
def group() -> Iterator[Processes]:
    """A group of one process, which says what it would say to others."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield Processes(device=torch.device("cpu"))
    finally:
        distributed.destroy_process_group()


@pytest.fixture(scope="module")
def batches() -> list[Batch]:
    return [
        batch_of_row(sphere_row(seed, base_radius_m=0.57, turns_deg=(9.0,)), SETTINGS.data)
        for seed in (1, 2, 3)
    ]


def stepped(batches: list[Batch], *, wrapped: bool, settings: Settings = SETTINGS) -> tuple[ReconNet, int]:
    """The network after a step, and how often gradients were exchanged."""
    torch.manual_seed(0)
    model = ReconNet(TINY)
    calls: list[int] = []

    def counted(state, bucket):  # torch compares annotations with its own classes
        calls.append(bucket.index())
        future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    called: torch.nn.Module = model
    if wrapped:
        called = DistributedDataParallel(model)
        called.register_comm_hook(None, counted)
    seen = train_step(called, torch.optim.SGD(model.parameters(), lr=0.1), batches, settings)
    assert seen is not None
    assert len(seen) == len(batches)
    return model, calls.count(0)


def test_accumulated_batches_exchange_gradients_once(group: Processes, batches: list[Batch]) -> None:
    alone, _ = stepped(batches, wrapped=False)
    model, exchanges = stepped(batches, wrapped=True)
    assert exchanges == 1
    for name, value in alone.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_a_broken_batch_leaves_the_next_step_whole(group: Processes, batches: list[Batch]) -> None:
    """No gradient that was kept back, and no exchange that was begun, reaches into the step after it."""
    torch.manual_seed(0)
    model = ReconNet(TINY)
    called, optimizer = DistributedDataParallel(model), torch.optim.SGD(model.parameters(), lr=0.1)
    broken = replace(batches[0], inputs=torch.full_like(batches[0].inputs, float("nan")))
    for bad in ([broken, batches[1]], [batches[1], broken]):
        assert train_step(called, optimizer, bad, SETTINGS) is None
    assert train_step(called, optimizer, batches, SETTINGS) is not None
    expected, _ = stepped(batches, wrapped=False)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_one_process_trains_the_model_itself() -> None:
    model = ReconNet(TINY)
    assert Processes(device=torch.device("cpu")).averaging(model) is model


@pytest.mark.parametrize("name", ["paper", "released", "small", "fine", "supervised"])
def test_every_parameter_takes_part(name: str) -> None:
    """Processes wait for the gradient of every parameter: one that no loss depends on would stop them for ever."""
    with torch.device("meta"):
        model = ReconNet(preset(name).model)
        model(torch.zeros(1, 4, 512, 512)).sum().backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []
