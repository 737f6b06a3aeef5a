"""Where the CPU time of a clip goes: `python -m tests.benchmarks.stage_costs [CLIP]`, the demo clip without one.

Every part's own time, without that of other parts it calls; one thread, after the kernels are compiled.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import tests.support.one_thread  # noqa: F401

# isort: split
from rich.console import Console
from rich.table import Table

from tests.benchmarks.whole_segment import SegmentCost, process_clip

PARTS: tuple[tuple[str, str], ...] = (
    ("decoding", "pipeline.method.segment:frames_of"),
    ("decoding", "pipeline.video.stored_frame:StoredFrame.showing"),
    ("decoding", "pipeline.method.crops:parts_of"),
    ("detection", "pipeline.tracking.blazepose:PoseModels.detect_people"),
    ("landmarks", "pipeline.tracking.blazepose:PoseModels.landmarks"),
    ("left and right", "pipeline.tracking.tracker:repair_left_right"),
    ("outlines", "pipeline.tracking.tracker:silhouettes_of"),
    ("fit", "pipeline.tracking.tracker:fit_track"),
    ("quality and gates", "pipeline.tracking.tracker:build_track"),
    ("crops", "pipeline.method.crops:crop_part"),
    ("JPEG, written", "pipeline.method.crops:encode_jpeg"),
    ("JPEG, read", "pipeline.method.refined_tracks:decode_image"),
    ("JPEG, read", "pipeline.method.rendered_frames:decode_image"),
    ("refine: the rest", "pipeline.method.refined_tracks:refined_track"),
    ("refine: visibility", "pipeline.refine.visibility:Visibility.update"),
    ("refine: level pictures", "pipeline.refine.pictures:LevelPictures.__getitem__"),
    ("refine: sampling", "pipeline.refine.appearance:Appearance.sample"),
    ("refine: neighbours' means", "pipeline.refine.appearance:blend_frames"),
    ("refine: residuals, weights", "pipeline.refine.appearance:compare_frame"),
    ("refine: normal equations", "pipeline.refine.alignment:Alignment._equations"),
    ("refine: solving", "pipeline.refine.step_solver:StepSolver.stepped"),
    ("refine: lighting", "pipeline.refine.appearance:Appearance.update_lighting"),
    ("posing", "pipeline.method.rendered_frames:body_from_vector"),
    ("drawing", "pipeline.rendering.compiled:CompiledRasterizer.face_ids"),
    ("drawing: rasters", "pipeline.rendering.rasterizer:raster_from_face_ids"),
    ("drawing: rasters", "pipeline.geometry.posed_surface:raster_from_face_ids"),
    ("motion fields", "pipeline.method.pair_fields:PairFields.of_target"),
    ("estimates", "pipeline.method.verdicts:estimate_statistics"),
    ("pair maps", "pipeline.method.samples:pair_maps"),
    ("misalignment", "pipeline.method.verdicts:misalignment"),
    ("pictures compared", "pipeline.method.verdicts:compared_pictures"),
    ("rows encoded", "schemas.table:TableSpec.encode_row"),
)
"""A label, and what is timed under it: `module:name` as the code that calls it knows it."""


class StageClock:
    """CPU seconds and calls by label; a part's time stops while a part that it calls runs."""

    def __init__(self, now_s: Callable[[], float] = time.process_time) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._now_s, self._stack, self._since_s = now_s, ["everything else"], now_s()

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, which counts as `label` while it runs; what it yields, if it does, is made under it too."""

        @functools.wraps(function)
        def counting(*args: Any, **kwargs: Any) -> Any:
            with self._under(label):
                made = function(*args, **kwargs)
            return self._each(label, made) if isinstance(made, Iterator) else made

        return counting

    def _each(self, label: str, made: Iterator[Any]) -> Iterator[Any]:
        end = object()
        while True:
            with self._under(label):
                item = next(made, end)
            if item is end:
                return
            yield item

    @contextmanager
    def _under(self, label: str) -> Iterator[None]:
        self.lap()
        self._stack.append(label)
        self.calls[label] = self.calls.get(label, 0) + 1
        try:
            yield
        finally:
            self.lap()
            self._stack.pop()

    def lap(self) -> None:
        """The time since the last lap is the current part's."""
        now = self._now_s()
        label = self._stack[-1]
        self.seconds[label] = self.seconds.get(label, 0.0) + now - self._since_s
        self._since_s = now


def owner_of(place: str) -> tuple[Any, str]:
    """The module or class that holds what `module:name` or `module:Class.name` says, and the name in it."""
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for each in classes:
        owner = getattr(owner, each)
    return owner, name


@contextmanager
def watched(clock: StageClock, parts: tuple[tuple[str, str], ...] = PARTS) -> Iterator[None]:
    """The parts count their time in the clock; afterwards they are as they were."""
    with ExitStack() as stack:
        for label, place in parts:
            owner, name = owner_of(place)
            original = getattr(owner, name)
            setattr(owner, name, clock.timed(label, original))
            stack.callback(setattr, owner, name, original)
        yield


def print_costs(clock: StageClock, cost: SegmentCost) -> None:
    """The table, and what it comes to."""
    total = sum(clock.seconds.values())
    table = Table("part", "s", "%", "calls", title=f"{cost.clip}: CPU time, one thread")
    for label, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        table.add_row(
            label, f"{seconds:.2f}", f"{100 * seconds / total:.1f}", str(clock.calls.get(label, ""))
        )
    console = Console()
    console.print(table)
    console.print(f"{total:.1f} s: {cost.summary}")


def main(arguments: list[str]) -> int:
    """Profiles one clip; returns the exit code."""
    clip = arguments[0] if arguments else None
    process_clip(clip, first_s=1.0)  # compiles what is not in the kernel cache
    clock = StageClock()
    with watched(clock):
        cost = process_clip(clip)
        clock.lap()
    print_costs(clock, cost)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
