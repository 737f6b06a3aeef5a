"""Several processes that train one network, as `torchrun` starts them. One process alone needs nothing of it.

Every process holds the whole network and sees its own part of each step's samples; gradients are averaged, so all
take the same step. The first process validates and writes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.devices import device_of


@dataclass(frozen=True, kw_only=True)
class Processes:
    """How many there are, and which this is."""

    device: torch.device
    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one validates and writes."""
        return self.rank == 0

    def averaging(self, model: nn.Module) -> nn.Module:
        """What to call in place of `model` so that a backward pass leaves g := (1/R) sum_r g_r in its parameters.

        All processes begin with the first one's weights. The model itself, whose names checkpoints hold, where there is
        one process.
        """
        return model if self.count == 1 else DistributedDataParallel(model)

    def largest(self, *values: float) -> list[float]:
        """The largest of each over the processes: what they agree on."""
        if self.count == 1:
            return list(values)
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(shared, op=distributed.ReduceOp.MAX)
        return shared.tolist()

    def gathered(self, values: Tensor) -> Tensor:
        """(R, ...) the values of all processes, which have one shape, in the order of ranks; on the CPU."""
        if self.count == 1:
            return values[None]
        own = values.to(self.device)
        parts = [torch.empty_like(own) for _ in range(self.count)]
        distributed.all_gather(parts, own)
        return torch.stack(parts).cpu()

    def summed(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.count == 1:
            return values
        shared = values.to(self.device, copy=True)
        distributed.all_reduce(shared)
        return shared.cpu()


def gradients_kept_back(model: nn.Module, is_on: bool = True) -> AbstractContextManager[None]:
    """Passes inside only add to this process's gradients: the next backward pass outside exchanges their sum."""
    return model.no_sync() if is_on and isinstance(model, DistributedDataParallel) else nullcontext()


@contextmanager
def joined_processes(device: str | None = None) -> Iterator[Processes]:
    """The processes that `torchrun` says there are, connected while the context lasts; each takes its own GPU."""
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if count == 1:
        yield Processes(device=device_of(device))
        return
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    place = device_of(f"cuda:{os.environ['LOCAL_RANK']}" if kind == "cuda" else kind)
    if place.type == "cuda":
        torch.cuda.set_device(place)
    distributed.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Processes(device=place, rank=rank, count=count)
    finally:
        distributed.destroy_process_group()


@contextmanager
def sigterm_noted() -> Iterator[list[int]]:
    """Collects SIGTERM instead of dying of it: the loop looks at the list between two steps."""
    told: list[int] = []
    try:
        before = signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))
    except ValueError:  # not the main thread: whoever owns the process decides
        yield told
        return
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def determinism(is_on: bool) -> Iterator[None]:
    """Repeatable kernels while the context lasts.

    Only a warning where torch lists none: grid_sample's gradient is listed for the picture's, which nobody asks for.
    """
    if not is_on:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
