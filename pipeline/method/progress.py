"""Progress of the work on a segment, passed to a callback as frames are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from pipeline.host.memory import with_memory_returned
from pipeline.records import ProgressCallback

Item = TypeVar("Item")


def no_progress(stage: str, done: int, total: int) -> None:
    """A `ProgressCallback` that does nothing."""


class CountedFrames(Generic[Item]):
    """An iterable of frames, or of what is read of each, that counts them and calls back for each.

    Freed memory is handed back now and then.
    """

    def __init__(
        self, frames: Iterable[Item], stage: str, expected: int, on_progress: ProgressCallback
    ) -> None:
        self.count = 0
        self._frames, self._stage, self._expected = frames, stage, expected
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[Item]:
        for frame in with_memory_returned(self._frames):
            self.count += 1
            self._on_progress(self._stage, self.count, max(self._expected, self.count))
            yield frame
