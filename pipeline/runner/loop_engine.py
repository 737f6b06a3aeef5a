"""The plain loop: clip by clip, segment by segment, without any framework. What other engines are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.records import ClipRef
from pipeline.runner.steps import Steps, process_name
from pipeline.runner.tally import Tally


@dataclass(frozen=True)
class LoopEngine:
    """See `pipeline.runner.engines.Engine`."""

    is_local = True
    shows_progress = True

    def check(self) -> None:
        """It needs nothing."""

    def carry_out(self, clips: Sequence[ClipRef], steps: Steps) -> Tally:
        """See `pipeline.runner.engines.Engine`."""
        tally = Tally(workers=frozenset({process_name()}))
        for clip in clips:
            segments, counted = steps.cut(clip)
            tally += counted
            for segment in segments:
                tally += steps.unit(segment)
        return tally
