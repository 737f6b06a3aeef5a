"""Faults of a dataset: rows that are wrong, or that would spoil a training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from pipeline.audit.finding import SHOWN, Finding, names_of, percent
from pipeline.audit.scalars import AuditTables, codes, dictionary
from pipeline.audit.sources import Duplicate, SourceRow, Splits
from pipeline.records import FOCAL_SOURCES

_SWAP_DEG_S = 450.0
"""Nobody turns faster on average over the whole body (a skater's spin is about 1,000 at most, for a second)."""
_SWAP_GAP_S = 0.14
_STATIC_SHARE = 0.9
_VIEW_DEG = (8.0, 115.0)
"""Horizontal fields of view that people film with; a SPIN-style focal length of 5,000 px at 224 means 2.6 degrees."""
_DEPTH_M = (0.7, 25.0)
_UNSAID = ("estimated", "assumed")


def swaps(tables: AuditTables) -> Iterator[Finding]:
    """Bodies that flip between neighbouring frames: left and right were taken for one another."""
    gap, turn = tables.number("abs_gap_s"), tables.number("rotation_deg")
    near = (gap > 0) & (gap <= _SWAP_GAP_S)
    flipped = near & (turn > np.maximum(_SWAP_DEG_S * gap, 45.0))
    if not flipped.any():
        return
    tracks = dictionary(tables.pairs, "track_id").to_pylist()
    counts = np.bincount(codes(tables.pairs, "track_id")[flipped], minlength=len(tracks))
    worst = [tracks[at] for at in np.argsort(-counts, kind="stable")[:SHOWN] if counts[at]]
    share = flipped.sum() / near.sum()
    yield Finding(
        slug="left-right-swaps",
        level="fault" if share > 0.005 else "warning",
        weight=float(share),
        text=f"{flipped.sum()} of {near.sum()} pairs at most {_SWAP_GAP_S} s apart ({percent(share)}) turn faster "
        f"than {_SWAP_DEG_S:.0f} degrees a second, in {np.count_nonzero(counts)} track(s), most in {names_of(worst)}: "
        f"left and right are probably swapped in some frames ({(flipped & tables.kept).sum()} of these are kept).",
        remedy="Drop these tracks with a selection, or lower tracking.swap_cost and run again.",
    )


def static(tables: AuditTables) -> Iterator[Finding]:
    """Clips in which hardly any pair has a baseline: people who stand still."""
    names = dictionary(tables.pairs, "clip_id").to_pylist()
    if not names:
        return
    rows, baseline = codes(tables.pairs, "clip_id"), tables.number("mean_baseline_m")
    small = baseline < tables.thresholds["min_mean_baseline_m"]
    totals = np.bincount(rows, minlength=len(names))
    share = np.bincount(rows[small], minlength=len(names)) / np.maximum(totals, 1)
    still = np.flatnonzero((share >= _STATIC_SHARE) & (totals >= 2))
    if still.size:
        concerned = float(totals[still].sum() / totals.sum())
        middle = float(np.median(baseline[np.isin(rows, still)]))
        yield Finding(
            slug="static-clips",
            level="fault" if concerned > 0.02 else "warning",
            weight=concerned,
            text=f"{still.size} of {len(names)} clip(s) are nearly static: at least {percent(_STATIC_SHARE)} of their "
            f"pairs stay below {tables.thresholds['min_mean_baseline_m']:g} m (median {middle:.2f} m): "
            f"{names_of([names[at] for at in still])}.",
            remedy="Leave these clips out: where nobody turns there is no baseline to learn from.",
        )


def duplicates(found: list[Duplicate], total: int) -> Iterator[Finding]:
    """Clips that are the same under two names, worst where a split has them on both sides."""
    for item in found:
        across = len(item.splits) > 1
        several = len(item.sources) > 1
        where = f", in the splits {names_of(item.splits)}" if across else ""
        sure = item.how == "same file"
        yield Finding(
            slug="duplicate-across-splits" if across else "duplicate-clips",
            level="fault" if sure and (across or several) else "warning",
            weight=min(1.0, len(item.sources) / total) + (0.5 if across else 0.0),
            text=f"{len(item.members)} clips are duplicates ({item.how}): {names_of(item.members)}, of "
            f"{len(item.sources)} source(s) {names_of(item.sources)}{where}."
            + (
                " A split by source puts copies into training and validation."
                if several and not across
                else ""
            ),
            remedy="Keep one of them, or give both the same source_id.",
        )


def splits(recorded: Splits, total: int) -> Iterator[Finding]:
    """Sources in more than one split."""
    if recorded.in_several:
        names = [f"{source} ({', '.join(parts)})" for source, parts in recorded.in_several.items()]
        yield Finding(
            slug="source-in-several-splits",
            level="fault",
            weight=0.5 + len(names) / total,
            text=f"{len(names)} source(s) are in more than one split: {names_of(names)}.",
            remedy="Put every source into exactly one split.",
        )


def focal_lengths(sources: list[SourceRow]) -> Iterator[Finding]:
    """Sources whose focal length cannot be right: a field of view or a distance nobody films with."""
    known = [row for row in sources if row.field_of_view_deg is not None]
    odd = [row for row in known if not _VIEW_DEG[0] <= (row.field_of_view_deg or 0) <= _VIEW_DEG[1]]
    named = {row.source_id for row in odd}
    odd += [
        row
        for row in sources
        if row.source_id not in named
        and row.median_depth_m is not None
        and row.median_depth_m > 0
        and not _DEPTH_M[0] <= row.median_depth_m <= _DEPTH_M[1]
    ]
    if odd:
        pairs = sum(row.pairs for row in sources)
        facts = [
            f"{row.source_id} ("
            + (f"{row.field_of_view_deg:.1f} degrees across the image, " if row.field_of_view_deg else "")
            + f"people {row.median_depth_m or 0:.1f} m away)"
            for row in odd
        ]
        yield Finding(
            slug="wrong-focal-length",
            level="fault",
            weight=sum(row.pairs for row in odd) / max(1, pairs),
            text=f"The focal length of {len(odd)} of {len(sources)} source(s) cannot be right: {names_of(facts)}.",
            remedy="Give focal_px in the manifest, in pixels of the full image. Baseline and depth scale with it.",
        )


def assumed_focal_lengths(tables: AuditTables) -> tuple[int, int]:
    """How many clips rest on a focal length that nothing said, and how many were read."""
    clips = focal_sources(tables)
    return sum(clips.get(source, 0) for source in _UNSAID), sum(clips.values())


def focal_sources(tables: AuditTables) -> dict[str, int]:
    """Clips that were read, by where the focal length of their least sure unit is from, the surest first."""
    least: dict[str, int] = {}
    columns = (tables.clips[name].to_pylist() for name in ("clip_id", "focal_source", "frames_read"))
    for clip, source, frames in zip(*columns, strict=True):
        if frames > 0:
            least[clip] = max(least.get(clip, 0), FOCAL_SOURCES.index(source))
    counts = Counter(least.values())
    return {name: counts[at] for at, name in enumerate(FOCAL_SOURCES) if counts[at]}


def assumed_focal(tables: AuditTables) -> Iterator[Finding]:
    """Clips whose focal length nothing said."""
    assumed, read = assumed_focal_lengths(tables)
    clips = ", ".join(f"{name} {count}" for name, count in focal_sources(tables).items())
    if assumed:
        yield Finding(
            slug="assumed-focal-length",
            level="note",
            weight=assumed / read,
            text=f"Nothing states the focal length of {assumed} of {read} clip(s) (by source: {clips}): their depths "
            "and baselines are metres only as far as it is right.",
            remedy="Where it is known give focal_px in the manifest, or --focal-px.",
        )


def empty_masks(tables: AuditTables) -> Iterator[Finding]:
    """Kept pairs or samples without a single valid pixel."""
    valid, depth = tables.number("valid_fraction"), tables.number("target_depth_m")
    empty = tables.kept & ~((valid > 0) & (depth > 0))
    samples = tables.samples["valid_fraction"].to_numpy()
    blank = int(np.count_nonzero(~(samples > 0)))
    if empty.any() or blank:
        share = max(empty.sum() / max(1, tables.kept.sum()), blank / max(1, len(samples)))
        yield Finding(
            slug="empty-masks",
            level="fault",
            weight=float(share),
            text=f"{empty.sum()} kept pair(s) and {blank} sample(s) ({percent(share)}) have an empty mask: "
            "no pixel is valid.",
            remedy="Leave them out: --where 'valid_fraction > 0', and --set 'data.where=valid_fraction > 0' in "
            "training.",
        )
