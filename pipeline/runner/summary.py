"""What came of a run: its counts, where its time went, and what is printed and kept of both."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.dataset.storage import is_readable, publish_text
from pipeline.host.memory import peak_mb
from pipeline.runner.progress import duration
from pipeline.runner.tally import FAILED_PREFIX, STAGE_PREFIX, Tally
from schemas.dataset import SUMMARY_PATH, Dataset
from schemas.escaping import shown

TOO_MANY_FAILED = 5
"""Exit code when a larger share of units failed than `run.max_failed_share` allows."""
STAGES = {
    "cut": "looking for cuts",
    "load": "loading models",
    "track": "finding people",
    "fit": "fitting bodies",
    "crop": "cutting crops",
    "refine": "refining bodies",
    "render": "motion and maps",
    "write": "writing shards",
}
COUNTED = (
    "units_kept", "units_failed", "units_skipped", "samples", "frames_read", "frames_kept", "pairs_kept",
    "pairs_dropped",
)  # fmt: skip
"""Fields of a summary that the steps count."""
_SHOWN_FAILURES = 50


@dataclass(frozen=True, kw_only=True)
class RunCosts:
    """What a run took."""

    wall_s: float
    workers: int
    """How many did something, however many stood ready."""
    peak_mb: int
    """The most memory any one process of it has used."""
    stage_s: Mapping[str, float]
    failed: Mapping[str, int]
    """Failed units by reason."""


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What came of a run, from what the steps counted (units finished earlier are counted by their outcome)."""

    units_kept: int
    units_failed: int
    units_skipped: int
    samples: int
    frames_read: int = 0
    frames_kept: int
    pairs_kept: int
    pairs_dropped: int
    clips_read: int = 0
    """Clips in the dataset that could be read, whichever run read them."""
    clips_with_assumed_focal: int = 0
    """Those of them whose focal length nothing said: their depths are metres only as far as the assumption holds."""
    costs: RunCosts | None = None

    @property
    def exit_code(self) -> int:
        """0 all well, 3 some units failed, 4 nothing was kept."""
        if not self.units_kept:
            return 4
        return 3 if self.units_failed else 0

    def exit_code_for(self, max_failed_share: float) -> int:
        """`exit_code`, or 5 where more failed than that share."""
        units = self.units_kept + self.units_failed
        if self.units_kept and self.units_failed > max_failed_share * units:
            return TOO_MANY_FAILED
        return self.exit_code


def summary_of(tally: Tally, wall_s: float) -> RunSummary:
    """What an engine counted, as a summary."""
    counts = tally.counts
    stage_s = {stage: counts.get(STAGE_PREFIX + stage, 0) / 1000 for stage in STAGES}
    costs = RunCosts(
        wall_s=round(wall_s, 3),
        workers=len(tally.workers),
        peak_mb=max(peak_mb(), tally.peak_mb),
        stage_s={stage: seconds for stage, seconds in stage_s.items() if seconds},
        failed={
            name.removeprefix(FAILED_PREFIX): count
            for name, count in sorted(counts.items())
            if name.startswith(FAILED_PREFIX)
        },
    )
    return RunSummary(**{name: counts.get(name.replace("_", "-"), 0) for name in COUNTED}, costs=costs)


def with_focal_lengths(summary: RunSummary, root: str) -> RunSummary:
    """The summary with what the table `clips` of a local dataset says about focal lengths."""
    assumed: dict[str, bool] = {}
    for row in Dataset.open(root).rows("clips", ["clip_id", "focal_source", "frames_read"]):
        if row["frames_read"]:
            is_assumed = row["focal_source"] not in ("given", "file")
            assumed[row["clip_id"]] = assumed.get(row["clip_id"], False) or is_assumed
    return replace(summary, clips_read=len(assumed), clips_with_assumed_focal=sum(assumed.values()))


def summary_facts(summary: RunSummary) -> dict[str, Any]:
    """A summary as plain data: nothing in it names a source."""
    facts: dict[str, Any] = asdict(summary)
    return facts | {"stages": stage_rows(summary)} | (facts.pop("costs") or {})


def write_summary(summary: RunSummary, root: str) -> None:
    """`summary_facts` as `meta/summary.json`."""
    publish_text(json.dumps(summary_facts(summary), indent=1, sort_keys=True) + "\n", root, SUMMARY_PATH)


def stage_rows(summary: RunSummary) -> list[dict[str, Any]]:
    """Where the time went: seconds, share, milliseconds per frame read and per pair tried."""
    stage_s = summary.costs.stage_s if summary.costs else {}
    total_s = sum(stage_s.values())
    frames, pairs = summary.frames_read, summary.pairs_kept + summary.pairs_dropped
    return [
        {
            "stage": stage,
            "seconds": round(seconds, 3),
            "share": round(seconds / total_s, 4) if total_s else 0.0,
            "ms_per_frame": round(1e3 * seconds / frames, 3) if frames else None,
            "ms_per_pair": round(1e3 * seconds / pairs, 3)
            if pairs and stage in ("render", "write")
            else None,
        }
        for stage, seconds in sorted(stage_s.items(), key=lambda item: list(STAGES).index(item[0]))
    ]


def print_run(summary: RunSummary, root: str) -> None:
    """Counts, where the time went, and a line per failure with its remedy."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{escape(shown(root))}: {summary.units_kept} unit(s) kept ({summary.units_skipped} finished before), "
        f"{summary.units_failed} failed; now {summary.samples} samples, {summary.pairs_kept} pairs kept and "
        f"{summary.pairs_dropped} dropped by this run"
    )
    costs = summary.costs
    if costs is not None and summary.frames_read:
        console.print(_stage_table(summary))
        console.print(
            f"{duration(costs.wall_s)} with {costs.workers} worker(s), {summary.frames_read} frames read; "
            f"the largest process used {costs.peak_mb} MB"
        )
    if summary.clips_with_assumed_focal:
        console.print(
            f"nothing states the focal length of {summary.clips_with_assumed_focal} of {summary.clips_read} clip(s), "
            "so it is estimated or assumed: depths and baselines scale with it. Where it is known give --focal-px, or "
            "focal_px in the manifest."
        )
    if not is_readable(root):
        return
    dataset = Dataset.open(root)
    for number, row in enumerate(dataset.rows("failures")):
        if number == _SHOWN_FAILURES:
            print(
                f"... and {dataset.row_count('failures') - number} more: see the table `failures`",
                file=sys.stderr,
            )
            break
        about = "" if row["message"].startswith(row["uri"]) else f"{row['uri']}: "
        print(shown(f"failed: {about}{row['message']} {row['remedy']}"), file=sys.stderr)


def _stage_table(summary: RunSummary) -> Table:
    table = Table(title="Where the time went", title_justify="left")
    table.add_column("stage")
    for heading in ("seconds", "share", "ms a frame", "ms a pair"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in stage_rows(summary):
        numbers = (
            "" if row[name] is None else f"{row[name]:.1f}" for name in ("ms_per_frame", "ms_per_pair")
        )
        table.add_row(STAGES[row["stage"]], f"{row['seconds']:.1f}", f"{100 * row['share']:.0f} %", *numbers)
    return table
