"""What carries a run out: Beam, Spark or a plain loop, behind one method.

An engine only says where and in which order the functions of `Steps` are called. Isolation, time limits, failures,
resume, progress and the summary are the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pipeline.host.loading import without_collection
from schemas.errors import SettingsError

if TYPE_CHECKING:  # the command line asks this file for names alone
    from pipeline.records import ClipRef
    from pipeline.runner.steps import Steps
    from pipeline.runner.tally import Tally

NAMES = ("beam", "spark", "loop")


class Engine(Protocol):
    """Carries out the steps of every clip and every unit."""

    @property
    def is_local(self) -> bool:
        """Whether all its workers are processes of this machine: they share its files and end with the driver."""

    @property
    def shows_progress(self) -> bool:
        """Whether notes of progress arrive in this machine's folder while it works."""

    def check(self) -> None:
        """Raises SettingsError or EngineError where it cannot work, before any input is looked at."""

    def carry_out(self, clips: Sequence[ClipRef], steps: Steps) -> Tally:
        """Works on every clip, and says what was counted and who worked.

        A bug of a step, or a dataset that cannot be written, ends it with an error; units that are finished stay.
        """


def make_engine(
    name: str, *, workers: int = 1, master: str | None = None, arguments: Sequence[str] = ()
) -> Engine:
    """The engine of `--engine`, checked; `arguments` are the words after a lone --.

    Raises SettingsError for a combination that makes no sense, EngineError where a part is missing or unreachable.
    """
    if workers < 1:
        raise SettingsError(f"--workers cannot be {workers}.", remedy="Give 1 or more.")
    if master is not None and name != "spark":
        raise SettingsError(f"--master is no option of the engine {name}.", remedy="Add --engine spark.")
    engine = _made(name, workers, master, arguments)
    engine.check()
    return engine


def _made(name: str, workers: int, master: str | None, arguments: Sequence[str]) -> Engine:
    if name == "loop":
        from pipeline.runner.loop_engine import LoopEngine

        if workers > 1 or arguments:
            raise SettingsError(
                "the engine loop works on one unit at a time and has no options.",
                remedy="Leave out --workers and what follows --, or use --engine beam.",
            )
        return LoopEngine()
    if name == "spark":
        from pipeline.runner.spark_engine import SparkEngine

        return SparkEngine(master=master, workers=workers, arguments=tuple(arguments))
    if name == "beam":
        with without_collection():
            from pipeline.runner.beam_engine import BeamEngine

        return BeamEngine(workers=workers, arguments=tuple(arguments))
    raise SettingsError(f"there is no engine {name!r}.", remedy=f"Known: {', '.join(NAMES)}.")
