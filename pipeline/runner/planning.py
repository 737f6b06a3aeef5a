"""What a run would cost, before it is paid for: units, hours, bytes and memory, and what the figures rest on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipeline.config import Settings
from pipeline.dataset.cuts import read_cuts
from pipeline.dataset.storage import is_remote, read_json
from pipeline.records import ClipRef
from pipeline.runner.progress import duration
from pipeline.video.decode import probe
from pipeline.video.source import local_path
from schemas.dataset import SUMMARY_PATH, Dataset, document_remedy
from schemas.documents import abbreviated, damaged
from schemas.errors import DatasetError, HumandepthError
from schemas.escaping import shown


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Costs of a frame and of a process."""

    seconds_per_frame: float
    bytes_per_frame: float
    peak_mb: int
    basis: str


BUILT_IN = Rates(
    seconds_per_frame=0.25,
    bytes_per_frame=990_000,
    peak_mb=1170,
    basis="built-in figures: what the demo clip (230 frames, up to three people, 1.3 samples a frame) cost one core at "
    "the default settings; run a few clips and give their dataset as --like for figures of your clips and this machine",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer."""

    clips: int
    unreadable: int
    units: int
    units_finished: int
    units_are_cut: bool
    """Whether every clip's cuts are known; else units are counted as if no clip had a cut."""
    video_s: float
    frames: int
    hours: float
    gigabytes: float
    memory_mb: int
    workers: int
    basis: str


def plan(
    clips: Sequence[ClipRef], settings: Settings, *, out: str | None, like: str | None, workers: int = 1
) -> Plan:
    """Probes every clip (reads it once, decodes one frame of it) and multiplies with measured or built-in rates."""
    rates = _rates(out, like)
    records = _finished_units(out)
    units = finished = frames = unreadable = 0
    video_s, all_cut = 0.0, True
    for clip in clips:
        try:
            facts = probe(local_path(clip.uri))
        except HumandepthError:
            unreadable += 1
            continue
        begin_s, end_s = clip.start_s or 0.0, min(clip.end_s or math.inf, facts.duration_s)
        length_s = max(0.0, end_s - begin_s)
        fps = min(facts.mean_fps, settings.video.sample_fps or facts.mean_fps)
        cut = read_cuts(out, clip.clip_id) if out else None
        windows = (
            [(part["unit_id"], part["end_s"] - part["start_s"]) for part in cut["segments"]] if cut else []
        )
        if not cut:
            all_cut = False
            count = max(1, math.ceil(length_s / settings.video.longest_unit_s(facts.mean_fps)))
            windows = [("", length_s / count)] * count
        left_s = sum(window_s for unit_id, window_s in windows if unit_id not in records)
        units += len(windows)
        finished += sum(unit_id in records for unit_id, _ in windows)
        video_s += left_s
        frames += round(left_s * fps)
    return Plan(
        clips=len(clips),
        unreadable=unreadable,
        units=units,
        units_finished=finished,
        units_are_cut=all_cut,
        video_s=video_s,
        frames=frames,
        hours=frames * rates.seconds_per_frame / workers / 3600,
        gigabytes=frames * rates.bytes_per_frame / 1e9,
        memory_mb=rates.peak_mb * workers,
        workers=workers,
        basis=rates.basis,
    )


def print_plan(found: Plan) -> None:
    """The plan in a few lines."""
    console = Console(soft_wrap=True, highlight=False)
    counted = "" if found.units_are_cut else ", more where clips have cuts"
    console.print(
        f"{found.clips} clip(s), {found.unreadable} unreadable; {found.units} unit(s){counted}, "
        f"{found.units_finished} finished\n"
        f"to do: {duration(found.video_s)} of video, {found.frames} frames\n"
        f"time: {duration(3600 * found.hours)} with {found.workers} worker(s)\n"
        f"disk: {found.gigabytes:.2f} GB\n"
        f"memory: {found.memory_mb} MB\n"
        f"based on {escape(shown(found.basis))}"
    )


def _rates(out: str | None, like: str | None) -> Rates:
    for root in filter(None, (like, out)):
        summary = None if is_remote(root) else read_json(root, SUMMARY_PATH)
        if summary and _number(root, summary, "frames_read"):
            return _measured(root, summary)
        if root == like:
            raise DatasetError(
                f"{root} holds no summary of a run that read frames.", remedy="Run a few clips into it first."
            )
    return BUILT_IN


def _measured(root: str, summary: dict[str, Any]) -> Rates:
    dataset = Dataset.open(root)
    stored = sum(shard.bytes for record in dataset.records for shard in record.shards)
    frames = sum(row["frames_read"] for row in dataset.rows("clips", ["frames_read"]))
    read, stages = _number(root, summary, "frames_read"), summary.get("stage_s")
    if not isinstance(stages, dict):
        stages = {"stage_s": stages}  # which is refused as the number it should be
    return Rates(
        seconds_per_frame=sum(_number(root, stages, stage) for stage in stages) / read,
        bytes_per_frame=stored / max(1, frames),
        peak_mb=int(_number(root, summary, "peak_mb")),
        basis=f"the last run on {root}: {read:.0f} frames with {_number(root, summary, 'workers'):.0f} worker(s)",
    )


def _number(root: str, values: dict[str, Any], name: str) -> float:
    """A number, not below zero, of a run's summary."""
    value = values.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63:
        path = Path(root) / SUMMARY_PATH
        raise damaged(path, f"{name} is {abbreviated(value)}", remedy=document_remedy(SUMMARY_PATH))
    return float(value)


def _finished_units(out: str | None) -> set[str]:
    if out is None or is_remote(out) or not (Path(out) / "meta").is_dir():
        return set()
    return {record.unit_id for record in Dataset.open(out).records}
