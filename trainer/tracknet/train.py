"""A training or fine-tuning run of TrackNet: pictures, loop, validation, checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from schemas.errors import CheckpointError, DatasetError
from trainer.devices import device_of
from trainer.model import parameter_count
from trainer.order import BatchOrder, Mix
from trainer.processes import sigterm_noted
from trainer.stopping import StoppedError
from trainer.tracknet.body import TorchBody
from trainer.tracknet.checkpoint import FACTS_NAME, TrackNetCheckpoint, load_tracknet, save_tracknet
from trainer.tracknet.config import TrackNetSettings, TrainSettings
from trainer.tracknet.losses import TrackNetLosses, losses_of
from trainer.tracknet.model import TrackNet
from trainer.tracknet.pictures import PictureRef, Pictures, read_pictures, stacked
from trainer.tracknet.validation import BATCH, validate_tracknet


def fit_tracknet(
    roots: Sequence[str],
    out: str,
    settings: TrackNetSettings,
    body_file: str,
    *,
    held_out_roots: Sequence[str] = (),
    backgrounds: Sequence[Path] = (),
    resume: bool = False,
    start_from: str | None = None,
    device: str | None = None,
) -> dict[str, float]:
    """Trains on pictures with bodies, leaves a checkpoint in `out`, and returns the last validation.

    `held_out_roots` are judged on; without them a share of the sources is. The same pictures, settings and number of
    steps give the same weights on one device, stopped in between or not. Raises DatasetError, CheckpointError,
    AssetError or StoppedError.
    """
    refs = read_pictures(roots)
    held_out = read_pictures(held_out_roots) if held_out_roots else []
    if not held_out:
        refs, held_out = split_sources(refs, settings.pictures.validation_share)
    place = device_of(device)
    run = _Run(Path(out), settings, refs, held_out, TorchBody.load(body_file).to(place), place, backgrounds)
    run.start(resume=resume, start_from=start_from)
    return run.to_the_end()


def split_sources(refs: list[PictureRef], share: float) -> tuple[list[PictureRef], list[PictureRef]]:
    """Training and validation pictures; a source is never in both. The first by hash is held out at least."""
    places = {
        ref.source_id: int.from_bytes(hashlib.sha256(ref.source_id.encode()).digest()[:8], "big") / 2**64
        for ref in refs
    }
    by_place = sorted(places, key=places.__getitem__)
    if len(by_place) < 2:
        raise DatasetError(
            f"all pictures come from {len(by_place)} source, so none can be held out.",
            remedy="Give pictures of several sources, or others with --validate-on.",
        )
    held = {key for key in by_place[:-1] if places[key] < share} | {by_place[0]}
    return [ref for ref in refs if ref.source_id not in held], [ref for ref in refs if ref.source_id in held]


class _Run:
    """Everything a run holds."""

    def __init__(
        self,
        out: Path,
        settings: TrackNetSettings,
        refs: list[PictureRef],
        held_out: list[PictureRef],
        body: TorchBody,
        device: torch.device,
        backgrounds: Sequence[Path],
    ) -> None:
        self.out, self.settings, self.body, self.device = out, settings, body, device
        seed, size = settings.train.seed, settings.network.image_px
        torch.manual_seed(seed)
        self.model = TrackNet(settings.network).to(device)
        if settings.train.freeze_encoder:
            self.model.encoder.requires_grad_(False)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, lr=settings.train.learning_rate)
        self.training = Pictures(
            refs, settings.pictures, size, seed=seed, training=True, backgrounds=backgrounds
        )
        self.held_out = Pictures(held_out, settings.pictures, size, seed=seed, training=False)
        self.step = 0

    def start(self, *, resume: bool, start_from: str | None) -> None:
        """Takes up a checkpoint, or begins with the weights of another."""
        if (self.out / FACTS_NAME).exists() and not resume:
            raise CheckpointError(
                f"{self.out} already holds a checkpoint.",
                remedy="Continue it with --resume, or give another --out folder.",
            )
        if resume or start_from is not None:
            checkpoint = self._fitting(load_tracknet(self.out if resume else str(start_from)))
            self.model.load_state_dict(checkpoint.model().state_dict())
            if resume:
                checkpoint.restore_optimizer(self.optimizer)
                self.step = checkpoint.step
        self.out.mkdir(parents=True, exist_ok=True)

    def _fitting(self, checkpoint: TrackNetCheckpoint) -> TrackNetCheckpoint:
        if checkpoint.settings.network != self.settings.network:
            raise CheckpointError(
                f"{checkpoint.folder} has other network settings: {checkpoint.settings.network}.",
                remedy="Give the same preset and network.* settings.",
            )
        return checkpoint

    def to_the_end(self) -> dict[str, float]:
        """The loop."""
        train = self.settings.train
        print(
            f"{parameter_count(self.model):,} parameters on {self.device.type}; {len(self.training)} training "
            f"pictures, {len(self.held_out)} held out",
            flush=True,
        )
        found = self._validate() if self.step == 0 else {}
        with sigterm_noted() as told:
            for images, truth in self._batches():
                if told:
                    self._save(found)
                    raise StoppedError(
                        f"the run was stopped by SIGTERM after step {self.step}; {self.out} holds a checkpoint.",
                        remedy="Continue with --resume.",
                    )
                torch.manual_seed(train.seed + 1 + self.step)  # dropout: the same after a resume
                for group in self.optimizer.param_groups:
                    group["lr"] = learning_rate(self.step, train)
                losses = tracknet_step(
                    self.model,
                    self.optimizer,
                    images.to(self.device),
                    truth.to(self.device),
                    self.body,
                    self.settings,
                )
                self.step += 1
                if self.step % train.log_every == 0:
                    self._log({"step": self.step, **losses.means()})
                if self.step % train.validate_every == 0 or self.step == train.max_steps:
                    found = self._validate()
                    self._save(found)
        return found

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        train = self.settings.train
        order = BatchOrder(
            Mix.of([len(self.training)]),
            train.batch_size,
            train.seed,
            first_step=self.step,
            last_step=train.max_steps,
        )
        return iter(DataLoader(self.training, batch_sampler=order, collate_fn=stacked))

    def _validate(self) -> dict[str, float]:
        count = len(self.held_out)
        batches = (
            stacked([self.held_out[0, at] for at in range(first, min(first + BATCH, count))])
            for first in range(0, count, BATCH)
        )
        found = validate_tracknet(self.model, self.body, batches, self.device)
        self._log({"step": self.step, "validation": found})
        shown = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
        print(f"step {self.step}: {shown}", flush=True)
        return found

    def _save(self, found: dict[str, float]) -> None:
        save_tracknet(self.out, self.model, self.optimizer, self.settings, self.step, found)

    def _log(self, entry: dict[str, object]) -> None:
        with open(self.out / "log.jsonl", "a") as file:
            file.write(json.dumps(entry) + "\n")


def tracknet_step(
    model: TrackNet,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    truth: Tensor,
    body: TorchBody,
    settings: TrackNetSettings,
) -> TrackNetLosses:
    """One step of the optimiser on images (B, 3, P, P) and vectors (B, 85). Raises DatasetError on a broken loss."""
    model.train()
    if settings.train.freeze_encoder:
        model.encoder.eval()  # batch norms keep their statistics
    mixed = settings.train.precision == "bfloat16"
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=mixed):
        features = model.encoder(model.scaled(images))
    losses = losses_of(model.regress(features.float()), truth, body, settings.losses)
    if not torch.isfinite(losses.total):
        raise DatasetError(
            f"the loss is {float(losses.total)}.",
            remedy="Lower train.learning_rate, or check the body vectors.",
        )
    losses.total.backward()
    nn.utils.clip_grad_norm_(model.parameters(), settings.train.clip_norm)
    optimizer.step()
    return losses


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, constant for 70 % of the steps, then a line to 2 %."""
    warm = min(1.0, (step + 1) / max(settings.warm_up_steps, 1))
    left = (settings.max_steps - step) / max(0.3 * settings.max_steps, 1)
    return settings.learning_rate * warm * max(0.02, min(1.0, left))
