"""Carries a run out with Spark: a task for every clip that is cut, and a task for every unit.

Clips go through in waves of a few for every core, several waves at a time: the next one is cut while the last units of
one are worked on, and no wave waits for a slow unit of another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.dataset.fingerprint import code_digest
from pipeline.records import ClipRef
from pipeline.runner.spark_session import check_parts, spark_context, spark_settings
from pipeline.runner.steps import Steps
from pipeline.runner.tally import Tally, total
from schemas.errors import EngineError, SettingsError

if TYPE_CHECKING:
    from pyspark import SparkContext

CLIPS_PER_CORE = 4
WAVES_AT_ONCE = 3


@dataclass(frozen=True, kw_only=True)
class SparkEngine:
    """See `pipeline.runner.engines.Engine`."""

    master: str | None = None
    workers: int = 1
    """Cores of this machine, where no master is named."""
    arguments: tuple[str, ...] = ()
    """Settings of Spark, NAME=VALUE."""

    @property
    def is_local(self) -> bool:
        """See `Engine`."""
        return self._url.startswith("local")

    @property
    def shows_progress(self) -> bool:
        """See `Engine`."""
        return True

    @property
    def _url(self) -> str:
        return self.master or f"local[{self.workers}]"

    def check(self) -> None:
        """See `Engine`."""
        if self.master is not None and self.workers > 1:
            raise SettingsError(
                "--workers counts processes of this machine, and --master says who works.",
                remedy="Leave one of them out.",
            )
        spark_settings(self.arguments)
        check_parts()

    def carry_out(self, clips: Sequence[ClipRef], steps: Steps) -> Tally:
        """See `Engine`."""
        errors: list[Exception] = []
        with spark_context(self._url, spark_settings(self.arguments), is_local=self.is_local) as context:
            from pipeline.runner.spark_tasks import Reports, ReportsParam, Tasks

            def stop(error: Exception) -> None:
                errors.append(error)
                context.cancelAllJobs()

            param = ReportsParam(steps.work.progress_folder, stop)
            tasks = Tasks(steps, context.accumulator(Reports(notes={}), param), shares_files=self.is_local)
            try:
                _check_executors(context)
                tally = _in_waves(context, tasks, clips)
            except Exception as error:
                if errors:
                    raise errors[0] from None
                raise _ended(error) from error
            if errors:
                raise errors[0]
            return tally


def _check_executors(context: SparkContext) -> None:
    """Raises EngineError where executors lack this package or have another version of it."""
    from pipeline.runner.spark_tasks import environment

    cores = context.defaultParallelism
    try:
        found = set(context.parallelize(range(cores), cores).map(environment).collect())
    except Exception as error:
        missing = re.search(r"ModuleNotFoundError: (.*)", str(error))
        if missing is None:
            raise
        raise EngineError(
            f"Spark's executors cannot import this package ({missing[1].rstrip('.')}).",
            remedy="Install it in their Python (PYSPARK_PYTHON), or let spark.executorEnv.PYTHONPATH name its folder.",
        ) from error
    strangers = sorted(name for name, digest in found if digest != code_digest())
    if strangers:
        raise EngineError(
            f"executor {strangers[0]} has another version of this package than this machine.",
            remedy="Install the same version everywhere.",
        )


def _in_waves(context: SparkContext, tasks: Any, clips: Sequence[ClipRef]) -> Tally:
    def waves() -> Iterator[Sequence[ClipRef]]:
        begin = 0
        while begin < len(clips):
            size = CLIPS_PER_CORE * context.defaultParallelism
            yield clips[begin : begin + size]
            begin += size

    todo, tally = waves(), Tally()
    with ThreadPoolExecutor(WAVES_AT_ONCE) as pool:
        at_work: set[Future[Tally]] = set()
        while True:
            at_work |= {
                pool.submit(_wave, context, tasks, wave)
                for wave in islice(todo, WAVES_AT_ONCE - len(at_work))
            }
            if not at_work:
                return tally
            done, at_work = wait(at_work, return_when=FIRST_COMPLETED)
            try:
                tally += total(wave.result() for wave in done)
            except BaseException:
                context.cancelAllJobs()
                raise


def _wave(context: SparkContext, tasks: Any, clips: Sequence[ClipRef]) -> Tally:
    cut = context.parallelize(clips, len(clips)).map(tasks.cut).collect()
    segments = [segment for found, _ in cut for segment in found]
    tally = total(counted for _, counted in cut)
    if segments:
        tally += total(context.parallelize(segments, len(segments)).map(tasks.unit).collect())
    return tally


def _ended(error: Exception) -> Exception:
    """What a failure of Spark itself is for the user; our own errors stay what they are."""
    if not type(error).__module__.startswith(("py4j", "pyspark")):
        return error
    lines = [line.strip() for line in str(error).splitlines() if "Exception:" in line]
    return EngineError(
        f"Spark ended the run: {lines[0] if lines else error}",
        remedy="Finished units are kept: run the same command again to go on.",
    )
