"""A training run: data, loop, validation, checkpoints."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from schemas.conventions import MAP_PX
from schemas.errors import CheckpointError, HumandepthError, SettingsError
from schemas.views import View
from trainer.batch import Batch, collate
from trainer.checkpoint import FACTS_NAME, Checkpoint, Progress, load_checkpoint, save_checkpoint
from trainer.config import Settings
from trainer.corrections import CorrectionTable
from trainer.data import SampleRef, Samples, read_index, split
from trainer.model import ReconNet, parameter_count
from trainer.objective import Validation, validate
from trainer.order import BatchOrder, Mix
from trainer.panels import validation_panels, write_curves, write_picture
from trainer.processes import (
    Processes,
    begin_worker,
    determinism,
    joined_processes,
    no_loader_left,
    sigterm_noted,
)
from trainer.progress import FitDisplay
from trainer.remote import open_dataset
from trainer.run_log import NonFiniteLossError, RunLog
from trainer.step import learning_rate_factor, train_step, update_average
from trainer.truth import Truths

__all__ = ["NonFiniteLossError", "StoppedError", "fit"]

PANELS = 3
"""Held-out samples that are drawn."""


class StoppedError(HumandepthError):
    """The run was told to stop (SIGTERM) and has written its checkpoint."""

    reason = "stopped"
    retryable = True
    exit_code = 143


def fit(
    roots: str | Sequence[str],
    out: str,
    settings: Settings,
    *,
    resume: bool = False,
    start_from: str | None = None,
    device: str | None = None,
) -> Validation | None:
    """Trains ReconNet on one or several datasets and leaves a checkpoint in `out`; returns the last validation.

    `roots` are folders, or addresses such as gs://bucket/dataset. The same data, settings and number of steps give the
    same weights on one device, whether or not the run was stopped and resumed in between. `start_from` is a checkpoint
    whose weights a new run begins with. Raises DatasetError, SettingsError, CheckpointError, NonFiniteLossError or
    StoppedError.
    """
    roots = [roots] if isinstance(roots, str) else list(roots)
    if settings.data.weights and len(settings.data.weights) != len(roots):
        raise SettingsError(
            f"{len(settings.data.weights)} weights for {len(roots)} datasets.", remedy="Give one for each."
        )
    index = [
        ref
        for number, root in enumerate(roots)
        for ref in read_index(open_dataset(root), settings.data.where, number, view=settings.data.view)
    ]
    training, held_out = split(index, settings.data)
    counts = [sum(ref.dataset == number for ref in training) for number in range(len(roots))]
    if 0 in counts:
        raise SettingsError(
            f"{roots[counts.index(0)]} holds nothing to train on: all of it is held out.",
            remedy="Name other keys in data.held_out, or leave the dataset out.",
        )
    with ExitStack() as stack:
        processes = stack.enter_context(joined_processes(device))
        stack.enter_context(determinism(settings.train.deterministic))
        stack.enter_context(no_loader_left())
        mix = Mix.of(counts, settings.data.weights)
        run = _Run(Path(out), settings, training, held_out, mix, processes)
        run.start(resume=resume, start_from=start_from)
        if settings.data.view is not None:
            run.log.views(run.step, {root: View.load(root, settings.data.view) for root in roots})
        return run.to_the_end()


class _Run:
    """Everything a run holds: network, optimiser, step, log."""

    def __init__(
        self,
        out: Path,
        settings: Settings,
        training: list[SampleRef],
        held_out: list[SampleRef],
        mix: Mix,
        processes: Processes,
    ) -> None:
        self.out, self.settings, self.processes, self.mix = out, settings, processes, mix
        train, seed = settings.train, settings.train.seed
        torch.manual_seed(seed)
        self.model = ReconNet(settings.model).to(processes.device)
        if train.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.model) if train.average_decay is not None else None
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=train.learning_rate)
        self.training = Samples(
            training, settings.data, seed=seed, training=True, photo_px=settings.losses.photo_px
        )
        # Always judged at map size: figures of runs with other settings can be compared.
        self.held_out = Samples(held_out, settings.data, seed=seed, training=False, photo_px=MAP_PX)
        learns = settings.corrections.learn
        self.truths = _truths(settings.data.truth, held_out)
        self.corrections = CorrectionTable(training, settings.corrections) if learns else None
        self.log = RunLog(out, settings, training, processes.is_first)
        self.step, self.is_stopping = 0, False
        self.last: Validation | None = None
        self.progress = Progress()

    def start(self, *, resume: bool, start_from: str | None) -> None:
        """Takes up a checkpoint, or begins with the weights of another, and makes sure that none is overwritten."""
        exists = (self.out / FACTS_NAME).exists()
        if exists and not resume:
            raise CheckpointError(
                f"{self.out} already holds a checkpoint.",
                remedy="Use --resume to go on, or another --out folder.",
            )
        if resume:
            checkpoint = self._fitting(load_checkpoint(self.out))
            self.model.load_state_dict(checkpoint.trained_model().state_dict())
            checkpoint.restore_optimizer(self.optimizer)
            if self.corrections is not None:
                self.corrections.restore(checkpoint.corrections())
            self.step, self.progress = checkpoint.step, checkpoint.progress
            self.log.begin_at(self.step)
        elif start_from is not None:
            checkpoint = self._fitting(load_checkpoint(start_from))
            self.model.load_state_dict(checkpoint.model().state_dict())
        if self.average is not None:
            averaged = checkpoint.model() if resume else self.model
            self.average.load_state_dict(averaged.state_dict())
        self.out.mkdir(parents=True, exist_ok=True)

    def _fitting(self, checkpoint: Checkpoint) -> Checkpoint:
        if checkpoint.settings.model != self.settings.model:
            raise CheckpointError(
                f"{checkpoint.folder} was trained with other model settings: {checkpoint.settings.model}.",
                remedy="Give the same preset and model.* settings.",
            )
        return checkpoint

    def to_the_end(self) -> Validation | None:
        """The loop."""
        settings, processes, begin = self.settings.train, self.processes, time.monotonic()
        with (
            FitDisplay(settings, self.step, is_quiet=not processes.is_first) as display,
            sigterm_noted() as told,
        ):
            display.say(
                f"{parameter_count(self.model):,} parameters on {processes.count} x {processes.device.type}; "
                f"{len(self.training)} samples to train, {len(self.held_out)} held out"
            )
            batches = self._batches()
            while self.step < settings.max_steps:
                minutes, is_told, is_done = processes.largest(
                    (time.monotonic() - begin) / 60, bool(told), self.is_stopping
                )
                if is_told:
                    self._save()
                    raise StoppedError(
                        f"stopped by SIGTERM after step {self.step}; {self.out} holds a checkpoint.",
                        remedy="Go on with --resume.",
                    )
                if is_done or (settings.max_minutes is not None and minutes >= settings.max_minutes):
                    break
                rate = self._set_learning_rate(learning_rate_factor(self.step, minutes, settings))
                loaded = list(islice(batches, settings.accumulate))
                moved = [batch.to(processes.device) for batch in loaded]
                seen = train_step(
                    self.model, self.optimizer, moved, self.settings, processes, self.corrections
                )
                self.step += 1
                if self.average is not None and settings.average_decay is not None:
                    update_average(self.average, self.model, self.step, settings.average_decay)
                self.log.step(self.step, seen, moved, display, minutes=minutes, learning_rate=rate)
                if self.step % settings.validate_every == 0 and self.step < settings.max_steps:
                    self._validate_and_save(display)
            self._validate_and_save(display)
        return self.last

    def _set_learning_rate(self, factor: float) -> float:
        """The rate of the network, times `factor` of what is set; that of the corrections likewise."""
        rate = self.settings.train.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.corrections is not None:
            for group in self.corrections.optimizer.param_groups:
                group["lr"] = self.settings.corrections.learning_rate * factor
        return rate

    def _batches(self) -> Iterator[Batch]:
        data, train = self.settings.data, self.settings.train
        order = BatchOrder(
            self.mix,
            train.batch_size,
            train.seed,
            first_step=self.step,
            last_step=train.max_steps,
            batches_per_step=train.accumulate,
            process=self.processes.rank,
            processes=self.processes.count,
        )
        return iter(
            DataLoader(
                self.training,
                batch_sampler=order,
                collate_fn=collate,
                num_workers=data.workers,
                worker_init_fn=begin_worker,
                # Clients of buckets hold threads and locks, which do not survive a fork.
                multiprocessing_context="spawn" if data.workers and self.training.is_remote else None,
                pin_memory=self.processes.device.type == "cuda",
            )
        )

    def _validate_and_save(self, display: FitDisplay) -> None:
        if len(self.held_out) and self.processes.is_first:
            self._validate(display)
        self._save()
        is_best = self.progress.validations_since == 0
        if self.settings.train.patience is not None and is_best and self.last is not None:
            self._save(self.out / "best")

    def _validate(self, display: FitDisplay) -> None:
        model = self.average or self.model
        count = min(self.settings.train.validation_samples, len(self.held_out))
        places = torch.linspace(0, len(self.held_out) - 1, count).round().long().tolist()
        batches = (self.held_out[0, place] for place in places)
        self.last = validate(model, batches, self.processes.device, self.truths)
        self.progress = self.progress.after(self.last.photo_error)
        patience = self.settings.train.patience
        self.is_stopping = patience is not None and self.progress.validations_since >= patience
        shown = [self.held_out[0, place] for place in places[:: max(1, count // PANELS)][:PANELS]]
        picture = validation_panels(model, shown, self.processes.device)
        write_picture(self.out / "panels.png", picture)
        self.log.validation(self.step, self.last)
        write_curves(self.out / "curves.png", self.log.path)
        self.log.board.picture("panels", picture, self.step)
        display.say(
            f"step {self.step}: photometric error on {self.last.samples} held-out samples "
            f"{self.last.base_photo_error:.5f} with the base depth, {self.last.photo_error:.5f} refined "
            f"({-100 * self.last.reduction:+.1f} %; its mean alone {-100 * self.last.constant_reduction:+.1f} %), "
            f"mean |offset| {1000 * self.last.mean_offset_m:.1f} mm"
        )
        if self.last.depth_errors is not None and self.last.base_depth_errors is not None:
            display.say(
                f"step {self.step}: depth error {self.last.base_depth_errors.mae_mm:.1f} mm with the base depth, "
                f"{self.last.depth_errors.mae_mm:.1f} mm refined, after one offset per image"
            )

    def _save(self, folder: Path | None = None) -> None:
        sums = self.processes.summed(self.log.report.sums)
        if not self.processes.is_first:
            return
        facts = self.last.as_dict() if self.last else {}
        save_checkpoint(
            folder or self.out,
            self.model,
            self.optimizer,
            self.settings,
            self.step,
            facts,
            average=self.average,
            progress=self.progress,
            corrections=self.corrections.tensors() if self.corrections is not None else None,
        )
        self.log.report.write(folder or self.out, sums)


def _truths(folder: str | None, held_out: Sequence[SampleRef]) -> Truths | None:
    if folder is None:
        return None
    truths = Truths(Path(folder))
    if not any(ref.sample_id in truths for ref in held_out):
        raise SettingsError(
            f"{folder} holds the true depth of none of the {len(held_out)} held-out samples.",
            remedy="Make it with `python -m pipeline truth`, or leave data.truth out.",
        )
    return truths
