"""The training loop: one step, one validation, and the run around them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from schemas.dataset import Dataset
from schemas.errors import CheckpointError, HumandepthError
from trainer.batch import Batch, collate
from trainer.checkpoint import FACTS_NAME, load_checkpoint, save_checkpoint
from trainer.config import LossSettings, Settings, TrainSettings
from trainer.data import BatchOrder, SampleRef, Samples, read_index, split
from trainer.losses import photo_loss, reg_loss, smooth_loss
from trainer.model import ReconNet, parameter_count
from trainer.progress import FitDisplay
from trainer.warp import pixel_rays, project, reference_points, sample_at


class NonFiniteLossError(HumandepthError):
    """The loss has become infinite or NaN too often."""

    reason = "non-finite-loss"


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """The terms of a batch, means over its samples."""

    total: Tensor
    photo: Tensor
    smooth: Tensor
    reg: Tensor


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Held-out samples: mean |I_t - I_r warped| with the base depth and with the refined one, over the same pixels."""

    samples: int
    base_photo_error: float
    photo_error: float
    mean_offset_m: float
    """Mean |offset|: how much the network changes."""

    @property
    def reduction(self) -> float:
        """Share of the base depth's photometric error that is gone."""
        return 1 - self.photo_error / self.base_photo_error if self.base_photo_error else 0.0

    def as_dict(self) -> dict[str, float]:
        """Plain numbers for logs and checkpoints."""
        return {
            "samples": float(self.samples),
            "base_photo_error": self.base_photo_error,
            "photo_error": self.photo_error,
            "reduction": self.reduction,
            "mean_offset_m": self.mean_offset_m,
        }


def warped_references(batch: Batch, offset: Tensor) -> tuple[Tensor, Tensor]:
    """References seen from the target, (B, N, 3, H, W), and the pixels that count, (B, N, 1, H, W)."""
    rays = pixel_rays(batch.K, (batch.base_depth.shape[-2], batch.base_depth.shape[-1]))
    points = reference_points(offset, batch.base_depth, rays, batch.motion)
    px, in_front = project(points, batch.reference_K)
    colours, inside = sample_at(batch.references, px)
    return colours, batch.valid * (in_front & inside)[:, :, None]


def losses_of(batch: Batch, offset: Tensor, settings: LossSettings) -> Losses:
    """L = L_photo + gamma_smooth L_smooth + gamma_reg L_reg of an offset (B, 1, H, W) in metres."""
    warped, counted = warped_references(batch, offset)
    photo = photo_loss(batch.target, warped, counted, settings).mean()
    smooth = smooth_loss(offset, batch.mask).mean()
    reg = reg_loss(offset, batch.mask).mean()
    total = photo + settings.gamma_smooth * smooth + settings.gamma_reg * reg
    return Losses(
        total=total,
        photo=photo.detach(),
        smooth=smooth.detach(),
        reg=reg.detach(),
    )


def train_step(
    model: ReconNet, optimizer: torch.optim.Optimizer, batch: Batch, settings: Settings
) -> Losses | None:
    """One step of the optimiser; None where the loss is not finite and nothing was changed."""
    model.train()
    optimizer.zero_grad(set_to_none=True)
    with _autocast(settings.train, batch.inputs.device):
        offset = model(batch.inputs)
    window = batch.body_window
    losses = losses_of(batch.windowed(window), offset[..., window[0], window[1]], settings.losses)
    if not torch.isfinite(losses.total):
        return None
    losses.total.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), settings.train.clip_norm)
    optimizer.step()
    return losses


@torch.no_grad()
def validate(model: ReconNet, batches: Iterable[Batch], device: torch.device) -> Validation:
    """Photometric errors over held-out samples: every sample weighs the same, and so does every reference."""
    model.eval()
    base_errors, errors, offsets = [], [], []
    for batch in (loaded.to(device) for loaded in batches):
        offset = model(batch.inputs)
        base, counted_base = warped_references(batch, torch.zeros_like(offset))
        refined, counted = warped_references(batch, offset)
        both = counted_base * counted
        base_errors += _photo_errors(batch.target, base, both)
        errors += _photo_errors(batch.target, refined, both)
        offsets += reg_loss(offset, batch.mask).tolist()
    return Validation(
        samples=len(offsets),
        base_photo_error=float(torch.tensor(base_errors).mean()),
        photo_error=float(torch.tensor(errors).mean()),
        mean_offset_m=float(torch.tensor(offsets).mean()),
    )


def _photo_errors(target: Tensor, warped: Tensor, counted: Tensor) -> list[float]:
    """Mean |I_t - I_r| of every reference that has a pixel that counts."""
    difference = (target[:, None] - warped).abs().mean(2, keepdim=True) * counted
    pixels = counted.flatten(2).sum(-1)
    means = difference.flatten(2).sum(-1) / pixels.clamp(min=1)
    return means[pixels > 0].tolist()


def learning_rate_factor(step: int, elapsed_minutes: float, settings: TrainSettings) -> float:
    """Linear warm-up, then a cosine to 1 % over the steps, or over the minutes where those end first."""
    done = step / settings.max_steps
    if settings.max_minutes is not None:
        done = max(done, elapsed_minutes / settings.max_minutes)
    warm = min(1.0, (step + 1) / max(settings.warm_up_steps, 1))
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


def fit(
    root: str, out: str, settings: Settings, *, resume: bool = False, device: str | None = None
) -> Validation | None:
    """Trains ReconNet on a dataset and leaves a checkpoint in `out`; returns the last validation.

    The same data, settings and number of steps give the same weights on one device, whether or not the run was
    stopped and resumed in between. Raises DatasetError, SettingsError, CheckpointError or NonFiniteLossError.
    """
    training, held_out = split(read_index(Dataset.open(root), settings.data.where), settings.data)
    run = _Run(Path(out), settings, training, held_out, _device(device))
    run.start(resume=resume)
    return run.to_the_end()


class _Run:
    """Everything a run holds: network, optimiser, step, log."""

    def __init__(
        self,
        out: Path,
        settings: Settings,
        training: list[SampleRef],
        held_out: list[SampleRef],
        device: torch.device,
    ) -> None:
        self.out, self.settings, self.device = out, settings, device
        torch.manual_seed(settings.train.seed)
        self.model = ReconNet(settings.model).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.train.learning_rate)
        self.training = Samples(training, settings.data, seed=settings.train.seed, training=True)
        self.held_out = Samples(held_out, settings.data, seed=settings.train.seed, training=False)
        self.step, self.skipped = 0, 0
        self.last: Validation | None = None

    def start(self, *, resume: bool) -> None:
        """Takes up a checkpoint, or makes sure that none is overwritten."""
        exists = (self.out / FACTS_NAME).exists()
        if exists and not resume:
            raise CheckpointError(
                f"{self.out} already holds a checkpoint.",
                remedy="Use --resume to go on, or another --out folder.",
            )
        if resume:
            checkpoint = load_checkpoint(self.out)
            if checkpoint.settings.model != self.settings.model:
                raise CheckpointError(
                    f"{self.out} was trained with other model settings: {checkpoint.settings.model}.",
                    remedy="Give the same preset and model.* settings.",
                )
            self.model.load_state_dict(checkpoint.model().state_dict())
            checkpoint.restore_optimizer(self.optimizer)
            self.step = checkpoint.step
        self.out.mkdir(parents=True, exist_ok=True)

    def to_the_end(self) -> Validation | None:
        """The loop."""
        settings, begin = self.settings.train, time.monotonic()
        with FitDisplay(settings, self.step) as display:
            display.say(
                f"{parameter_count(self.model):,} parameters on {self.device}; {len(self.training)} samples to train, "
                f"{len(self.held_out)} held out"
            )
            for batch in self._batches():
                minutes = (time.monotonic() - begin) / 60
                if settings.max_minutes is not None and minutes >= settings.max_minutes:
                    break
                for group in self.optimizer.param_groups:
                    group["lr"] = settings.learning_rate * learning_rate_factor(self.step, minutes, settings)
                losses = train_step(self.model, self.optimizer, batch.to(self.device), self.settings)
                self.step += 1
                self._note(losses, batch, display, minutes)
                if self.step % settings.validate_every == 0 and self.step < settings.max_steps:
                    self._validate_and_save(display)
            self._validate_and_save(display)
        return self.last

    def _batches(self) -> Iterator[Batch]:
        settings = self.settings
        order = BatchOrder(
            len(self.training),
            settings.train.batch_size,
            settings.train.seed,
            first_step=self.step,
            last_step=settings.train.max_steps,
        )
        return iter(
            DataLoader(
                self.training, batch_sampler=order, collate_fn=collate, num_workers=settings.data.workers
            )
        )

    def _note(self, losses: Losses | None, batch: Batch, display: FitDisplay, minutes: float) -> None:
        settings = self.settings.train
        if losses is None:
            self.skipped += 1
            display.say(
                f"step {self.step}: the loss is not finite, skipped; samples {', '.join(batch.sample_ids)}"
            )
            if self.skipped > max(3.0, settings.max_skipped_share * self.step):
                raise NonFiniteLossError(
                    f"{self.skipped} of {self.step} steps had an infinite or NaN loss, the last with "
                    f"{', '.join(batch.sample_ids)}.",
                    remedy="Lower train.learning_rate, or drop those samples with data.where.",
                )
            return
        display.advance(self.step, minutes, losses.total.item())
        if self.step % settings.log_every == 0 or self.step == 1:
            numbers = {name: getattr(losses, name).item() for name in ("total", "photo", "smooth", "reg")}
            rate = self.optimizer.param_groups[0]["lr"]
            self._log({"step": self.step, "minutes": round(minutes, 3), "learning_rate": rate, **numbers})

    def _validate_and_save(self, display: FitDisplay) -> None:
        if len(self.held_out):
            self.last = validate(self.model, self._validation_batches(), self.device)
            self._log({"step": self.step, "validation": self.last.as_dict()})
            display.say(
                f"step {self.step}: photometric error on {self.last.samples} held-out samples "
                f"{self.last.base_photo_error:.5f} with the base depth, {self.last.photo_error:.5f} refined "
                f"({-100 * self.last.reduction:+.1f} %), mean |offset| {1000 * self.last.mean_offset_m:.1f} mm"
            )
        facts = self.last.as_dict() if self.last else {}
        save_checkpoint(self.out, self.model, self.optimizer, self.settings, self.step, facts)

    def _validation_batches(self) -> Iterator[Batch]:
        count = min(self.settings.train.validation_samples, len(self.held_out))
        places = torch.linspace(0, len(self.held_out) - 1, count).round().long().tolist()
        return (self.held_out[0, place] for place in places)

    def _log(self, entry: dict[str, object]) -> None:
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")


def _autocast(settings: TrainSettings, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=settings.precision == "bfloat16")


def _device(name: str | None) -> torch.device:
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
