"""Training as one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from trainer.config import Settings
from trainer.objective import Validation
from trainer.processes import determinism, joined_processes
from trainer.run import Run
from trainer.run_data import read_run_data
from trainer.run_log import NonFiniteLossError
from trainer.stopping import StoppedError, sigterm_stops

__all__ = ["NonFiniteLossError", "StoppedError", "fit"]


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
    whose weights a new run begins with. Raises DatasetError, SettingsError, CheckpointError, LoadingError,
    NonFiniteLossError or StoppedError.
    """
    roots = [roots] if isinstance(roots, str) else list(roots)
    with ExitStack() as stack:
        stopping = stack.enter_context(sigterm_stops())
        data = read_run_data(roots, settings.data)
        processes = stack.enter_context(joined_processes(device))
        stack.enter_context(determinism(settings.train.deterministic))
        run = Run(Path(out), data, settings, processes, stopping)
        run.start(resume=resume, start_from=start_from)
        return run.to_the_end()
