"""What a run would cost, before it is paid for: units, hours, bytes and memory, and what the figures rest on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from pipeline.config import Settings
from pipeline.dataset.storage import is_readable, read_json
from pipeline.records import ClipRef
from pipeline.runner.clip_plans import PROBE_S, ClipPlan, Total, clip_plans, sample_of, total_of, usable_cores
from pipeline.runner.paper_costs import STAGE_SHARES, Bill, bill
from pipeline.runner.progress import duration
from pipeline.runner.summary import STAGES
from schemas.addresses import check_reachable
from schemas.dataset import INFO_PATH, SUMMARY_PATH, Dataset, document_remedy
from schemas.documents import abbreviated, damaged
from schemas.errors import DatasetError
from schemas.escaping import shown


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Costs of a frame and of a process."""

    seconds_per_frame: float
    bytes_per_frame: float
    peak_mb: int
    basis: str
    stage_shares: Mapping[str, float]
    """Of the time."""


SEED = 6666
_MANY_CLIPS = 2000
"""Probing more than these takes minutes: that is said, and `--sample` named."""
BUILT_IN = Rates(
    seconds_per_frame=0.190,
    bytes_per_frame=900_000,
    peak_mb=1170,
    basis="built-in figures: what the demo clip (230 frames, up to three people, 1.4 samples a frame) cost one core at "
    "the default settings; run a few clips and give their dataset as --like for figures of your clips and this machine",
    stage_shares=STAGE_SHARES,
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The answer."""

    clips: int
    probed: int
    """Of them; where that is not all, every figure is scaled up from a random sample."""
    margin: float
    """Half the width of the 95 % interval of the frames as a share of them; 0 where all clips were probed."""
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
    bill: Bill


def plan(
    clips: Sequence[ClipRef],
    settings: Settings,
    *,
    out: str | None,
    like: str | None,
    workers: int = 1,
    sample: int | None = None,
    seed: int = SEED,
    as_many_as: int | None = None,
    price_per_core_hour: float | None = None,
) -> Plan:
    """Probes clips (reads each once, decodes one frame of it) and multiplies with measured or built-in rates.

    With `sample`, that many at random. Figures are scaled up to all clips, or to `as_many_as` clips like these.
    """
    rates = _rates(out, like)
    chosen = sample_of(clips, sample, seed)
    population = max(len(clips), as_many_as or 0)
    _say_what_probing_costs(len(chosen), len(clips))
    work = _work_of(clip_plans(chosen, settings, out), _finished_units(out), population)
    frames = work.frames.value
    return Plan(
        clips=population,
        probed=len(chosen),
        margin=work.frames.margin / frames if frames else 0.0,
        unreadable=work.unreadable,
        units=work.units,
        units_finished=work.units_finished,
        units_are_cut=work.units_are_cut,
        video_s=work.video_s,
        frames=round(frames),
        hours=frames * rates.seconds_per_frame / workers / 3600,
        gigabytes=frames * rates.bytes_per_frame / 1e9,
        memory_mb=rates.peak_mb * workers,
        workers=workers,
        basis=rates.basis,
        bill=bill(
            clips=population,
            units=work.units,
            frames=frames,
            seconds_per_frame=rates.seconds_per_frame,
            bytes_per_frame=rates.bytes_per_frame,
            stage_shares=rates.stage_shares,
            price_per_core_hour=price_per_core_hour,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What there is to do, scaled up to all clips."""

    unreadable: int
    units: int
    units_finished: int
    units_are_cut: bool
    video_s: float
    frames: Total


def _work_of(found: Sequence[ClipPlan], records: set[str], population: int) -> _Work:
    def count(values: Sequence[int]) -> int:
        return round(total_of(values, population).value)

    left_s = [sum(length_s for unit_id, length_s in each.windows if unit_id not in records) for each in found]
    return _Work(
        unreadable=count([not each.windows for each in found]),
        units=count([len(each.windows) for each in found]),
        units_finished=count([_finished(each, records) for each in found]),
        units_are_cut=all(each.is_cut for each in found if each.windows),
        video_s=total_of(left_s, population).value,
        frames=total_of([round(length_s * each.fps) for length_s, each in zip(left_s, found)], population),
    )


def _finished(clip: ClipPlan, records: set[str]) -> int:
    return sum(unit_id in records for unit_id, _ in clip.windows)


def _say_what_probing_costs(count: int, clips: int) -> None:
    if count > _MANY_CLIPS:
        seconds = count * PROBE_S / usable_cores()
        print(
            f"probing {count} of {clips} clips takes about {duration(seconds)} on {usable_cores()} core(s); "
            f"--sample 1000 takes {duration(1000 * PROBE_S / usable_cores())} and says how sure it is",
            file=sys.stderr,
        )


def print_plan(found: Plan, *, with_bill: bool = False) -> None:
    """The plan in a few lines, and the bill of its stages where it is asked for."""
    console = Console(soft_wrap=True, highlight=False)
    counted = "" if found.units_are_cut else ", more where clips have cuts"
    console.print(
        f"{found.clips} clip(s), {found.unreadable} unreadable; {found.units} unit(s){counted}, "
        f"{found.units_finished} finished\n"
        f"to do: {duration(found.video_s)} of video, {found.frames} frames{_sureness(found)}\n"
        f"time: {duration(3600 * found.hours)} with {found.workers} worker(s)\n"
        f"disk: {found.gigabytes:.2f} GB\n"
        f"memory: {found.memory_mb} MB\n"
        f"based on {escape(shown(found.basis))}"
    )
    if with_bill:
        _print_bill(console, found.bill)


def _sureness(found: Plan) -> str:
    if found.probed == found.clips:
        return ""
    if found.margin == float("inf"):
        return "; scaled up from one clip: how sure that is, nobody knows"
    low, high = (max(0.0, found.frames * (1 + sign * found.margin)) for sign in (-1, 1))
    return (
        f"\nscaled up from {found.probed} clip(s): frames, time and disk are off by up to "
        f"{100 * found.margin:.0f} % (95 % interval: {low:.0f} to {high:.0f} frames)"
    )


def _print_bill(console: Console, found: Bill) -> None:
    price = "" if found.price is None else f", price {found.price:.2f}"
    console.print(f"core hours: {found.core_hours:.1f}{price}")
    for stage, hours in found.stage_core_hours.items():
        if hours:
            console.print(f"  {STAGES[stage]}: {hours:.1f}")
    requests = found.requests
    console.print(
        f"requests, if clips and dataset lie in buckets: {requests.reads} reads, {requests.writes} writes, "
        f"{requests.deletes} deletions"
    )


def _rates(out: str | None, like: str | None) -> Rates:
    for root in filter(None, (like, out)):
        summary = None if not is_readable(root) else read_json(root, SUMMARY_PATH)
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
    seconds = {stage: _number(root, stages, stage) for stage in stages}
    total_s = sum(seconds.values())
    return Rates(
        seconds_per_frame=total_s / read,
        stage_shares={stage: seconds[stage] / total_s for stage in STAGES if seconds.get(stage)},
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
    if out is None or not is_readable(out):
        return set()
    check_reachable(out)
    if read_json(out, INFO_PATH) is None and not (Path(out) / "meta").is_dir():
        return set()
    return {record.unit_id for record in Dataset.open(out).records}
