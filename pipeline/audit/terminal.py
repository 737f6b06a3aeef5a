"""The audit in the terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.audit.baselines import SHARES
from pipeline.audit.figures import AuditFigures

_SHOWN_TRACKS = 20
_SHOWN_FINDINGS = 8


def print_audit(figures: AuditFigures, console: Console | None = None) -> None:
    """Warnings, people, losses and the spread of the pairs."""
    console = console or Console(highlight=False)
    console.print(_people_table(figures))
    if len(figures.tracks) > _SHOWN_TRACKS:
        console.print(f"... and {len(figures.tracks) - _SHOWN_TRACKS} more tracks: --json FILE lists all")
    console.print(_losses_table(figures))
    console.print(_spread_table(figures))
    if figures.sides:
        console.print(_sides_table(figures))
    error = (
        f"; mean colour error of the base depth {figures.kept_photo_error:.4f}"
        if figures.kept_photo_error
        else ""
    )
    console.print(
        f"{figures.clips} clip(s), {figures.units} unit(s), {figures.units_kept} kept{error}\n"
        f"{figures.sample_bytes / 1000:.0f} kB a sample with {figures.references_per_sample:.1f} references\n"
        f"focal length estimated or assumed for {figures.clips_with_assumed_focal[0]} of "
        f"{figures.clips_with_assumed_focal[1]} clip(s) that were read"
    )
    for reason, count in figures.failures.items():
        console.print(Text(f"failed: {count} x {reason}"))
    for finding in figures.findings[:_SHOWN_FINDINGS]:
        console.print(Text(f"{finding.level}: {finding.text} {finding.remedy}"))


def _people_table(figures: AuditFigures) -> Table:
    table = Table(title="People", title_justify="left")
    table.add_column("track", overflow="fold")
    for heading in ("frames", "kept", "2-D error", "IoU", "pairs", "kept", "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    for track in figures.tracks[:_SHOWN_TRACKS]:
        error, iou = track.mean_reprojection_error, track.mean_silhouette_iou
        table.add_row(
            Text(track.track_id),
            str(track.frames),
            str(track.frames_kept),
            "-" if error is None else f"{100 * error:.2f} %",
            "-" if iou is None else f"{iou:.3f}",
            str(track.pairs),
            str(track.pairs_kept),
            str(track.samples),
        )
    return table


def _losses_table(figures: AuditFigures) -> Table:
    """Why frames and pairs were dropped, most frequent first, over all tracks."""
    table = Table(title="Dropped", title_justify="left")
    table.add_column("what")
    table.add_column("reason")
    table.add_column("count", justify="right")
    table.add_column("share", justify="right")
    for what, reasons, total in (
        ("frames", [track.frame_reasons for track in figures.tracks], sum(t.frames for t in figures.tracks)),
        ("pairs", [track.pair_reasons for track in figures.tracks], sum(t.pairs for t in figures.tracks)),
    ):
        counts: Counter[str] = Counter()
        for part in reasons:
            counts.update(part)
        for reason, count in counts.most_common():
            table.add_row(what, Text(reason), str(count), f"{100 * count / total:.1f} %")
    return table


def _spread_table(figures: AuditFigures) -> Table:
    table = Table(title="Pairs", title_justify="left")
    table.add_column("percentile")
    for share in SHARES:
        table.add_column(f"{share} %", justify="right")
    for name, values in (
        ("mean baseline of kept pairs, m", figures.kept_baseline_m),
        ("mean baseline of dropped pairs, m", figures.dropped_baseline_m),
        ("rotation of kept pairs, deg", figures.kept_rotation_deg),
        ("parallax of kept pairs, px at 256", figures.kept_parallax_px),
    ):
        table.add_row(name, *(f"{values[str(share)]:.2f}" if values else "-" for share in SHARES))
    return table


def _sides_table(figures: AuditFigures) -> Table:
    table = Table(title="Side by side", title_justify="left")
    table.add_column("what", overflow="fold")
    for heading in ("pairs kept", "samples", "references", "median baseline"):
        table.add_column(heading, justify="right")
    for side in figures.sides:
        table.add_row(
            Text(side.name),
            str(side.pairs_kept),
            str(side.samples),
            f"{side.references_per_sample:.1f}",
            f"{side.baseline_m['50']:.2f} m" if side.baseline_m else "-",
        )
    return table
