"""What a training step spends on warp and losses, and what bfloat16 saves."""

from __future__ import annotations

from pathlib import Path

import torch

from schemas.settings import with_overrides
from tests.benchmarks.measuring import Benchmark, Call, UnavailableError
from tests.support.sphere_scene import sphere_row
from trainer.batch import Batch, batch_of_row, collate
from trainer.config import Settings, preset
from trainer.model import ReconNet
from trainer.objective import losses_of
from trainer.step import train_step

TURNS_DEG = (8.0, -8.0, 13.0, -13.0, 18.0, -18.0)


def benchmarks() -> list[Benchmark]:
    """Ratio = step / (warp + losses), the inverse of the share: bars 10 for `paper`, 4 for `small`."""
    return [
        Benchmark(
            name="loss_share_paper",
            detail="warp + losses, forward and backward (ours), against the float32 forward pass of `paper` alone "
            "(peer; a whole step takes three to four times that), 1 sample, 6 references",
            prepare=_loss_share_of_paper,
        ),
        Benchmark(
            name="loss_share_small",
            detail="warp + losses, forward and backward (ours), against a whole float32 step of `small` (peer), "
            "2 samples, 3 references",
            prepare=_loss_share_of_small,
        ),
        Benchmark(
            name="bf16_vs_float32",
            detail="a step of `paper`: bfloat16 and channels_last (ours), float32 (peer), 1 sample, 6 references",
            prepare=_bf16,
        ),
    ]


def made_batch(samples: int, references: int) -> Batch:
    """Spheres of a person's size in the picture."""
    rows = [sphere_row(seed, base_radius_m=0.57, turns_deg=TURNS_DEG[:references]) for seed in range(samples)]
    return collate([batch_of_row(row, Settings().data) for row in rows])


def stepping(settings: Settings, batch: Batch) -> Call:
    """A whole step of the optimiser."""
    torch.manual_seed(0)
    model = ReconNet(settings.model)
    if settings.train.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-5)
    return lambda: train_step(model, optimizer, [batch], settings)


def _loss_share_of_small() -> tuple[Call, Call]:
    torch.set_num_threads(1)
    settings, batch = preset("small"), made_batch(samples=2, references=3)
    return _losing(settings, batch), stepping(settings, batch)


def _loss_share_of_paper() -> tuple[Call, Call]:
    torch.set_num_threads(1)
    settings, batch = preset("paper"), made_batch(samples=1, references=6)
    model = ReconNet(settings.model).eval()

    @torch.no_grad()
    def forward() -> None:
        model(batch.inputs)

    return _losing(settings, batch), forward


def _losing(settings: Settings, batch: Batch) -> Call:
    """Warp and losses, forward and backward, cut to the body as a step does."""

    def loss() -> None:
        offset = torch.zeros_like(batch.base_depth, requires_grad=True)
        window = batch.body_window
        losses_of(batch.windowed(window), offset[..., *window], settings.losses).total.backward()

    return loss


def _bf16() -> tuple[Call, Call]:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if not any(flag in flags for flag in ("avx512_bf16", "amx_bf16")):
        raise UnavailableError("this CPU has no bfloat16")
    torch.set_num_threads(1)
    batch, plain = made_batch(1, 6), preset("paper")
    mixed = with_overrides(plain, ["train.precision=bfloat16", "train.channels_last=true"])
    return stepping(mixed, batch), stepping(plain, batch)
