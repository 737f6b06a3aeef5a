"""What Spark's executors do: one task cuts a clip, one task works on a unit. Only references and parameters cross."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pyspark import TaskContext
from pyspark.accumulators import Accumulator, AccumulatorParam

from pipeline.dataset.fingerprint import code_digest
from pipeline.records import ClipRef, Segment
from pipeline.runner.progress import read_note, write_note
from pipeline.runner.steps import Steps, process_name
from pipeline.runner.tally import Tally, tally_of_unit
from pipeline.runner.units import finished_counts
from schemas.errors import StorageError


@dataclass(frozen=True, kw_only=True)
class Reports:
    """What a finished task tells the driver at once: notes of progress by name, and errors that end the run."""

    notes: Mapping[str, Mapping[str, object]]
    errors: tuple[Exception, ...] = ()


class ReportsParam(AccumulatorParam[Reports]):
    """Adds reports up on executors; on the driver it writes the notes and calls `on_error` instead."""

    def __init__(self, folder: str | None, on_error: Callable[[Exception], None] | None) -> None:
        self._folder, self._on_error, self._driver = folder, on_error, process_name()

    def __reduce__(self) -> tuple[Any, ...]:
        return (ReportsParam, (None, None))

    def zero(self, value: Reports) -> Reports:
        """Nothing to report."""
        return Reports(notes={})

    def addInPlace(self, value1: Reports, value2: Reports) -> Reports:
        """See the class."""
        if self._on_error is None:
            return Reports(notes={**value1.notes, **value2.notes}, errors=(*value1.errors, *value2.errors))
        for name, note in value2.notes.items():
            write_note(self._folder, name, note)
        for error in value2.errors:
            self._on_error(error)
        return value1


@dataclass(frozen=True)
class Tasks:
    """The functions that Spark calls, with all they need."""

    steps: Steps
    reports: Accumulator[Reports]
    shares_files: bool
    """Whether executors write notes of progress into the driver's own folder."""

    def cut(self, clip: ClipRef) -> tuple[tuple[Segment, ...], Tally]:
        """The segments of a clip that are to be worked on; nothing where the run has to end."""
        with self._begun() as steps:
            segments, tally = steps.cut(clip)
            return segments, tally + _present()
        return (), Tally()

    def unit(self, segment: Segment) -> Tally:
        """A unit from its film to its record. An attempt after one that was lost looks for its record first."""
        with self._begun() as steps:
            counts = finished_counts(steps.work, segment) if _is_repeated() else None
            return (steps.unit(segment) if counts is None else tally_of_unit(counts)) + _present()
        return Tally()

    @contextmanager
    def _begun(self) -> Iterator[Steps]:
        """The steps of a task. Bugs and broken disks are reported and swallowed: Spark would try them again."""
        _begin_once(self.steps)
        with tempfile.TemporaryDirectory(prefix="humandepth-notes-") as folder:
            steps = self.steps
            if not self.shares_files:
                steps = replace(steps, work=replace(steps.work, progress_folder=folder))
            errors: tuple[Exception, ...] = ()
            try:
                yield steps
            except StorageError as error:
                errors = (error,)
            except Exception:
                errors = (RuntimeError(f"a bug stopped the worker:\n{traceback.format_exc()}"),)
            finally:
                ends = [path for path in Path(folder).glob("[!.]*") if path.suffix in (".cut", ".done")]
                notes = {path.name: read_note(path) or {} for path in ends}
                self.reports.add(Reports(notes=notes, errors=errors))


def environment(_: int) -> tuple[str, str]:
    """Who this executor is, and which code of ours it has."""
    return process_name(), code_digest()


@cache
def _begin_once(steps: Steps) -> None:
    steps.begin()


def _present() -> Tally:
    return Tally(workers=frozenset({process_name()}))


def _is_repeated() -> bool:
    context = TaskContext.get()
    return context is not None and context.attemptNumber() > 0
