"""How work is handed out on one machine: units before clips, everything once, and nothing after a failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.config import Settings
from pipeline.records import ClipRef, Segment, TrackedSegment, VideoFacts
from pipeline.runner.engines import make_engine
from pipeline.runner.steps import Steps
from pipeline.runner.tally import Tally
from pipeline.runner.units import UnitWork
from pipeline.runner.work_queue import WorkQueue

FACTS = VideoFacts(width_px=8, height_px=8, mean_fps=10.0, duration_s=1.0, sha256="0")


def clips_named(*names: str) -> list[ClipRef]:
    return [ClipRef(clip_id=name, uri=f"{name}.mp4", source_id=name) for name in names]


def segments_of(clip: ClipRef, count: int) -> tuple[Segment, ...]:
    return tuple(
        Segment(clip=clip, unit_id=f"{clip.clip_id}{at}", shot_index=0, start_s=at, end_s=at + 1, video=FACTS)
        for at in range(count)
    )


def test_units_go_before_clips_and_each_piece_goes_once() -> None:
    queue, order = WorkQueue(clips_named("a", "b", "c")), []
    while (piece := queue.draw()) is not None:
        if isinstance(piece, ClipRef):
            order.append(piece.clip_id)
            queue.found(segments_of(piece, {"a": 2, "b": 0, "c": 1}[piece.clip_id]))
        else:
            order.append(piece.unit_id)
    assert order == ["a", "a0", "a1", "b", "c", "c0"]


def waiting(queue: WorkQueue) -> tuple[threading.Thread, list[object]]:
    """A worker that asks for a piece, and what it gets."""
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(queue.draw()), daemon=True)
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    return thread, got


@pytest.mark.parametrize("ended_by", ["a unit", "no unit", "a failure"])
def test_a_worker_without_a_piece_waits_for_those_who_cut(ended_by: str) -> None:
    queue = WorkQueue(clips_named("a"))
    clip = queue.draw()
    assert isinstance(clip, ClipRef)
    thread, got = waiting(queue)
    found = segments_of(clip, 1 if ended_by == "a unit" else 0)
    queue.end() if ended_by == "a failure" else queue.found(found)
    thread.join(5)
    assert got == [found[0] if found else None]


@dataclass(frozen=True, kw_only=True)
class ToySteps(Steps):
    """Steps that do nothing but write down what was asked of them."""

    log: str = ""
    units_per_clip: int = 2
    takes_s: float = 0.0
    fails_first: bool | None = None
    """Whether the worker that was first fails, or another; none does for None."""

    def _note(self, what: str) -> None:
        me, before = str(threading.get_ident()), Path(self.log).read_text().split()
        if len(before) > 8 and (before[1] == me) == self.fails_first:
            raise ZeroDivisionError("a bug that was planted")
        with open(self.log, "a") as file:
            file.write(f"{what} {me}\n")
        time.sleep(self.takes_s)

    def cut(self, clip: ClipRef) -> tuple[tuple[Segment, ...], Tally]:
        self._note(clip.clip_id)
        return segments_of(clip, self.units_per_clip), Tally(counts={"cut": 1})

    def track(self, segment: Segment) -> tuple[TrackedSegment, Tally]:
        self._note(segment.unit_id)
        return TrackedSegment(segment=segment, tracks=(), frames_read=1), Tally(counts={"frames-read": 1})

    def render(self, tracked: TrackedSegment) -> Tally:
        return Tally(counts={"units-kept": 1}, peak_mb=len(tracked.segment.unit_id))


@pytest.fixture
def toy(tmp_path: Path) -> Callable[..., ToySteps]:
    work = UnitWork(settings=Settings(), root=str(tmp_path))
    (tmp_path / "log").touch()
    return lambda **values: ToySteps(work=work, log=str(tmp_path / "log"), **values)


def noted(steps: ToySteps) -> list[str]:
    return [line.split()[0] for line in Path(steps.log).read_text().splitlines()]


@pytest.mark.parametrize("name", ["loop", "beam"])
def test_a_unit_is_finished_before_the_next_clip_is_cut(name: str, toy: Callable[..., ToySteps]) -> None:
    steps = toy()
    tally = make_engine(name).carry_out(clips_named("a", "b"), steps)
    assert noted(steps) == ["a", "a0", "a1", "b", "b0", "b1"]
    assert tally.counts == {"cut": 2, "frames-read": 4, "units-kept": 4}
    assert (tally.peak_mb, len(tally.workers)) == (2, 1)


def test_the_units_of_one_long_clip_are_shared_by_all_workers(toy: Callable[..., ToySteps]) -> None:
    steps = toy(units_per_clip=20, takes_s=0.02)
    tally = make_engine("beam", workers=3).carry_out(clips_named("a"), steps)
    assert sorted(noted(steps)) == sorted(["a", *(f"a{at}" for at in range(20))])
    shares = [line.split()[1] for line in Path(steps.log).read_text().splitlines()]
    assert sorted(shares.count(thread) for thread in set(shares))[0] >= 4
    assert (tally.counts["units-kept"], len(tally.workers)) == (20, 3)


@pytest.mark.parametrize("fails_first", [True, False])
def test_a_bug_ends_the_work_of_the_other_workers_too(
    fails_first: bool, toy: Callable[..., ToySteps]
) -> None:
    steps = toy(fails_first=fails_first, takes_s=0.02)
    names = [chr(ord("a") + at) for at in range(26)]
    with pytest.raises(Exception, match="planted"):
        make_engine("beam", workers=2).carry_out(clips_named(*names), steps)
    assert "z" not in noted(steps)
    count = len(noted(steps))
    time.sleep(0.2)
    assert len(noted(steps)) == count  # nobody is left at work
