"""Every figure of an audit as plain data: what the terminal shows, what the page shows, what `--json` writes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from pipeline.audit.baselines import (
    Distribution,
    FocalRow,
    Group,
    NoiseBand,
    bin_counts,
    by_gap,
    by_source,
    distributions,
    focal_assumptions,
    noise_bands,
    percentiles,
    within_noise,
)
from pipeline.audit.faults import assumed_focal_lengths
from pipeline.audit.finding import Finding
from pipeline.audit.findings import find
from pipeline.audit.funnel import Stage, funnel
from pipeline.audit.lookalikes import Lookalikes
from pipeline.audit.scalars import AuditTables, text_counts
from pipeline.audit.sources import (
    Duplicate,
    SourceRow,
    Splits,
    licences,
    read_splits,
    same_files,
    source_rows,
)
from pipeline.audit.tracks import TrackFigures, track_figures
from pipeline.audit.training import TrainingRow, training_rows
from schemas.dataset import Dataset
from schemas.places import made_parent


@dataclass(frozen=True, kw_only=True)
class Side:
    """A dataset, seen through a selection or not, in a row of figures: what is set side by side."""

    name: str
    dataset: str
    pairs: str | None
    samples_where: str | None
    pairs_tried: int
    pairs_kept: int
    samples: int
    sources: int
    """Sources with a kept pair."""
    references_per_sample: float
    baseline_m: dict[str, float]
    rotation_deg: dict[str, float]
    valid_fraction: dict[str, float]
    mean_photo_error: float | None
    baseline_counts: list[int] = field(default_factory=list)
    """Kept pairs between the edges of the first side's baseline distribution."""


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """Every figure of one dataset, through a selection where one is given."""

    dataset: str
    selection: dict[str, Any] | None
    thresholds: dict[str, float]
    clips: int
    units: int
    units_kept: int
    clips_with_assumed_focal: tuple[int, int]
    """How many clips rest on an assumed focal length, of how many that were read."""
    failures: dict[str, int]
    findings: list[Finding]
    """Warnings, worst first."""
    funnel: list[Stage]
    tracks: list[TrackFigures]
    kept_baseline_m: dict[str, float]
    """Percentiles of the mean baseline of kept pairs."""
    dropped_baseline_m: dict[str, float]
    kept_rotation_deg: dict[str, float]
    kept_parallax_px: dict[str, float]
    kept_photo_error: float | None
    distributions: list[Distribution]
    by_gap: list[Group]
    by_source: list[Group]
    focal_assumptions: list[FocalRow]
    kept_within_noise: int
    noise_bands: list[NoiseBand]
    sources: list[SourceRow]
    duplicates: list[Duplicate]
    people_compared: tuple[int, int] | None
    """How many people's pictures were compared, of how many; None where no pictures were read."""
    licences: dict[str, list[str]]
    splits: Splits
    training: list[TrainingRow] | None
    sides: list[Side]
    sample_bytes: float
    """Mean bytes of a row of `samples`."""
    references_per_sample: float
    sample_bytes_per_reference: float


def figures_of(
    tables: AuditTables,
    *,
    sides: Sequence[Side] = (),
    alike: Lookalikes | None = None,
    splits: str | None = None,
    training: str | None = None,
) -> AuditFigures:
    """The figures of tables in memory.

    `sides` are shown for comparison; `alike` is what a comparison of pictures found; `splits` is a
    file, `training` a checkpoint folder or its report.
    """
    from pipeline.audit.sources import duplicate

    kept = tables.kept
    recorded, split_of = read_splits(tables, splits)
    sources = source_rows(tables)
    same = same_files(tables, split_of)
    known = {frozenset(item.members) for item in same}
    same += [
        duplicate("pictures look alike", members, names, split_of)
        for members, names in (alike.clips if alike else ())
        if frozenset(members) not in known
    ]
    rows = training_rows(training, sources) if training else None
    photo = tables.number("photo_error")[kept]
    photo = photo[np.isfinite(photo)]
    stages = funnel(tables)
    sample_bytes = _sample_bytes(tables.dataset)
    references = int(tables.samples["reference_count"].to_numpy().sum()) if tables.samples.num_rows else 0
    return AuditFigures(
        dataset=tables.name,
        selection=asdict(tables.selection) if tables.selection else None,
        thresholds=tables.thresholds,
        clips=stages[0].count,
        units=tables.clips.num_rows,
        units_kept=text_counts(tables.clips, "outcome").get("kept", 0),
        clips_with_assumed_focal=assumed_focal_lengths(tables),
        failures=text_counts(tables.failures, "reason"),
        findings=find(tables, sources, same, recorded, licences(tables), rows),
        funnel=stages,
        tracks=track_figures(tables),
        kept_baseline_m=percentiles(tables.number("mean_baseline_m")[kept]),
        dropped_baseline_m=percentiles(tables.number("mean_baseline_m")[~kept]),
        kept_rotation_deg=percentiles(tables.number("rotation_deg")[kept]),
        kept_parallax_px=percentiles(tables.number("parallax_px")[kept]),
        kept_photo_error=float(photo.mean()) if photo.size else None,
        distributions=distributions(tables),
        by_gap=by_gap(tables),
        by_source=by_source(tables),
        focal_assumptions=focal_assumptions(tables),
        kept_within_noise=int(within_noise(tables).sum()),
        noise_bands=noise_bands(tables),
        sources=sources,
        duplicates=same,
        people_compared=(alike.compared, alike.tracks) if alike else None,
        licences=licences(tables),
        splits=recorded,
        training=rows,
        sides=list(sides),
        sample_bytes=sample_bytes / max(1, tables.samples.num_rows),
        references_per_sample=references / max(1, tables.samples.num_rows),
        sample_bytes_per_reference=sample_bytes / max(1, references),
    )


def side_of(tables: AuditTables, name: str, edges: list[float]) -> Side:
    """One row of a comparison."""
    kept, baseline = tables.kept, tables.number("mean_baseline_m")
    photo = tables.number("photo_error")[kept]
    photo = photo[np.isfinite(photo)]
    samples = tables.samples_left(kept)
    counts = bin_counts(baseline[kept], len(edges) - 1, edges[-1])
    return Side(
        name=name,
        dataset=tables.name,
        pairs=tables.selection.pairs if tables.selection else None,
        samples_where=tables.selection.samples if tables.selection else None,
        pairs_tried=len(kept),
        pairs_kept=int(kept.sum()),
        samples=samples,
        sources=sum(group.kept > 0 for group in by_source(tables)),
        references_per_sample=float(kept.sum() / samples) if samples else 0.0,
        baseline_m=percentiles(baseline[kept]),
        rotation_deg=percentiles(tables.number("rotation_deg")[kept]),
        valid_fraction=percentiles(tables.number("valid_fraction")[kept]),
        mean_photo_error=float(photo.mean()) if photo.size else None,
        baseline_counts=counts.tolist(),
    )


def write_figures(figures: AuditFigures, path: str) -> None:
    """Every figure as JSON, one a line; what is unknown is null, never NaN."""
    # Indented JSON would be written by Python's slow encoder: 1.4 s of an audit of a million pairs.
    lines = (f'"{name}": {json.dumps(value, allow_nan=False)}' for name, value in plain(figures).items())
    made_parent(path).write_text("{\n" + ",\n".join(lines) + "\n}\n")


def plain(value: Any) -> Any:
    """Nested values and dataclasses as JSON has them: null in place of NaN and infinity."""
    if isinstance(value, str | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in vars(value).items()}


def _sample_bytes(dataset: Dataset) -> int:
    return sum(
        shard.bytes for record in dataset.records for shard in record.shards if shard.table == "samples"
    )
