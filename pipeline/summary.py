"""What a run prints when it ends."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.markup import escape

from pipeline.run import RunSummary
from pipeline.sink import is_remote
from schemas.dataset import Dataset


def print_run(summary: RunSummary, root: str) -> None:
    """One line of counts, and a line per failure with its remedy."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(
        f"{escape(root)}: {summary.units_kept} unit(s) kept ({summary.units_skipped} finished before), "
        f"{summary.units_failed} failed; now {summary.samples} samples, {summary.pairs_kept} pairs kept and "
        f"{summary.pairs_dropped} dropped by this run"
    )
    if is_remote(root):
        return
    for row in Dataset.open(root).rows("failures"):
        print(f"failed: {row['uri']}: {row['message']} {row['remedy']}", file=sys.stderr)
