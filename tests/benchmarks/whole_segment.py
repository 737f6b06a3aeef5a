"""A whole clip through the pipeline against what no pipeline can do without: decoding, detection, landmarks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from pipeline.assets import asset_path
from pipeline.config import Settings
from pipeline.method.resources import Resources
from pipeline.method.segment import process_segment
from pipeline.records import ClipRef, Segment
from pipeline.tracking.blazepose import PoseModels
from pipeline.tracking.people import is_due
from pipeline.tracking.tracker import landmark_models
from pipeline.video.shots import frames_of, segments_of
from pipeline.video.source import clips_from_arguments
from schemas.errors import AssetError
from schemas.tables import TABLES
from tests.benchmarks.measuring import Benchmark, UnavailableError

PEOPLE = "the demo clip (230 frames, two people): process_segment, rows encoded but not written; CPU time, one thread"


def benchmarks() -> list[Benchmark]:
    """Entries of build/benchmarks.json; both from one run."""
    return [
        Benchmark(
            name="pipeline_vs_inference",
            detail=f"ms of {PEOPLE} (ours); peer: decode, detect, one landmark call per person and frame, of the two "
            "models in turn. "
            "Goal .30: the pipeline costs 1 / ratio times as much as what it cannot do without",
            measure=lambda: (1e3 * demo_cost().cpu_s, 1e3 * demo_cost().inference_s),
        ),
        Benchmark(
            name="kept_pairs_per_core_second",
            detail=f"ms for each kept pair of {PEOPLE} (ours); peer: a second, so that the ratio is pairs a core "
            "second. Goal 45",
            measure=lambda: (1e3 * demo_cost().cpu_s / demo_cost().kept_pairs, 1e3),
        ),
    ]


@dataclass(frozen=True, kw_only=True)
class SegmentCost:
    """What a clip cost and what came of it."""

    clip: str
    cpu_s: float
    inference_s: float
    """Decoding, detection and landmarks alone; 0 where that was not measured."""
    person_frames: int
    """Kept ones."""
    kept_pairs: int

    @property
    def summary(self) -> str:
        """In the units of the goals."""
        frames, pairs = max(self.person_frames, 1), self.kept_pairs
        said = f"{1e3 * self.cpu_s / frames:.0f} ms for each of {frames} kept person-frames"
        return f"{said}, {pairs / self.cpu_s:.1f} of {pairs} kept pairs a core second"


@cache
def demo_cost() -> SegmentCost:
    """The demo clip's, after a warm-up; inference before and after it, so that a machine that slows down slows both."""
    try:
        asset_path("demo.mp4")
        models = landmark_models(Settings())
    except AssetError as error:
        raise UnavailableError(str(error)) from None
    process_clip(None, first_s=1.0)
    before = bare_inference_s(models)
    cost = process_clip(None)
    return replace(cost, inference_s=0.5 * (before + bare_inference_s(models)))


def process_clip(path: str | None, first_s: float | None = None) -> SegmentCost:
    """A clip, or the first seconds of one, through the pipeline with its default settings; the demo clip for None."""
    settings, kept_pairs, person_frames = Settings(), 0, 0

    def emit(table: str, row: dict) -> None:
        nonlocal kept_pairs, person_frames
        TABLES[table].encode_row(row)
        kept_pairs += table == "pairs" and bool(row["kept"])
        person_frames += table == "frames" and bool(row["kept"])

    resources = Resources(settings)
    begin_s = time.process_time()
    for segment in _segments(path, first_s, settings):
        process_segment(segment, resources, emit)
    cpu_s = time.process_time() - begin_s
    name = Path(path).name if path else "demo clip"
    return SegmentCost(
        clip=name, cpu_s=cpu_s, inference_s=0.0, person_frames=person_frames, kept_pairs=kept_pairs
    )


def _segments(path: str | None, first_s: float | None, settings: Settings) -> Iterator[Segment]:
    clip: ClipRef
    (clip,) = clips_from_arguments([path or str(asset_path("demo.mp4"))])
    for segment in segments_of(clip, settings.video):
        if first_s is None:
            yield segment
        else:
            yield replace(segment, end_s=segment.start_s + first_s)
            return


def bare_inference_s(models: PoseModels, people: int = 2) -> float:
    """CPU seconds of decoding the demo clip, detecting people and looking at each with either model as often as the
    tracker does."""
    settings = Settings()
    begin_s = time.process_time()
    for segment in _segments(None, None, settings):
        regions = []
        heavier_s = -math.inf
        for frame in frames_of(segment, settings.video):
            if frame.index % settings.tracking.detect_every == 0:
                found = models.detect_people(frame.image, settings.tracking.detector_threshold)
                if len(found.score) and len(regions) < people:
                    regions = [found.region(at) for at in range(min(people, len(found.score)))]
            heavier = is_due(frame.pts_s, [heavier_s], settings.tracking.heavy_every_s)
            heavier_s = frame.pts_s if heavier and regions else heavier_s
            regions = [
                models.landmarks(frame.image, region, heavier=heavier).next_region for region in regions
            ]
    return time.process_time() - begin_s
