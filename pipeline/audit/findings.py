"""Warnings in words with numbers, worst first: what is wrong with a dataset and what to do about it.

A finding's level is `fault` (the rows are wrong or would spoil a training), `warning` (look before you train) or
`note`. Within a level the larger weight comes first; a weight is the share of the dataset that is concerned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.audit.baselines import within_noise
from pipeline.audit.scalars import AuditTables, codes, dictionary
from pipeline.audit.sources import Duplicate, SourceRow, Splits
from pipeline.audit.training import TrainingRow

LEVELS = ("fault", "warning", "note")

_SWAP_DEG_S = 450.0
"""Nobody turns faster on average over the whole body (a skater's spin is about 1,000 at most, for a second)."""
_SWAP_GAP_S = 0.14
_STATIC_SHARE = 0.9
_VIEW_DEG = (8.0, 115.0)
"""Horizontal fields of view that people film with; a SPIN-style focal length of 5,000 px at 224 means 2.6 degrees."""
_DEPTH_M = (0.7, 25.0)
_SHOWN = 4


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One warning."""

    slug: str
    level: str
    weight: float
    text: str
    remedy: str


def find(
    tables: AuditTables,
    sources: list[SourceRow],
    duplicates: list[Duplicate],
    splits: Splits,
    licences: dict[str, list[str]],
    training: list[TrainingRow] | None,
) -> list[Finding]:
    """All findings, worst first."""
    found = [
        *_swaps(tables),
        *_static(tables),
        *_duplicates(duplicates, max(1, len(sources))),
        *_splits(splits, max(1, len(sources))),
        *_focal_lengths(sources),
        *_empty_masks(tables),
        *_pairs(tables),
        *_frames(tables),
        *_mixture(tables, sources, licences),
        *_training(training or []),
    ]
    return sorted(found, key=lambda item: (LEVELS.index(item.level), -item.weight, item.slug))


def _swaps(tables: AuditTables) -> Iterator[Finding]:
    """Bodies that flip between neighbouring frames: left and right were taken for one another."""
    gap, turn = tables.number("abs_gap_s"), tables.number("rotation_deg")
    near = (gap > 0) & (gap <= _SWAP_GAP_S)
    flipped = near & (turn > np.maximum(_SWAP_DEG_S * gap, 45.0))
    if not flipped.any():
        return
    tracks = dictionary(tables.pairs, "track_id").to_pylist()
    counts = np.bincount(codes(tables.pairs, "track_id")[flipped], minlength=len(tracks))
    worst = [tracks[at] for at in np.argsort(-counts, kind="stable")[:_SHOWN] if counts[at]]
    share = flipped.sum() / near.sum()
    yield Finding(
        slug="left-right-swaps",
        level="fault" if share > 0.005 else "warning",
        weight=float(share),
        text=f"{flipped.sum()} of {near.sum()} pairs at most {_SWAP_GAP_S} s apart ({_percent(share)}) turn faster "
        f"than {_SWAP_DEG_S:.0f} degrees a second, in {np.count_nonzero(counts)} track(s), most in {_names(worst)}: "
        f"left and right are probably swapped in some frames ({(flipped & tables.kept).sum()} of these are kept).",
        remedy="Drop these tracks with a view, or lower tracking.swap_cost and run again.",
    )


def _static(tables: AuditTables) -> Iterator[Finding]:
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
            text=f"{still.size} of {len(names)} clip(s) are nearly static: at least {_percent(_STATIC_SHARE)} of their "
            f"pairs stay below {tables.thresholds['min_mean_baseline_m']:g} m (median {middle:.2f} m): "
            f"{_names([names[at] for at in still])}.",
            remedy="People who do not turn teach nothing here: leave these clips out.",
        )


def _duplicates(duplicates: list[Duplicate], total: int) -> Iterator[Finding]:
    for item in duplicates:
        across = len(item.splits) > 1
        several = len(item.sources) > 1
        where = f", in the splits {_names(item.splits)}" if across else ""
        sure = item.how == "same file"
        yield Finding(
            slug="duplicate-across-splits" if across else "duplicate-clips",
            level="fault" if sure and (across or several) else "warning",
            weight=min(1.0, len(item.sources) / total) + (0.5 if across else 0.0),
            text=f"{len(item.members)} clips are duplicates ({item.how}): {_names(item.members)}, of "
            f"{len(item.sources)} source(s) {_names(item.sources)}{where}."
            + (
                " A split by source puts copies into training and validation."
                if several and not across
                else ""
            ),
            remedy="Keep one of them, or give both the same source_id.",
        )


def _splits(splits: Splits, total: int) -> Iterator[Finding]:
    if splits.in_several:
        names = [f"{source} ({', '.join(parts)})" for source, parts in splits.in_several.items()]
        yield Finding(
            slug="source-in-several-splits",
            level="fault",
            weight=0.5 + len(names) / total,
            text=f"{len(names)} source(s) are in more than one split: {_names(names)}.",
            remedy="Put every source into exactly one split.",
        )


def _focal_lengths(sources: list[SourceRow]) -> Iterator[Finding]:
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
            text=f"The focal length of {len(odd)} of {len(sources)} source(s) cannot be right: {_names(facts)}.",
            remedy="Give focal_px in the manifest, in pixels of the full image. Baseline and depth scale with it.",
        )


def _empty_masks(tables: AuditTables) -> Iterator[Finding]:
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
            text=f"{empty.sum()} kept pair(s) and {blank} sample(s) ({_percent(share)}) have an empty mask: "
            "no pixel is valid.",
            remedy="Leave them out: --where 'valid_fraction > 0', and --set 'data.where=valid_fraction > 0' in "
            "training.",
        )


def _pairs(tables: AuditTables) -> Iterator[Finding]:
    kept = tables.kept
    total = max(1, int(kept.sum()))
    if not kept.any():
        yield Finding(
            slug="nothing-kept",
            level="fault",
            weight=1.0,
            text=f"None of {len(kept)} pairs is kept." if kept.size else "No pair of frames was even tried.",
            remedy="See the reasons in the funnel; lower the threshold that drops most.",
        )
        return
    threshold = tables.thresholds["min_mean_baseline_m"]
    baseline, turn = tables.number("mean_baseline_m")[kept], tables.number("rotation_deg")[kept]
    checks = (
        ("turned-far", turn > 40, 0.02, "turn more than 40 degrees: little common surface",
         "Cap pairs.max_rotation_deg."),
        ("wide-turns", turn > 25, 0.25, "turn more than 25 degrees, where the photometric signal weakens",
         "Turns of 8 to 25 degrees teach most: try a view with rotation_deg <= 25."),
        ("little-valid-surface", tables.number("valid_fraction")[kept] < 0.3, 0.1,
         "have less than 30 % valid pixels", "Try a view with valid_fraction >= 0.3."),
        ("borderline", (baseline >= threshold) & (baseline < 1.1 * threshold), 0.1,
         f"lie within 10 % above the {threshold:g} m threshold: another focal length would drop them",
         "Give focal_px where it is known, or set the threshold in degrees with a view (angle_deg)."),
        ("below-threshold", baseline < threshold, 0.0, f"lie below {threshold:g} m although they are kept",
         "The dataset was made with mixed settings: make it again."),
        ("kept-by-noise", within_noise(tables)[kept], 0.05,
         f"would miss {threshold:g} m without the restlessness of their own bodies",
         "Try a view that caps max_acceleration_mm."),
    )  # fmt: skip
    for slug, mask, limit, words, remedy in checks:
        share = mask.sum() / total
        if share > limit:
            yield Finding(
                slug=slug,
                level="note" if slug in ("wide-turns", "borderline") else "warning",
                weight=float(share),
                text=f"{_percent(share)} of kept pairs ({mask.sum()} of {total}) {words}.",
                remedy=remedy,
            )


def _frames(tables: AuditTables) -> Iterator[Finding]:
    frames = tables.frames
    gated = ~np.asarray(frames["kept"].to_numpy(zero_copy_only=False), bool)
    if gated.size and gated.mean() > 0.3:
        yield Finding(
            slug="frames-gated",
            level="warning",
            weight=float(gated.mean()),
            text=f"{_percent(gated.mean())} of tracked frames ({gated.sum()} of {gated.size}) were gated out.",
            remedy="See the reasons in the funnel and the alignment pictures.",
        )
    lost = (
        1 - (tables.clips["outcome"].to_numpy(zero_copy_only=False) == "kept").mean()
        if tables.clips.num_rows
        else 0
    )
    if lost > 0:
        yield Finding(
            slug="failed-units",
            level="warning",
            weight=float(lost),
            text=f"{_percent(lost)} of {tables.clips.num_rows} unit(s) of work gave nothing.",
            remedy="See failures below; `run` tries again what can be tried again.",
        )


def _mixture(
    tables: AuditTables, sources: list[SourceRow], licences: dict[str, list[str]]
) -> Iterator[Finding]:
    unstated = licences.get("not stated", [])
    if unstated:
        yield Finding(
            slug="licence-not-stated",
            level="note",
            weight=len(unstated) / max(1, len(sources)),
            text=f"{len(unstated)} of {len(sources)} source(s) state no licence: {_names(unstated)}.",
            remedy="Fill the manifest's column `licence`.",
        )
    total = sum(row.samples for row in sources)
    largest = max(sources, key=lambda row: row.samples, default=None)
    if largest and total and len(sources) > 1 and largest.samples > 0.5 * total:
        yield Finding(
            slug="one-source-dominates",
            level="note",
            weight=largest.samples / total,
            text=f"{_percent(largest.samples / total)} of samples come from one source, {largest.source_id}.",
            remedy="Weigh or thin it: fit learns what it sees most.",
        )
    if len(sources) == 1:
        yield Finding(
            slug="single-source",
            level="note",
            weight=0.1,
            text="All rows come from one source: nothing can be held out by source.",
            remedy="Train with data.split_by=track, and do not trust the held-out error too far.",
        )


def _training(rows: list[TrainingRow]) -> Iterator[Finding]:
    """Sources and kinds of pairs whose photometric loss stands out."""
    sources = [row for row in rows if row.by == "source_id"]
    middle = float(np.median([row.photo for row in sources])) if sources else 0.0
    bad = [row for row in sources if row.photo > 1.5 * middle]
    if len(sources) >= 3 and bad:
        named = ", ".join(f"{row.group} ({row.photo:.3g})" for row in bad[:_SHOWN])
        yield Finding(
            slug="disliked-sources",
            level="warning",
            weight=sum(row.samples for row in bad) / max(1, sum(row.samples for row in sources)),
            text=f"The training's photometric loss on {len(bad)} of {len(sources)} sources is more than 1.5 times the "
            f"median over sources ({middle:.3g}): {named}.",
            remedy="Look at their pictures; leave them out with --where 'source_id not in [...]' if they are bad.",
        )
    for statistic, words in (("mean_baseline_m", "baseline, m"), ("valid_fraction", "valid share")):
        bands = [row for row in rows if row.by == statistic]
        if len(bands) > 1 and bands[0].photo > 1.5 * bands[-1].photo:
            yield Finding(
                slug=f"disliked-{statistic.replace('_', '-')}",
                level="note",
                weight=bands[0].samples / sum(row.samples for row in bands),
                text=f"The training likes samples with {words} {bands[0].group} least (photometric loss "
                f"{bands[0].photo:.3g}) and {bands[-1].group} best ({bands[-1].photo:.3g}).",
                remedy=f"Try a view that limits {statistic}.",
            )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
