"""How far apart the views of a pair are, in every unit that matters, and what other thresholds would keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from pipeline.audit.grouping import Grouping
from pipeline.audit.scalars import AuditTables, codes, dictionary

SHARES = (10, 25, 50, 75, 90)
BINS = 60
FOCAL_FACTORS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 10.0)
"""Other assumptions about the focal length, as multiples of the one the dataset was made with."""

QUANTITIES: dict[str, tuple[str, str, str]] = {
    "mean_baseline_m": ("Mean baseline |t|", "m", "min_mean_baseline_m"),
    "angle_deg": ("Equivalent angle 2 asin(|t| / 2Z)", "deg", ""),
    "parallax_px": ("Parallax", "px of 256", ""),
    "baseline_over_depth": ("|t| / Z", "", "max_baseline_over_depth"),
    "rotation_deg": ("Rotation", "deg", "max_rotation_deg"),
    "valid_fraction": ("Valid share of the body", "", "min_valid_fraction"),
    "visible_fraction": ("Visible share of the body", "", ""),
    "misalignment_px": ("Misalignment of bodies and pictures", "px of 256", "max_misalignment_px"),
    "along_px": ("Shift along the depth direction", "px of 256", ""),
    "matched_fraction": ("Share of textured patches found again", "", ""),
}
"""Column: label, unit, and the threshold it is held against."""

GROUPED = ("mean_baseline_m", "angle_deg", "parallax_px", "baseline_over_depth")

_ARM_M = 0.25
"""Half a torso's width: an error of e at both ends of a pair turns a patch by about sqrt(2) e / 0.25 m."""


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """A quantity over all pairs that were tried. Unknown values are left out."""

    column: str
    label: str
    unit: str
    threshold: float | None
    edges: list[float]
    kept: list[int]
    dropped: list[int]
    """Counts between the edges; the last bin holds everything above the last edge too."""
    kept_percentiles: dict[str, float]
    dropped_percentiles: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Group:
    """The pairs of one frame gap or one source."""

    name: str
    pairs: int
    kept: int
    spread: dict[str, dict[str, float]]
    """Column: its percentiles over all pairs tried."""


@dataclass(frozen=True, kw_only=True)
class FocalRow:
    """What the dataset's thresholds in metres would keep if the focal length were `factor` times the assumed one."""

    factor: float
    median_baseline_m: float
    """Of the kept pairs: baseline and depth both scale with the focal length; angle and parallax do not."""
    above_threshold: int
    """Pairs tried whose baseline would reach the same threshold."""
    kept_still: int
    """Kept pairs among them."""
    same_pairs_m: float
    """The threshold that would choose the same pairs."""


@dataclass(frozen=True, kw_only=True)
class NoiseBand:
    """Kept pairs by the larger acceleration of their frames (a measure of the jitter of fitted poses)."""

    acceleration_mm: tuple[float, float]
    pairs: int
    median_baseline_m: float
    median_noise_m: float
    within_noise: int
    median_iou: float


def distributions(tables: AuditTables) -> list[Distribution]:
    """One for every entry of QUANTITIES."""
    return [distribution(tables, column) for column in QUANTITIES]


def distribution(tables: AuditTables, column: str) -> Distribution:
    """Of a column of QUANTITIES."""
    label, unit, threshold = QUANTITIES[column]
    values = tables.number(column)
    known = np.isfinite(values)
    top = 1.0
    if known.any() and not column.endswith("fraction"):
        top = max(float(np.percentile(values[known], 99.5)), 1e-6)
    parts = [values[known & mask] for mask in (tables.kept, ~tables.kept)]
    counts = [bin_counts(part, BINS, top) for part in parts]
    return Distribution(
        column=column,
        label=label,
        unit=unit,
        threshold=tables.thresholds.get(threshold),
        edges=np.linspace(0.0, top, BINS + 1).tolist(),
        kept=counts[0].tolist(),
        dropped=counts[1].tolist(),
        kept_percentiles=percentiles(parts[0]),
        dropped_percentiles=percentiles(parts[1]),
    )


def bin_counts(values: np.ndarray, bins: int, top: float) -> np.ndarray:
    """(bins,) counts of known values between 0 and `top`; what lies above is in the last bin."""
    counts = np.histogram(values, bins, (0.0, top))[0]
    counts[-1] += np.count_nonzero(values > top)
    return counts


def by_gap(tables: AuditTables) -> list[Group]:
    """Pairs by the number of frames between target and reference, either way."""
    gaps = pc.abs_checked(tables.pairs["gap_frames"]).combine_chunks().dictionary_encode()
    names, rows = gaps.dictionary.to_numpy(), gaps.indices.to_numpy()
    order = np.argsort(names)
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    return _groups(tables, place[rows], [str(name) for name in names[order]])


def by_source(tables: AuditTables) -> list[Group]:
    """Pairs by source, in the dataset's order."""
    return _groups(
        tables, codes(tables.pairs, "source_id"), dictionary(tables.pairs, "source_id").to_pylist()
    )


def focal_assumptions(tables: AuditTables) -> list[FocalRow]:
    """The baseline threshold under other focal lengths: 0.5 m at twice the focal length is 0.25 m at this one."""
    baseline, threshold = tables.number("mean_baseline_m"), tables.thresholds["min_mean_baseline_m"]
    middle = float(np.median(baseline[tables.kept])) if tables.kept.any() else 0.0
    rows = []
    for factor in FOCAL_FACTORS:
        passing = baseline * factor >= threshold
        rows.append(
            FocalRow(
                factor=factor,
                median_baseline_m=middle * factor,
                above_threshold=int(passing.sum()),
                kept_still=int((passing & tables.kept).sum()),
                same_pairs_m=threshold * factor,
            )
        )
    return rows


def noise_baseline_m(tables: AuditTables) -> np.ndarray:
    """(pairs,) metres of baseline that the noise of a pair's own poses would give without any turn.

    Errors e that are independent between frames have an acceleration of sqrt(6) e. On an arm of a quarter metre they
    turn a patch by sqrt(2) e / 0.25 m, which at depth Z gives Z times that. Smoothed tracks hide part of their error
    and people who move quickly do accelerate, so this is an order of magnitude, not a measurement.
    """
    error_m = tables.number("max_acceleration_mm") / 1000 / np.sqrt(6)
    return np.asarray(tables.number("target_depth_m") * np.sqrt(2) * error_m / _ARM_M)


def within_noise(tables: AuditTables) -> np.ndarray:
    """(pairs,) bool: kept pairs that would miss the baseline threshold without the noise of their bodies."""
    noise, baseline = noise_baseline_m(tables), tables.number("mean_baseline_m")
    clean = np.sqrt(np.clip(baseline**2 - noise**2, 0, None))
    return np.asarray(tables.kept & (clean < tables.thresholds["min_mean_baseline_m"]))


def noise_bands(tables: AuditTables, bands: int = 5) -> list[NoiseBand]:
    """Kept pairs in bands of about equal size, by increasing acceleration; equal ones share a band."""
    acceleration = tables.number("max_acceleration_mm")
    rows = np.flatnonzero(tables.kept & np.isfinite(acceleration))
    places = [rows.size * band // bands for band in range(1, bands)]
    cuts = np.partition(acceleration[rows], places)[places] if rows.size else np.empty(0)
    band_of = sum((acceleration[rows] >= cut for cut in cuts), np.zeros(rows.size, np.int64))
    noise, inside = noise_baseline_m(tables), within_noise(tables)
    found = []
    for band in range(bands):
        part = rows[band_of == band]
        if part.size:
            found.append(
                NoiseBand(
                    acceleration_mm=(float(acceleration[part].min()), float(acceleration[part].max())),
                    pairs=int(part.size),
                    median_baseline_m=float(np.median(tables.number("mean_baseline_m")[part])),
                    median_noise_m=float(np.nanmedian(noise[part])),
                    within_noise=int(inside[part].sum()),
                    median_iou=float(np.median(tables.number("min_silhouette_iou")[part])),
                )
            )
    return found


def percentiles(values: np.ndarray) -> dict[str, float]:
    """The shares of SHARES by name; empty where there is nothing."""
    known = values[np.isfinite(values)]
    if not known.size:
        return {}
    return dict(zip(map(str, SHARES), map(float, np.percentile(known, SHARES))))


def _groups(tables: AuditTables, rows: np.ndarray, names: list[str]) -> list[Group]:
    pairs = np.bincount(rows, minlength=len(names))
    kept = np.bincount(rows[tables.kept], minlength=len(names))
    grouping, shares = Grouping(rows, len(names)), list(map(str, SHARES))
    spreads = {column: grouping.percentiles(tables.number(column), SHARES).tolist() for column in GROUPED}
    return [
        Group(
            name=name,
            pairs=int(pairs[at]),
            kept=int(kept[at]),
            spread={
                column: dict(zip(shares, spread[at])) if spread[at][0] == spread[at][0] else {}
                for column, spread in spreads.items()
            },
        )
        for at, name in enumerate(names)
    ]
