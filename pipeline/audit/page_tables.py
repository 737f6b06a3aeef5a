"""The tables of the audit's page as plain values: what is in which column. How they look is `page/parts.html`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.audit.baselines import SHARES
from pipeline.audit.figures import AuditFigures

_SHOWN_ROWS = 300
_KINDS = {"source_id": "source", "track_id": "track", "mean_baseline_m": "mean baseline, m",
          "valid_fraction": "valid share"}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table the page's script can sort by any column."""

    caption: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Any]]
    """Numbers, texts, and None or NaN for what is not known."""
    left_out: int
    """Rows that do not fit: they are in the JSON."""


def table(caption: str, headings: Sequence[str], rows: Sequence[Iterable[Any]]) -> Table:
    """The first 300 of these rows."""
    shown = [tuple(row) for row in rows[:_SHOWN_ROWS]]
    return Table(caption=caption, headings=headings, rows=shown, left_out=len(rows) - len(shown))


def sources_table(figures: AuditFigures) -> Table:
    """Per source."""
    rows = [
        (
            row.source_id,
            row.clips,
            row.frames,
            row.frames_kept,
            row.pairs,
            row.pairs_kept,
            row.samples,
            row.median_baseline_m,
            row.median_iou,
            row.median_reprojection_error,
            row.median_photo_error,
            row.median_depth_m,
            row.field_of_view_deg,
        )
        for row in figures.sources
    ]
    headings = ("source", "clips", "frames", "frames kept", "pairs", "pairs kept", "samples", "median baseline, m",
                "median IoU", "median 2-D error", "median colour error", "median depth, m",
                "field of view, deg")  # fmt: skip
    return table("Sources", headings, rows)


def gaps_table(figures: AuditFigures) -> Table:
    """Percentiles by frame gap."""
    headings = ("gap, frames", "pairs", "kept", *(f"baseline {share} %, m" for share in SHARES), "median angle, deg",
                "median parallax, px", "median |t|/Z")  # fmt: skip
    rows = [
        (
            int(group.name),
            group.pairs,
            group.kept,
            *(group.spread["mean_baseline_m"].get(str(share)) for share in SHARES),
            *(group.spread[name].get("50") for name in ("angle_deg", "parallax_px", "baseline_over_depth")),
        )
        for group in figures.by_gap
    ]
    return table("By frame gap", headings, rows)


def focal_table(figures: AuditFigures) -> Table:
    """The thresholds under other focal lengths."""
    threshold = figures.thresholds["min_mean_baseline_m"]
    rows = [
        (row.factor, row.median_baseline_m, row.above_threshold, row.kept_still, row.same_pairs_m)
        for row in figures.focal_assumptions
    ]
    headings = (
        "focal length, times the assumed",
        "median baseline of kept pairs, m",
        f"pairs tried at or above {threshold:g} m",
        f"kept pairs at or above {threshold:g} m",
        "threshold that chooses the same pairs, m",
    )
    return table("Other assumptions about the focal length", headings, rows)


def noise_table(figures: AuditFigures) -> Table:
    """Kept pairs by the acceleration of their bodies, smallest first."""
    rows = [
        (
            f"{band.acceleration_mm[0]:.1f} to {band.acceleration_mm[1]:.1f}",
            band.pairs,
            band.median_baseline_m,
            band.median_noise_m,
            band.within_noise,
            band.median_iou,
        )
        for band in figures.noise_bands
    ]
    headings = ("acceleration, mm", "kept pairs", "median baseline, m", "baseline from noise alone, m",
                "kept only by noise", "median IoU")  # fmt: skip
    return table("Acceleration against baseline", headings, rows)


def people_table(figures: AuditFigures) -> Table:
    """Per track."""
    headings = ("track", "frames", "kept", "2-D error", "IoU", "pairs", "kept pairs", "samples")
    rows = [
        (item.track_id, item.frames, item.frames_kept, item.mean_reprojection_error, item.mean_silhouette_iou,
         item.pairs, item.pairs_kept, item.samples)
        for item in figures.tracks
    ]  # fmt: skip
    return table("People", headings, rows)


def licences_table(figures: AuditFigures) -> Table:
    """Licences and the sources under them."""
    rows = [(name, len(items), ", ".join(items[:20])) for name, items in figures.licences.items()]
    return table("Licences", ("licence", "sources", "which"), rows)


def duplicates_table(figures: AuditFigures) -> Table:
    """Clips that are the same or look alike."""
    rows = [
        (
            item.how,
            ", ".join(item.members),
            ", ".join(item.sources),
            ", ".join(item.splits) or "not recorded",
        )
        for item in figures.duplicates
    ]
    return table("Duplicates", ("how", "clips", "sources", "splits"), rows)


def splits_table(figures: AuditFigures) -> Table:
    """Sources in every split."""
    return table("Splits", ("split", "sources"), list(figures.splits.counts.items()))


def failures_table(figures: AuditFigures) -> Table:
    """Failures by reason."""
    return table("Failures", ("reason", "count"), list(figures.failures.items()))


def training_table(figures: AuditFigures) -> Table:
    """What a training's losses were largest on. Empty without a training."""
    rows = [
        (
            _KINDS[row.by],
            row.group,
            row.photo,
            row.gradient_norm,
            row.samples,
            row.seen,
            row.median_baseline_m,
        )
        for row in figures.training or ()
    ]
    headings = ("by", "group", "mean photometric loss", "mean gradient", "samples", "times seen",
                "median baseline of kept pairs, m")  # fmt: skip
    return table("Photometric loss of the training", headings, rows)


def sides_table(figures: AuditFigures) -> Table:
    """The comparison of datasets and selections."""
    rows = [
        (
            side.name,
            side.pairs_tried,
            side.pairs_kept,
            side.samples,
            side.sources,
            side.references_per_sample,
            *(side.baseline_m.get(str(share)) for share in (10, 50, 90)),
            side.rotation_deg.get("50"),
            side.valid_fraction.get("50"),
            side.mean_photo_error,
            " and ".join(filter(None, (side.pairs, side.samples_where and f"samples: {side.samples_where}"))),
        )
        for side in figures.sides
    ]
    headings = ("what", "pairs tried", "pairs kept", "samples", "sources", "references a sample", "baseline 10 %, m",
                "baseline 50 %, m", "baseline 90 %, m", "median rotation, deg", "median valid share",
                "mean colour error", "filter")  # fmt: skip
    return table("Side by side", headings, rows)
