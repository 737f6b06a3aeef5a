"""Warnings in words with numbers, worst first: what is wrong with a dataset and what to do about it.

A finding's level is `fault` (the rows are wrong or would spoil a training), `warning` (look before you train) or
`note`. Within a level the larger weight comes first; a weight is the share of the dataset that is concerned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from pipeline.audit import faults
from pipeline.audit.baselines import within_noise
from pipeline.audit.finding import LEVELS, SHOWN, Finding, names_of, percent
from pipeline.audit.scalars import AuditTables
from pipeline.audit.sources import Duplicate, SourceRow, Splits
from pipeline.audit.training import TrainingRow

_MISALIGNED_PX = 0.75
"""Above this photo-consistency teaches the bodies' errors (docs/experiments.md, "Misalignment"). Exact bodies of the
studio read as .3."""
_TELLS = 0.25
"""Share of the common surface that must be found again in the reference for pictures to say much."""


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
        *faults.swaps(tables),
        *faults.static(tables),
        *faults.duplicates(duplicates, max(1, len(sources))),
        *faults.splits(splits, max(1, len(sources))),
        *faults.focal_lengths(sources),
        *faults.assumed_focal(tables),
        *faults.empty_masks(tables),
        *_misaligned(tables),
        *_untold(tables),
        *_pairs(tables),
        *_frames(tables),
        *_mixture(tables, sources, licences),
        *_noted(tables),
        *_training(training or []),
    ]
    return sorted(found, key=lambda item: (LEVELS.index(item.level), -item.weight, item.slug))


def _misaligned(tables: AuditTables) -> Iterator[Finding]:
    """Bodies that disagree with the pictures between the frames of kept pairs: photo-consistency reads it as depth."""
    measured = tables.number("misalignment_px")[tables.kept]
    measured = measured[np.isfinite(measured)]
    if not measured.size or np.median(measured) <= _MISALIGNED_PX:
        return
    share = float((measured > _MISALIGNED_PX).mean())
    yield Finding(
        slug="misaligned-bodies",
        level="warning",
        weight=share,
        text=f"bodies and pictures disagree by more than {_MISALIGNED_PX} px of 256 in {percent(share)} of the kept "
        f"pairs that could be measured (median {np.median(measured):.2f} px); a pixel reads as some 2.6 cm of depth.",
        remedy="Refine bodies (refine.mode=track) if that was off; select the rest: misalignment_px <= N.",
    )


def _untold(tables: AuditTables) -> Iterator[Finding]:
    """Pictures that show little: cloth without texture, or surface that is not found again in the other frame."""
    textured = tables.number("textured_fraction")[tables.kept]
    found = textured * tables.number("matched_fraction")[tables.kept]
    known = np.isfinite(textured)
    if not known.any():
        return
    found = np.nan_to_num(found[known])
    share = float((found < _TELLS).mean())
    if np.median(found) >= _TELLS:
        return
    yield Finding(
        slug="pictures-tell-little",
        level="warning",
        weight=share,
        text=f"Less than {percent(_TELLS)} of the common surface is found again in the reference in {percent(share)} "
        f"of the kept pairs (median {percent(float(np.median(found)))}, texture on "
        f"{percent(float(np.nanmedian(textured)))}): photo-consistency has little to go by.",
        remedy="Prefer films with patterned clothes, even light and sharp pictures; try matched_fraction >= 0.5.",
    )


def _pairs(tables: AuditTables) -> Iterator[Finding]:
    kept = tables.kept
    total = max(1, int(kept.sum()))
    if not kept.any():
        yield Finding(
            slug="nothing-kept",
            level="fault",
            weight=1.0,
            text=f"None of {len(kept)} pairs was kept." if kept.size else "No pair of frames was tried.",
            remedy="See the reasons in the funnel; loosen the limit that drops most.",
        )
        return
    threshold = tables.thresholds["min_mean_baseline_m"]
    baseline, turn = tables.number("mean_baseline_m")[kept], tables.number("rotation_deg")[kept]
    checks = (
        ("turned-far", turn > 40, 0.02, "turn more than 40 degrees: little common surface",
         "Lower pairs.max_rotation_deg."),
        ("wide-turns", turn > 25, 0.25, "turn more than 25 degrees, where the photometric signal weakens",
         "Turns of 8 to 25 degrees teach most: try a selection with rotation_deg <= 25."),
        ("little-valid-surface", tables.number("valid_fraction")[kept] < 0.3, 0.1,
         "have less than 30 % valid pixels", "Try a selection with valid_fraction >= 0.3."),
        ("borderline", (baseline >= threshold) & (baseline < 1.1 * threshold), 0.1,
         f"lie within 10 % above the {threshold:g} m threshold: another focal length would drop them",
         "Give focal_px where it is known, or set the threshold in degrees with a selection (angle_deg)."),
        ("below-threshold", baseline < threshold, 0.0, f"lie below {threshold:g} m although they are kept",
         "The dataset was made with mixed settings: make it again."),
        ("kept-by-noise", within_noise(tables)[kept], 0.05,
         f"reach {threshold:g} m only through the jitter of their estimated bodies",
         "Try a selection that caps max_acceleration_mm."),
    )  # fmt: skip
    for slug, mask, limit, words, remedy in checks:
        share = mask.sum() / total
        if share > limit:
            yield Finding(
                slug=slug,
                level="note" if slug in ("wide-turns", "borderline") else "warning",
                weight=float(share),
                text=f"{percent(share)} of kept pairs ({mask.sum()} of {total}) {words}.",
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
            text=f"{percent(gated.mean())} of tracked frames ({gated.sum()} of {gated.size}) were gated out.",
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
            text=f"{percent(lost)} of {tables.clips.num_rows} unit(s) of work gave nothing.",
            remedy="See the failures below; `run --retry-failed` tries them again.",
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
            text=f"{len(unstated)} of {len(sources)} source(s) state no licence: {names_of(unstated)}.",
            remedy="Fill the manifest's column `licence`.",
        )
    total = sum(row.samples for row in sources)
    largest = max(sources, key=lambda row: row.samples, default=None)
    if largest and total and len(sources) > 1 and largest.samples > max(0.5, 1.5 / len(sources)) * total:
        yield Finding(
            slug="one-source-dominates",
            level="note",
            weight=largest.samples / total,
            text=f"{percent(largest.samples / total)} of samples come from one source, {largest.source_id}.",
            remedy="Give it a smaller weight, or drop some of it: a network fits best what it sees most.",
        )
    if len(sources) == 1:
        yield Finding(
            slug="single-source",
            level="note",
            weight=0.1,
            text="All rows come from one source: nothing can be held out by source.",
            remedy="Train with data.split_by=track, and do not trust the held-out error too far.",
        )


def _noted(tables: AuditTables) -> Iterator[Finding]:
    """Clips whose pictures were not taken as they are: tone mapping, deinterlacing, frames left out, and the like."""
    clips_of: dict[str, set[str]] = defaultdict(set)
    for clip, notes in zip(tables.clips["clip_id"].to_pylist(), tables.clips["notes"].to_pylist()):
        for note in filter(None, notes.split("; ")):
            clips_of[note].add(clip)
    if not clips_of:
        return
    noted = set().union(*clips_of.values())
    total = len(set(tables.clips["clip_id"].to_pylist()))
    counted = sorted(clips_of.items(), key=lambda item: (-len(item[1]), item[0]))
    listed = names_of([f"{note} ({len(clips)}: {names_of(sorted(clips))})" for note, clips in counted])
    yield Finding(
        slug="noted-clips",
        level="note",
        weight=len(noted) / total,
        text=f"{len(noted)} of {total} clip(s) needed more than plain decoding: {listed}.",
        remedy="Look at their pictures; the column `notes` of the table `clips` lists it for every unit.",
    )


def _training(rows: list[TrainingRow]) -> Iterator[Finding]:
    """Sources and kinds of pairs with a high photometric loss."""
    sources = [row for row in rows if row.by == "source_id"]
    middle = float(np.median([row.photo for row in sources])) if sources else 0.0
    bad = [row for row in sources if row.photo > 1.5 * middle]
    if len(sources) >= 3 and bad:
        named = ", ".join(f"{row.group} ({row.photo:.3g})" for row in bad[:SHOWN])
        yield Finding(
            slug="high-loss-sources",
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
                slug=f"high-loss-{statistic.replace('_', '-')}",
                level="note",
                weight=bands[0].samples / sum(row.samples for row in bands),
                text=f"The training's photometric loss is highest for samples with {words} {bands[0].group} "
                f"({bands[0].photo:.3g}) and lowest with {bands[-1].group} ({bands[-1].photo:.3g}).",
                remedy=f"Try a selection that limits {statistic}.",
            )
