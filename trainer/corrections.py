"""Small corrections of the stored motion, learned along with the network: one set for every (sample, reference).

Bodies that err independently in each frame put false depth into every pair: a pixel of misalignment at 256 reads as
2.6 cm (method, section 10). What all pairs agree on is depth, what each wants for itself is misalignment; variables
of their own let a pair have the latter without the network having to explain it. Off by default
(`corrections.learn`), since it costs a little where bodies are exact.

The tables hold no body model, so a correction is not a change of pose but what one looks like in the reference camera:
a small turn w (rad) and shift s (m) of the whole body, and a smooth field f (m) for its parts,

    d' = d + w x (p + d - c) + s + f(pixel),

with d the stored displacement of the base surface's point p, p + d where it puts that point in the reference camera,
and c the mean of p + d over the body. f is bilinear between G x G nodes spread over the target's map and moves points
along the reference camera's x and y; along z a part would have to move far to move in the picture. The rotation of
the motion stays as it is: a turn of 1 degree moves an offset of 5 cm by less than a millimetre.

Variables z are dimensionless, in units of the standard deviations that the settings expect, so the prior is
sum z^2. A correction belongs to the stored crop: `data.flip` and `data.crop_jitter` cannot be used with it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from schemas.errors import CheckpointError
from trainer.batch import Batch
from trainer.config import CorrectionSettings, LossSettings
from trainer.data import SampleRef
from trainer.objective import Losses, losses_of
from trainer.processes import Processes
from trainer.warp import pixel_rays

RIGID = 6
"""Variables of the turn and the shift."""
BETAS = (0.8, 0.95)
"""Of Adam: a variable is seen once an epoch, so its averages must be short."""


def corrected(batch: Batch, variables: Tensor, settings: CorrectionSettings) -> Batch:
    """The batch with its motion corrected by variables (B, N, 6 + 2 G^2)."""
    delta = displacements(batch, variables, settings)
    turns, moved = batch.motion[:, :, :3], batch.motion[:, :, 3:] + delta
    return replace(batch, motion=torch.cat([turns, moved], dim=2))


def displacements(batch: Batch, variables: Tensor, settings: CorrectionSettings) -> Tensor:
    """(B, N, 3, H, W) metres in the reference cameras: w x (p + d - c) + s + f. Not masked."""
    count, nodes = variables.shape[1], settings.field_nodes
    turn = math.radians(settings.turn_deg) * variables[..., :3]
    shift = settings.shift_m * variables[..., 3:RIGID]
    field = settings.field_m * variables[..., RIGID:].unflatten(-1, (2, nodes, nodes))
    hw = (batch.base_depth.shape[-2], batch.base_depth.shape[-1])
    points = (batch.base_depth * pixel_rays(batch.K, hw))[:, None] + batch.motion[:, :, 3:]
    weight = batch.mask[:, None]
    centre = (points * weight).sum((-2, -1)) / weight.sum((-2, -1)).clamp(min=1)
    turned = torch.linalg.cross(turn[..., None, None], points - centre[..., None, None], dim=2)
    moved = functional.interpolate(field.flatten(0, 1), hw, mode="bilinear", align_corners=True)
    along_z = (0, 0, 0, 0, 0, 1)  # a component of zeros
    of_parts = functional.pad(moved.unflatten(0, (-1, count)), along_z)
    delta: Tensor = turned + shift[..., None, None] + of_parts
    return delta


def prior(variables: Tensor, reference_numbers: Tensor) -> Tensor:
    """(B,) sum z^2, the mean over each sample's references; padding (number -1) does not count."""
    real = (reference_numbers >= 0).to(variables.dtype)
    return (variables.square().sum(-1) * real).sum(1) / real.sum(1).clamp(min=1)


def corrected_losses(
    batch: Batch,
    offset: Tensor,
    variables: Tensor,
    losses: LossSettings,
    settings: CorrectionSettings,
    *,
    expected: Tensor | None = None,
) -> Losses:
    """The losses of an offset (B, 1, H, W) over corrected motion, cut to the bodies, and prior_weight sum z^2."""
    moved, window = corrected(batch, variables, settings), batch.body_window
    shown = None if expected is None else expected[..., *window]
    found = losses_of(moved.windowed(window), offset[..., *window], losses, expected=shown)
    held = settings.prior_weight * prior(variables, batch.reference_numbers).mean()
    return replace(found, total=found.total + held)


class CorrectionTable:
    """The variables of every (sample, reference) of a run, and the optimiser that moves those a step has seen.

    They stay in main memory; a step takes out what its batches need. Adam's averages of a pair change only when the
    pair is seen (`SparseAdam`).
    """

    def __init__(self, refs: Sequence[SampleRef], settings: CorrectionSettings) -> None:
        self._settings = settings
        self._firsts: dict[str, int] = {}
        count = 0
        for ref in refs:
            self._firsts[ref.sample_id] = count
            count += ref.reference_count
        self.values = torch.nn.Parameter(torch.zeros(count, variable_count(settings)))
        self.optimizer = torch.optim.SparseAdam([self.values], lr=settings.learning_rate, betas=BETAS)

    def rows(self, batch: Batch) -> Tensor:
        """(B, N) rows of the table, -1 for padding."""
        firsts = torch.tensor([[self._firsts[sample_id]] for sample_id in batch.sample_ids])
        numbers = batch.reference_numbers.cpu()
        return torch.where(numbers >= 0, firsts + numbers, -1)

    def of(self, batch: Batch) -> Tensor:
        """(B, N, 6 + 2 G^2) variables on the batch's device, zero for padding; a leaf that takes a gradient."""
        rows = self.rows(batch)
        values = self.values.detach()[rows.clamp(min=0)] * (rows >= 0)[..., None]
        return values.to(batch.motion.device).requires_grad_()

    def step(
        self, seen: Sequence[tuple[Tensor, Tensor]], rows_per_process: int, processes: Processes
    ) -> None:
        """One step on the mean gradient over processes: of each batch its rows (B, N) and gradients (B, N, ...).

        `rows_per_process` is at least what any process has seen: what they exchange has one size.
        """
        rows = torch.full((rows_per_process,), -1)
        gradients = torch.zeros(rows_per_process, self.values.shape[1])
        own = torch.cat([at.flatten() for at, _ in seen])
        rows[: len(own)] = own
        gradients[: len(own)] = torch.cat([each.flatten(0, 1) for _, each in seen]).cpu()
        rows = processes.gathered(rows).flatten()
        gradients = processes.gathered(gradients).flatten(0, 1) / processes.count
        real = rows >= 0
        self.values.grad = torch.sparse_coo_tensor(
            rows[real][None], gradients[real], self.values.shape, check_invariants=True
        )
        self.optimizer.step()
        self.values.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        state = self.optimizer.state[self.values]
        moments = {name: state.get(name, torch.zeros_like(self.values)) for name in ("exp_avg", "exp_avg_sq")}
        step = torch.tensor(int(state.get("step", 0)))
        return {"values": self.values.detach(), "step": step, "samples_sha256": self._digest(), **moments}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what `tensors` gave; raises CheckpointError when it belongs to other samples or settings."""
        found, expected = tensors.get("samples_sha256"), self._digest()
        is_same = found is not None and torch.equal(found, expected)
        if not is_same or tensors["values"].shape != self.values.shape:
            raise CheckpointError(
                "the checkpoint's corrections belong to other samples or settings.",
                remedy="Resume with the same datasets, data.* and corrections.* settings, or begin anew with --from.",
            )
        with torch.no_grad():
            self.values.copy_(tensors["values"])
        self.optimizer.state[self.values] = {
            "step": int(tensors["step"]),
            "exp_avg": tensors["exp_avg"].clone(),
            "exp_avg_sq": tensors["exp_avg_sq"].clone(),
        }

    def _digest(self) -> Tensor:
        listed = "\n".join(f"{sample_id} {first}" for sample_id, first in self._firsts.items())
        return torch.tensor(list(hashlib.sha256(listed.encode()).digest()), dtype=torch.uint8)


def variable_count(settings: CorrectionSettings) -> int:
    """6 + 2 G^2."""
    return RIGID + 2 * settings.field_nodes**2
