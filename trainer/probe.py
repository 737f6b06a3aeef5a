"""What the supervision carries: the offset of single samples optimised directly, with the same losses and no network.

From the base depth it is the upper bound of what a network can learn from these losses and this data, and the sharpest
test of the whole chain: where bodies, motion or cameras disagree between frames, the offset that fits the pictures best
is not the true one. From a network's prediction it adds what the sample's own references say; smoothness and the pull
to zero then hold for what is added. Source: method, section 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from schemas.errors import SettingsError
from schemas.prediction import Prediction
from trainer.batch import Batch, collate
from trainer.config import CorrectionSettings, LossSettings
from trainer.corrections import corrected_losses, variable_count
from trainer.data import Samples
from trainer.objective import losses_of

SCALES_PX = (1, 2, 4, 8, 16)
"""The offset is a sum of maps of these cell sizes: coarse ones carry it into the losses' reach."""
PROBE_LOSSES = LossSettings(gamma_smooth=2.0, gamma_reg=0.0)
"""What method.md's figures were measured with."""


@dataclass(frozen=True, kw_only=True)
class ProbeSettings:
    """The optimisation."""

    steps: int = 120
    learning_rate: float = 0.03
    max_offset_m: float = 0.1
    """The offset lies within plus and minus this, as the network's."""
    corrections: CorrectionSettings | None = None
    """Corrections of the motion that are optimised along, as `corrections.learn` learns them in training."""

    def __post_init__(self) -> None:
        for name in ("steps", "learning_rate", "max_offset_m"):
            if not getattr(self, name) > 0:
                raise SettingsError(
                    f"probe {name} cannot be {getattr(self, name)!r}.", remedy="Give a number above 0."
                )


def optimised_offset(
    batch: Batch, losses: LossSettings, settings: ProbeSettings, start: Tensor | None = None
) -> Tensor:
    """(B, 1, 256, 256) metres, argmin over offsets of the losses of each sample; 0 outside the window of bodies.

    offset = start + max_offset tanh(sum over scales of upsampled maps), all maps zero at first, and so is `start` where
    none is given (B, 1, 256, 256); Adam, its rate warmed up over 10 steps and let down by a cosine over the last 60 %.
    The losses of samples add up, so they do not interact. Corrections, if any, take steps of their own rate, in units
    of what is expected.
    """
    window = batch.body_window
    seen, whole = batch.windowed(window), torch.zeros_like(batch.base_depth)
    start = whole if start is None else start
    began = start[..., *window]
    count, size = len(batch.base_depth), (began.shape[-2], began.shape[-1])
    moves = settings.corrections
    variables = _no_corrections(batch, moves) if moves is not None else None
    maps = _flat_maps(count, size, batch.base_depth.device)
    groups = [{"params": maps, "rate": settings.learning_rate}]
    if moves is not None:
        groups.append({"params": [variables], "rate": moves.learning_rate})
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.95))

    def offset() -> Tensor:
        summed = torch.zeros_like(began)
        for each in maps:
            summed = summed + functional.interpolate(each, size, mode="bilinear", align_corners=False)
        return began + settings.max_offset_m * torch.tanh(summed)

    for step in range(settings.steps):
        done = step / settings.steps
        fall = 0.5 + 0.5 * math.cos(math.pi * max(0.0, done - 0.4) / 0.6)
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * min(1.0, 0.1 + step / 10) * (0.01 + fall)
        optimizer.zero_grad(set_to_none=True)
        if variables is None or moves is None:
            found = losses_of(seen, offset(), losses, expected=began)
        else:
            placed = whole.clone()
            placed[..., *window] = offset()
            found = corrected_losses(batch, placed, variables, losses, moves, expected=start)
        (count * found.total).backward()
        optimizer.step()
    with torch.no_grad():
        placed = whole.clone()
        placed[..., *window] = offset()
    return placed


def _flat_maps(count: int, size: tuple[int, int], device: torch.device) -> list[Tensor]:
    """(count, 1, H / cell, W / cell) zeros of every scale, that take a gradient."""
    shapes = [(count, 1, math.ceil(size[0] / cell), math.ceil(size[1] / cell)) for cell in SCALES_PX]
    return [torch.zeros(shape, device=device, requires_grad=True) for shape in shapes]


def _no_corrections(batch: Batch, settings: CorrectionSettings) -> Tensor:
    """(B, N, 6 + 2 G^2) zeros that take a gradient."""
    shape = (*batch.reference_numbers.shape, variable_count(settings))
    return torch.zeros(shape, device=batch.base_depth.device, requires_grad=True)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Probed:
    """What came of one sample."""

    sample_id: str
    prediction: Prediction
    seen: NDArray[np.bool_]
    """(256, 256) bool: valid in a reference."""


def probe(
    samples: Samples,
    positions: Sequence[int],
    losses: LossSettings,
    settings: ProbeSettings,
    *,
    batch_size: int,
    device: torch.device,
    model: nn.Module | None = None,
) -> Iterator[Probed]:
    """Optimises samples, `batch_size` at a time, from the base depth or from what a network makes of it."""
    for first in range(0, len(positions), batch_size):
        batch = collate([samples[0, at] for at in positions[first : first + batch_size]]).to(device)
        start = None if model is None else predicted_offset(model, batch)
        yield from probed(batch, optimised_offset(batch, losses, settings, start))


@torch.no_grad()
def predicted_offset(model: nn.Module, batch: Batch) -> Tensor:
    """(B, 1, 256, 256) metres: what a network says beyond its mean over each body, 0 outside.

    Known depth teaches up to a constant, and what pictures say of one says nothing of shape: it is found anew.
    """
    offset: Tensor = model.eval()(batch.inputs)
    pixels = batch.mask.sum((1, 2, 3), keepdim=True).clamp(min=1)
    mean = (offset * batch.mask).sum((1, 2, 3), keepdim=True) / pixels
    return (offset - mean) * batch.mask


def probed(batch: Batch, offset: Tensor) -> Iterator[Probed]:
    """Offsets (B, 1, 256, 256) of a batch as depths."""
    depth = torch.where(batch.base_depth > 0, batch.base_depth + offset, 0).cpu().numpy()
    base, seen = batch.base_depth.cpu().numpy(), (batch.valid.amax(dim=1) > 0).cpu().numpy()
    for at, sample_id in enumerate(batch.sample_ids):
        prediction = Prediction(
            depth_m=depth[at, 0], base_depth_m=base[at, 0], K=batch.K[at].double().cpu().numpy()
        )
        yield Probed(sample_id=sample_id, prediction=prediction, seen=seen[at, 0])
