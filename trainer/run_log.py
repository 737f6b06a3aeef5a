"""What a run says and writes about its steps: a line of JSON per interval, what was skipped, when that is too much."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import Tensor

from schemas.errors import DatasetError, HumandepthError
from schemas.selections import Selection
from trainer.batch import Batch
from trainer.board import Board
from trainer.config import Settings
from trainer.data import SampleRef
from trainer.objective import Losses, Validation
from trainer.plan import Extent
from trainer.progress import FitDisplay
from trainer.report import Report

LOG_NAME = "log.jsonl"


class NonFiniteLossError(HumandepthError):
    """The loss has become infinite or NaN too often."""

    reason = "non-finite-loss"


class RunLog:
    """Of one process; only the first of several writes."""

    def __init__(self, out: Path, settings: Settings, training: Sequence[SampleRef], is_first: bool) -> None:
        self.path = out / LOG_NAME
        self.report = Report(training)
        self.board = Board(out if settings.train.tensorboard and is_first else None)
        self._settings, self._is_first = settings, is_first
        self._skipped, self._bad_rows = 0, 0

    def begin_at(self, step: int) -> None:
        """Drops what an earlier run logged after the checkpoint that this one goes on with."""
        if self._is_first and self.path.exists():
            lines = self.path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            self.path.write_text("".join(kept))

    def step(
        self,
        step: int,
        seen: list[tuple[Losses, Tensor]] | None,
        batches: Sequence[Batch],
        display: FitDisplay,
        *,
        minutes: float,
        learning_rate: float,
    ) -> None:
        """Notes a step of the optimiser; `seen` is what `train_step` gave. Raises when too much was skipped."""
        self._note_bad_rows(step, batches, display)
        if seen is None:
            self._note_skipped(
                step, ", ".join(name for batch in batches for name in batch.sample_ids), display
            )
            return
        for batch, (losses, gradient_norm) in zip(batches, seen, strict=True):
            self.report.add(batch.sample_ids, losses, gradient_norm)
        means = [losses.means() for losses, _ in seen]
        numbers = {name: sum(mean[name] for mean in means) / len(means) for name in means[0]}
        display.advance(step, minutes, numbers["total"])
        if step % self._settings.train.log_every == 0 or step == 1:
            numbers |= {"learning_rate": learning_rate}
            self._write({"step": step, "minutes": round(minutes, 3), **numbers})
            self.board.scalars("training", numbers, step)

    def selections(self, step: int, selections: dict[str, Selection]) -> None:
        """Notes what the selection of every dataset says: another of its name may replace it later."""
        said = {root: asdict(selection) for root, selection in selections.items()}
        self._write({"step": step, "selections": said})

    def validation(self, step: int, found: Validation) -> None:
        """Notes a validation."""
        self._write({"step": step, "validation": found.as_dict()})
        self.board.scalars("validation", found.as_dict(), step)

    def ended(self, step: int, extent: Extent) -> None:
        """Notes the end of the run, and how much of its plan was done."""
        self._write({"step": step, "ended": asdict(extent)})

    def _note_bad_rows(self, step: int, batches: Sequence[Batch], display: FitDisplay) -> None:
        for why in (why for batch in batches for why in batch.bad_rows):
            self._bad_rows += 1
            display.warn(f"step {step}: skipped an unreadable sample: {why}")
            looked_at = step * self._settings.train.batch_size * self._settings.train.accumulate
            if self._bad_rows > max(3.0, self._settings.data.max_bad_share * looked_at):
                raise DatasetError(
                    f"{self._bad_rows} of {looked_at} samples could not be read, the last: {why}",
                    remedy="Run the pipeline again to remake those shards, or allow more with data.max_bad_share.",
                )

    def _note_skipped(self, step: int, sample_ids: str, display: FitDisplay) -> None:
        self._skipped += 1
        display.warn(f"step {step}: the loss is not finite, skipped; samples {sample_ids}")
        is_too_often = self._skipped > max(3.0, self._settings.train.max_skipped_share * step)
        if is_too_often or self._settings.train.on_non_finite == "stop":
            raise NonFiniteLossError(
                f"{self._skipped} of {step} steps had an infinite or NaN loss, the last with {sample_ids}.",
                remedy="Lower train.learning_rate, or drop those samples with data.where.",
            )

    def _write(self, entry: dict[str, object]) -> None:
        if self._is_first:
            with open(self.path, "a") as file:
                file.write(json.dumps(entry) + "\n")
