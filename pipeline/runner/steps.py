"""The three steps of a unit, as every engine carries them out: in a child process, within a time limit, counted.

An expected failure becomes rows of `failures` here. A bug, and a disk that cannot be written, are raised.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pipeline.host.process_family import die_with
from pipeline.records import ClipRef, Failure, Segment, TrackedSegment
from pipeline.runner.subprocesses import call_isolated
from pipeline.runner.tally import Tally, tally_of_outcome, tally_of_time, tally_of_unit
from pipeline.runner.units import (
    UnitWork,
    cut_clip,
    failed_segment,
    render_unit,
    track_unit,
    write_failed_clip,
)
from schemas.errors import CrashError, TimeLimitError


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What an engine's workers call. Small and picklable; each method gives its result and what was counted."""

    work: UnitWork
    isolated: bool = False
    """Each call in a child process of the worker, which is ended at the time limit and may crash."""
    driver_pid: int | None = None
    """The process of this machine that workers end with."""

    def begin(self) -> None:
        """Called once by every worker process."""
        if self.driver_pid is not None:
            die_with(self.driver_pid)

    def cut(self, clip: ClipRef) -> tuple[tuple[Segment, ...], Tally]:
        """The segments of a clip that are not finished yet; none of one that cannot be read, which leaves its rows."""
        try:
            found = self._call(cut_clip, clip)
        except (TimeLimitError, CrashError) as error:
            return (), tally_of_unit(write_failed_clip(self.work, clip, _about(clip, error)))
        tally = tally_of_time(found.spent)
        if found.failed is not None:
            tally += tally_of_unit(found.failed)
        for outcome in found.finished:
            tally += Tally(counts={"units-skipped": 1}) + tally_of_outcome(outcome)
        return found.todo, tally

    def track(self, segment: Segment) -> tuple[TrackedSegment, Tally]:
        """The people of a segment, or why there are none."""
        try:
            tracked, spent = self._call(track_unit, segment)
        except (TimeLimitError, CrashError) as error:
            return failed_segment(segment, "track", _about(segment.clip, error)), Tally()
        return tracked, tally_of_time(spent) + Tally(counts={"frames-read": tracked.frames_read})

    def render(self, tracked: TrackedSegment) -> Tally:
        """Writes the unit's shards and its completion record."""
        try:
            counts, spent = self._call(render_unit, tracked)
        except (TimeLimitError, CrashError) as error:
            failure = Failure.of("render", _about(tracked.segment.clip, error))
            counts, spent = render_unit(self.work, replace(tracked, tracks=(), failure=failure))
        return tally_of_time(spent) + tally_of_unit(counts)

    def unit(self, segment: Segment) -> Tally:
        """A segment from its film to its completion record."""
        tracked, tally = self.track(segment)
        return tally + self.render(tracked)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if not self.isolated:
            return function(self.work, *arguments)
        limit_s = self.work.settings.run.unit_time_limit_s
        try:
            return call_isolated(function, self.work, *arguments, limit_s=limit_s)
        except CrashError:  # once more: it may have been killed for want of memory, or by hand
            return call_isolated(function, self.work, *arguments, limit_s=limit_s)


def process_name() -> str:
    """What a worker is called that is a process of its own: its machine and its number there."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _about(clip: ClipRef, error: TimeLimitError | CrashError) -> TimeLimitError | CrashError:
    return type(error)(f"{clip.uri}: {error.message}", remedy=error.remedy)
