"""Progress of the work on a segment, passed to a callback as frames are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.host.memory import with_memory_returned
from pipeline.records import Frame, ProgressCallback


def no_progress(stage: str, done: int, total: int) -> None:
    """A `ProgressCallback` that does nothing."""


class CountedFrames:
    """An iterable of frames that counts them and calls back for each; freed memory is handed back now and then."""

    def __init__(
        self, frames: Iterable[Frame], stage: str, expected: int, on_progress: ProgressCallback
    ) -> None:
        self.count = 0
        self._frames, self._stage, self._expected = frames, stage, expected
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[Frame]:
        for frame in with_memory_returned(self._frames):
            self.count += 1
            self._on_progress(self._stage, self.count, max(self._expected, self.count))
            yield frame
