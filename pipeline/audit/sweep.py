"""What the page's sliders work on: thresholds with their ranges, and the pairs as typed columns in base64."""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.audit.baselines import QUANTITIES
from pipeline.audit.scalars import AuditTables, codes, dictionary

MAX_EMBEDDED_PAIRS = 100_000
"""Above this a seeded sample of the pairs is embedded (float64 columns: about 12 MB), and the page says so."""
SEED = 6666


@dataclass(frozen=True, kw_only=True)
class Slider:
    """One threshold."""

    column: str
    side: str
    """`>=`: a pair needs at least this; `<=`: at most this."""
    label: str
    unit: str
    step: float
    setting: str | None = None
    """The setting of a new run that means the same."""
    samples: str | None = None
    """The column of `samples` that stands for it in training, a mean over a sample's references."""
    threshold: str | None = None
    """The threshold the dataset was made with, where it begins; None begins where nothing is dropped."""
    keeps_unknown: bool = False
    """Whether a pair without a figure passes, as it passes the setting's gate."""
    scales: bool = False
    """Whether it is in metres, which scale with the assumed focal length."""


SLIDERS = (
    Slider(column="mean_baseline_m", side=">=", label="Mean baseline at least", unit="m", step=0.01,
           setting="pairs.min_mean_baseline_m", samples="mean_baseline_m",
           threshold="min_mean_baseline_m", scales=True),
    Slider(column="angle_deg", side=">=", label="Equivalent angle at least", unit="deg", step=0.1),
    Slider(column="parallax_px", side=">=", label="Parallax (baseline in pixels) at least", unit="px of 256", step=0.1),
    Slider(column="rotation_deg", side="<=", label="Rotation at most", unit="deg", step=0.5,
           setting="pairs.max_rotation_deg", threshold="max_rotation_deg"),
    Slider(column="baseline_over_depth", side="<=", label="|t| / Z at most", unit="", step=0.01,
           setting="pairs.max_baseline_over_depth", threshold="max_baseline_over_depth"),
    Slider(column="valid_fraction", side=">=", label="Valid share of the body at least", unit="", step=0.01,
           setting="pairs.min_valid_fraction", samples="valid_fraction", threshold="min_valid_fraction"),
    Slider(column="min_silhouette_iou", side=">=", label="Alignment: silhouette IoU of both frames at least", unit="",
           step=0.005, setting="gates.min_silhouette_iou", threshold="min_silhouette_iou"),
    Slider(column="max_reprojection_error", side="<=", label="Reprojection error of both frames at most",
           unit="of the height", step=0.0005, setting="gates.max_reprojection_error",
           threshold="max_reprojection_error"),
    Slider(column="max_acceleration_mm", side="<=", label="Acceleration of both frames at most",
           unit="mm", step=0.5),
    Slider(column="abs_gap_s", side=">=", label="Time gap at least", unit="s", step=0.01),
    Slider(column="abs_gap_s", side="<=", label="Time gap at most", unit="s", step=0.01),
    Slider(column="misalignment_px", side="<=", label="Misalignment of bodies and pictures at most", unit="px of 256",
           step=0.05, setting="pairs.max_misalignment_px", threshold="max_misalignment_px",
           keeps_unknown=True),
    Slider(column="matched_fraction", side=">=", label="Share of textured patches found again at least", unit="",
           step=0.01),
)  # fmt: skip


def sweep_data(tables: AuditTables, *, limit: int = MAX_EMBEDDED_PAIRS) -> dict[str, Any]:
    """Columns, sliders and totals, ready for JSON."""
    total = tables.pairs.num_rows
    rows = np.arange(total)
    if total > limit:
        rows = np.sort(np.random.default_rng(SEED).choice(total, limit, replace=False))
    reasons = dictionary(tables.pairs, "reason").to_pylist()
    names = dict.fromkeys([*(slider.column for slider in SLIDERS), *QUANTITIES])
    return {
        "pairs": total,
        "embedded": len(rows),
        "seed": SEED,
        "columns": {name: _base64(tables.number(name)[rows], "<f8") for name in names},
        "kept": _base64(tables.kept[rows], "u1"),
        "reason": _base64(codes(tables.pairs, "reason")[rows], "<i4"),
        "reasons": reasons,
        "sample": _base64(tables.sample_of_pair[rows], "<i4"),
        "samples": {
            name: _base64(tables.samples[name].to_numpy(), "<f8")
            for name in ("mean_baseline_m", "valid_fraction")
        }
        if tables.samples.num_rows <= limit
        else None,
        "sample_count": tables.samples.num_rows,
        "sliders": [_slider(tables, slider) for slider in SLIDERS],
    }


def _slider(tables: AuditTables, slider: Slider) -> dict[str, Any]:
    """With its range: `>=` is off at 0, `<=` is off at the end of the slider, above every value."""
    values = tables.number(slider.column)
    values = values[np.isfinite(values)]
    if slider.side == ">=":
        top = float(np.percentile(values, 99.5)) if values.size else 1.0
    else:
        top = float(values.max()) if values.size else 1.0
    start = tables.thresholds.get(slider.threshold) if slider.threshold else None
    end = slider.step * math.ceil(max(top, 2 * (start or 0.0), slider.step) / slider.step)
    if slider.column.endswith(("fraction", "iou")):
        end = 1.0
    end = round(end, 6)
    return {
        "column": slider.column,
        "side": slider.side,
        "label": slider.label,
        "unit": slider.unit,
        "step": slider.step,
        "max": end,
        "off": 0.0 if slider.side == ">=" else end,
        "start": start if start is not None else (0.0 if slider.side == ">=" else end),
        "setting": slider.setting,
        "samples": slider.samples,
        "keeps_unknown": slider.keeps_unknown,
        "scales": slider.scales,
    }


def _base64(values: np.ndarray, dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values.astype(dtype)).tobytes()).decode()
