"""One step of the optimiser, and what is counted along with it: the learning rate, the averaged weights."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from trainer.batch import Batch
from trainer.config import Settings, TrainSettings
from trainer.corrections import CorrectionTable, corrected_losses
from trainer.objective import Losses, losses_of
from trainer.processes import Processes, gradients_kept_back


def train_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Sequence[Batch],
    settings: Settings,
    processes: Processes | None = None,
    corrections: CorrectionTable | None = None,
) -> list[tuple[Losses, Tensor]] | None:
    """One step of the optimiser on the mean gradient of several batches and processes.

    `model` is what `Processes.averaging` gave. Returns each batch's losses and its samples' gradient norms
    |d L_sample / d offset| (B,); None where a loss or the gradient is not finite in any process: then nothing was
    changed. `corrections` take a step of their own.
    """
    processes = processes or Processes(device=batches[0].inputs.device)
    model.train()
    optimizer.zero_grad(set_to_none=True)
    seen, corrected_rows = [], []
    for number, batch in enumerate(batches, start=1):
        variables = corrections.of(batch) if corrections is not None else None
        with gradients_kept_back(model, number < len(batches)):
            found = _backward(model, batch, variables, settings, processes, of=len(batches))
        if found is None:
            optimizer.zero_grad(set_to_none=True)
            return None
        seen.append(found)
        if corrections is not None and variables is not None and variables.grad is not None:
            corrected_rows.append((corrections.rows(batch), variables.grad))
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings.train.clip_norm)
    if not torch.isfinite(norm):
        optimizer.zero_grad(set_to_none=True)
        return None
    optimizer.step()
    if corrections is not None:
        rows_per_process = sum(len(batch.sample_ids) for batch in batches) * settings.data.max_references
        corrections.step(corrected_rows, rows_per_process, processes)
    return seen


def _backward(
    model: nn.Module,
    batch: Batch,
    variables: Tensor | None,
    settings: Settings,
    processes: Processes,
    *,
    of: int,
) -> tuple[Losses, Tensor] | None:
    """Adds the gradient of one `of` so many batches to the model's; the batch's losses and gradient norms (B,).

    None, and no backward pass, where the loss is not finite in any process.
    """
    offset = _offset(model, batch, settings.train)
    offset.retain_grad()
    losses = _losses(batch, offset, variables, settings)
    (is_broken,) = processes.largest(float(not torch.isfinite(losses.total)))
    if is_broken:
        return None
    (losses.total / of).backward()
    assert offset.grad is not None
    return losses, offset.grad.flatten(1).norm(dim=1) * len(offset) * of


def _losses(batch: Batch, offset: Tensor, variables: Tensor | None, settings: Settings) -> Losses:
    """The losses of a batch, cut to its bodies; those of corrected motion, with the corrections' prior, if any."""
    if variables is None:
        window = batch.body_window
        return losses_of(batch.windowed(window), offset[..., *window], settings.losses)
    return corrected_losses(batch, offset, variables, settings.losses, settings.corrections)


def _offset(model: nn.Module, batch: Batch, settings: TrainSettings) -> Tensor:
    order = torch.channels_last if settings.channels_last else torch.contiguous_format
    mixed = settings.precision == "bfloat16"
    with torch.autocast(batch.inputs.device.type, dtype=torch.bfloat16, enabled=mixed):
        offset: Tensor = model(batch.inputs.contiguous(memory_format=order))
        return offset


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, step: int, decay: float) -> None:
    """a := d a + (1 - d) w with d = min(decay, (1 + step) / (10 + step)), so that the start is soon forgotten."""
    decay = min(decay, (1 + step) / (10 + step))
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(value, 1 - decay)


def learning_rate_factor(step: int, elapsed_minutes: float, settings: TrainSettings) -> float:
    """Linear warm-up, then a cosine to 1 % over the steps, or over the minutes where those end first."""
    done = step / settings.max_steps
    if settings.max_minutes is not None:
        done = max(done, elapsed_minutes / settings.max_minutes)
    warm = min(1.0, (step + 1) / max(settings.warm_up_steps, 1))
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))
