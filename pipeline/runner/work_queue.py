"""The work of a run on one machine, drawn by its workers one piece at a time.

Segments that were found go first, so a unit is finished soon after its clip was cut however many clips there are, and a
long clip's segments are shared by all workers. Nothing is planned ahead: a worker that is done takes the next piece.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition

from pipeline.records import ClipRef, Segment


class WorkQueue:
    """Clips to be cut and segments to be worked on. Used by threads of one process."""

    def __init__(self, clips: Iterable[ClipRef]) -> None:
        self._clips = iter(clips)
        self._segments: deque[Segment] = deque()
        self._cutting = 0
        self._is_over = False
        self.error: Exception | None = None
        """Why it ended before its time: the first that was told."""
        self._changed = Condition()

    def draw(self) -> ClipRef | Segment | None:
        """The next segment that was found, else the next clip, whose segments `found` must be told. None: all is done.

        Waits while nothing is left but clips that other workers are cutting.
        """
        with self._changed:
            while not self._is_over:
                if self._segments:
                    return self._segments.popleft()
                clip = next(self._clips, None)
                if clip is not None:
                    self._cutting += 1
                    return clip
                if not self._cutting:
                    break
                self._changed.wait()
            return None

    def found(self, segments: Sequence[Segment]) -> None:
        """The segments of a clip that was drawn; there may be none."""
        with self._changed:
            self._cutting -= 1
            self._segments.extend(segments)
            self._changed.notify_all()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more is drawn: the run has failed, and workers end after the piece they are at."""
        with self._changed:
            self._is_over = True
            self.error = self.error or error
            self._changed.notify_all()


_OPEN: dict[str, WorkQueue] = {}


@contextmanager
def opened(queue: WorkQueue) -> Iterator[str]:
    """A name by which threads of this process find the queue: what travels to Beam's workers is a name."""
    name = f"queue-{id(queue)}"
    _OPEN[name] = queue
    try:
        yield name
    finally:
        queue.end()
        del _OPEN[name]


def queue_named(name: str) -> WorkQueue:
    """The queue that is open under a name."""
    return _OPEN[name]
