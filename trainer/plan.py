"""How much of its plan a run did: said on the terminal, in the log and in checkpoint.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trainer.config import TrainSettings

EndedBy = Literal["", "plan", "clock", "patience", "sigterm"]
"""What ended the run; empty while it goes on."""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Steps and epochs, done and planned."""

    steps_done: int
    steps_planned: int
    epochs_done: float
    """How often a sample was seen, on average; padding by several processes included."""
    epochs_planned: float
    share_done: float
    """Of the steps."""
    ended_by: EndedBy = ""

    @classmethod
    def of(
        cls, step: int, settings: TrainSettings, *, samples: int, processes: int, ended_by: EndedBy = ""
    ) -> Extent:
        """After `step` steps of a run on `samples` training samples by so many processes."""
        epochs_a_step = settings.batch_size * settings.accumulate * processes / samples
        return cls(
            steps_done=step,
            steps_planned=settings.max_steps,
            epochs_done=round(step * epochs_a_step, 4),
            epochs_planned=round(settings.max_steps * epochs_a_step, 4),
            share_done=round(step / settings.max_steps, 6),
            ended_by=ended_by,
        )

    def sentence(self, settings: TrainSettings) -> str:
        """For people: what ended the run, and how far it came."""
        causes = {
            "plan": "ended as planned",
            "clock": f"ended by the clock (train.max_minutes={settings.max_minutes})",
            "patience": f"ended by train.patience={settings.patience}",
            "sigterm": "stopped by SIGTERM",
        }
        return (
            f"{causes.get(self.ended_by, 'under way')}: {self.steps_done} of {self.steps_planned} steps "
            f"({100 * self.share_done:.1f} %), {self.epochs_done:.1f} of {self.epochs_planned:.1f} epochs"
        )
