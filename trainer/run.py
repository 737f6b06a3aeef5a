"""A training run under way: its network, optimiser and step, the loop, validation, checkpoints."""

from __future__ import annotations

import copy
import time
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from schemas.errors import CheckpointError
from trainer.batch import Batch
from trainer.checkpoint import FACTS_NAME, Checkpoint, Progress, load_checkpoint, save_checkpoint
from trainer.config import Settings
from trainer.corrections import CorrectionTable
from trainer.data import Samples
from trainer.evidence import conclusion
from trainer.held_out import HeldOut, supervision, teaching, validation_lines
from trainer.loading import Loader
from trainer.model import ReconNet, initialise, parameter_count
from trainer.objective import Validation
from trainer.optimiser import optimiser
from trainer.order import BatchOrder
from trainer.panels import write_curves, write_picture
from trainer.plan import EndedBy, Extent
from trainer.processes import Processes
from trainer.progress import FitDisplay
from trainer.run_data import RunData
from trainer.run_log import RunLog
from trainer.step import learning_rate_factor, train_step, update_average
from trainer.stopping import SAVE_GRACE_S, STEP_GRACE_S, SigtermInterrupt, StoppedError, Stopping


class Run:
    """Everything a run holds: network, optimiser, step, log."""

    def __init__(
        self,
        out: Path,
        data: RunData,
        settings: Settings,
        processes: Processes,
        stopping: Stopping,
    ) -> None:
        self.out, self.data, self.settings = out, data, settings
        self.processes, self.stopping = processes, stopping
        train, seed = settings.train, settings.train.seed
        torch.manual_seed(seed)
        self.model = ReconNet(settings.model)
        if train.initial == "he":
            initialise(self.model)
        self.model.to(processes.device)
        if train.channels_last:
            self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not annotated
        self.average = copy.deepcopy(self.model) if train.average_decay is not None else None
        self.optimizer = optimiser(self.model, train)
        self.training = Samples(
            data.training,
            settings.data,
            seed=seed,
            training=True,
            photo_px=settings.losses.photo_px,
            truths=supervision(settings, data.training),
            dressed=teaching(settings, data.training),
            with_references=settings.losses.gamma_photo > 0 or settings.corrections.learn,
        )
        self.held_out = HeldOut(data.held_out, settings, stopping)
        learns = settings.corrections.learn
        self.corrections = CorrectionTable(data.training, settings.corrections) if learns else None
        self.log = RunLog(out, settings, data.training, processes.is_first)
        self.averaging: nn.Module = self.model  # what a step calls: see Processes.averaging
        self.step, self.is_patient = 0, True
        self.last: Validation | None = None
        self.learned: dict[str, Any] | None = None
        self.progress = Progress()

    def start(self, *, resume: bool, start_from: str | None) -> None:
        """Takes up a checkpoint, or begins with the weights of another, and makes sure that none is overwritten."""
        exists = (self.out / FACTS_NAME).exists()
        if exists and not resume:
            raise CheckpointError(
                f"{self.out} already holds a checkpoint.",
                remedy="Continue it with --resume, or give another --out folder.",
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
        self.averaging = self.processes.averaging(self.model)
        self.out.mkdir(parents=True, exist_ok=True)
        if self.data.selections:
            self.log.selections(self.step, self.data.selections)

    def _fitting(self, checkpoint: Checkpoint) -> Checkpoint:
        if checkpoint.settings.model != self.settings.model:
            raise CheckpointError(
                f"{checkpoint.folder} was trained with other model settings: {checkpoint.settings.model}.",
                remedy="Give the same preset and model.* settings.",
            )
        return checkpoint

    def to_the_end(self) -> Validation | None:
        """The loop; what is interrupted by SIGTERM is left with a checkpoint of the last whole step."""
        alone = self.processes.count == 1  # several must agree on when to stop, and do between two steps
        with FitDisplay(self.settings.train, self.step, is_quiet=not self.processes.is_first) as display:
            display.say(
                f"{parameter_count(self.model):,} parameters on {self.processes.count} x "
                f"{self.processes.device.type}; {len(self.training)} training samples, {len(self.held_out)} held out"
            )
            try:
                with self.stopping.interrupted(alone), self._loader() as batches:
                    self._loop(batches, display)
            except SigtermInterrupt:
                self._stop()
        return self.last

    def _loop(self, batches: Loader, display: FitDisplay) -> None:
        settings, processes, begin = self.settings.train, self.processes, time.monotonic()
        ended_by: EndedBy = "plan"
        while self.step < settings.max_steps:
            minutes, is_told, is_out_of_patience = processes.largest(
                (time.monotonic() - begin) / 60, self.stopping.told, not self.is_patient
            )
            if is_told:
                self._stop()
            if is_out_of_patience:
                ended_by = "patience"
                break
            if settings.max_minutes is not None and minutes >= settings.max_minutes:
                ended_by = "clock"
                break
            rate = self._set_learning_rate(learning_rate_factor(self.step, minutes, settings))
            loaded = list(islice(batches, settings.accumulate))
            with self.stopping.finishing(STEP_GRACE_S):
                self._take_step(loaded, display, minutes, rate)
            if self.step % settings.validate_every == 0 and self.step < settings.max_steps:
                self._validate_and_save(display)
        self._validate_and_save(display, ended_by)
        display.say(self._extent(ended_by).sentence(settings))
        self.log.ended(self.step, self._extent(ended_by))

    def _take_step(self, loaded: list[Batch], display: FitDisplay, minutes: float, rate: float) -> None:
        moved = [batch.to(self.processes.device) for batch in loaded]
        seen = train_step(
            self.averaging, self.optimizer, moved, self.settings, self.processes, self.corrections
        )
        self.step += 1
        if self.average is not None and self.settings.train.average_decay is not None:
            update_average(self.average, self.model, self.step, self.settings.train.average_decay)
        self.log.step(self.step, seen, moved, display, minutes=minutes, learning_rate=rate)

    def _stop(self) -> NoReturn:
        """Leaves a checkpoint where a step was taken, and raises StoppedError."""
        if self.step == 0:
            raise StoppedError(
                "the run was stopped by SIGTERM before its first step.", remedy="Run it again."
            )
        self._save("sigterm")
        extent = self._extent("sigterm")
        self.log.ended(self.step, extent)
        raise StoppedError(
            f"the run was stopped by SIGTERM after step {self.step}; {self.out} holds a checkpoint "
            f"({extent.sentence(self.settings.train).partition(': ')[2]}).",
            remedy="Continue with --resume.",
        )

    def _extent(self, ended_by: EndedBy) -> Extent:
        return Extent.of(
            self.step,
            self.settings.train,
            samples=len(self.training),
            processes=self.processes.count,
            ended_by=ended_by,
        )

    def _set_learning_rate(self, factor: float) -> float:
        """The rate of the network, times `factor` of what is set; that of the corrections likewise."""
        rate = self.settings.train.learning_rate * factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if self.corrections is not None:
            for group in self.corrections.optimizer.param_groups:
                group["lr"] = self.settings.corrections.learning_rate * factor
        return rate

    def _loader(self) -> Loader:
        data, train = self.settings.data, self.settings.train
        order = BatchOrder(
            self.data.mix,
            train.batch_size,
            train.seed,
            first_step=self.step,
            last_step=train.max_steps,
            batches_per_step=train.accumulate,
            process=self.processes.rank,
            processes=self.processes.count,
        )
        return Loader(
            self.training,
            order,
            workers=data.workers,
            time_limit_s=data.time_limit_s,
            stopping=self.stopping,
        )

    def _validate_and_save(self, display: FitDisplay, ended_by: EndedBy = "") -> None:
        if len(self.held_out) and self.processes.is_first:
            try:
                with self.stopping.interrupted():
                    self._validate(display)
            except SigtermInterrupt:
                if self.processes.count == 1:
                    raise  # the others wait at the next exchange, and agree on stopping before the next step
        if ended_by and self.last is not None and self.processes.is_first:
            self._conclude(self.last, display)
        self._save(ended_by)
        is_best = self.progress.validations_since == 0
        if self.settings.train.patience is not None and is_best and self.last is not None:
            self._save(ended_by, self.out / "best")

    def _validate(self, display: FitDisplay) -> None:
        model, device = self.average or self.model, self.processes.device
        found = self.held_out.validate(model, device)
        self.last, self.progress = found, self.progress.after(found.photo_error)
        patience = self.settings.train.patience
        self.is_patient = patience is None or self.progress.validations_since < patience
        picture = self.held_out.panels(model, device)
        write_picture(self.out / "panels.png", picture)
        self.log.validation(self.step, found)
        write_curves(self.out / "curves.png", self.log.path)
        self.log.board.picture("panels", picture, self.step)
        for line in validation_lines(self.step, found):
            display.say(line)

    def _conclude(self, found: Validation, display: FitDisplay) -> None:
        """Says whether anything beyond a constant was learned, and why not."""
        learned = self.held_out.learned(found)
        if learned is not None:
            self.learned, lines = conclusion(learned, self.data)
            for line in lines:
                display.say(line)

    def _save(self, ended_by: EndedBy, folder: Path | None = None) -> None:
        with self.stopping.finishing(SAVE_GRACE_S):
            sums = self.processes.summed(self.log.report.sums)
            if not self.processes.is_first:
                return
            save_checkpoint(
                folder or self.out,
                self.model,
                self.optimizer,
                self.settings,
                self.step,
                self.last.as_dict() if self.last else {},
                average=self.average,
                progress=self.progress,
                corrections=self.corrections.tensors() if self.corrections is not None else None,
                extent=asdict(self._extent(ended_by)),
                recipe=self.data.recipe,
                learned=self.learned,
            )
            self.log.report.write(folder or self.out, sums)
