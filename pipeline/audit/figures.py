"""A first audit in figures: the funnel from clips to samples, the reason of every loss, and the baselines."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from rich.text import Text

from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.tables import TABLES

_BASELINE_SHARES = (10, 25, 50, 75, 90)
_SHOWN_TRACKS = 20


@dataclass(frozen=True, kw_only=True)
class TrackFigures:
    """One person through one unit."""

    track_id: str
    frames: int
    frames_kept: int
    frame_reasons: dict[str, int]
    mean_reprojection_error: float
    """Over kept frames, as a share of the person's height."""
    mean_silhouette_iou: float
    pairs: int
    pairs_kept: int
    pair_reasons: dict[str, int]
    samples: int


@dataclass(frozen=True, kw_only=True)
class AuditFigures:
    """Every figure the terminal shows, and a few more."""

    clips: int
    units: int
    units_kept: int
    failures: dict[str, int]
    tracks: list[TrackFigures]
    kept_baseline_m: dict[str, float]
    """Percentiles of the mean baseline of kept pairs."""
    dropped_baseline_m: dict[str, float]
    kept_rotation_deg: dict[str, float]
    kept_parallax_px: dict[str, float]
    kept_photo_error: float | None
    sample_bytes: float
    """Mean bytes of a row of `samples`."""
    references_per_sample: float
    sample_bytes_per_reference: float


def audit_figures(dataset: Dataset) -> AuditFigures:
    """Reads `clips`, `frames`, `pairs` and `failures` (never pixels) and counts. Raises DatasetError when empty."""
    if not dataset.records:
        raise DatasetError(
            f"{dataset.root} holds no finished unit.", remedy="Run the pipeline into it first."
        )
    clips = _table(dataset, "clips", ["clip_id", "outcome"])
    failures = _table(dataset, "failures", ["reason"])
    frames = _table(dataset, "frames", ["track_id", "kept", "reason", "reprojection_error", "silhouette_iou"])
    pairs = _table(
        dataset,
        "pairs",
        ["track_id", "kept", "reason", "mean_baseline_m", "rotation_deg", "parallax_px", "photo_error"],
    )
    samples = _table(dataset, "samples", ["track_id", "reference_count"])
    kept = pairs.filter(pairs["kept"])
    photo = kept["photo_error"].drop_null().to_numpy()
    sample_bytes = _sample_bytes(dataset)
    references = int(np.sum(samples["reference_count"].to_numpy())) if samples.num_rows else 0
    return AuditFigures(
        clips=len(set(clips["clip_id"].to_pylist())),
        units=clips.num_rows,
        units_kept=clips["outcome"].to_pylist().count("kept"),
        failures=dict(Counter(failures["reason"].to_pylist()).most_common()),
        tracks=[_track_figures(track, frames, pairs, samples) for track in _unique(frames["track_id"])],
        kept_baseline_m=_percentiles(kept["mean_baseline_m"]),
        dropped_baseline_m=_percentiles(pairs.filter(_not(pairs["kept"]))["mean_baseline_m"]),
        kept_rotation_deg=_percentiles(kept["rotation_deg"]),
        kept_parallax_px=_percentiles(kept["parallax_px"]),
        kept_photo_error=float(photo.mean()) if photo.size else None,
        sample_bytes=sample_bytes / max(1, samples.num_rows),
        references_per_sample=references / max(1, samples.num_rows),
        sample_bytes_per_reference=sample_bytes / max(1, references),
    )


def write_figures(figures: AuditFigures, path: str) -> None:
    """Every figure as JSON."""
    Path(path).write_text(json.dumps(asdict(figures), indent=1) + "\n")


def print_audit(figures: AuditFigures, console: Console | None = None) -> None:
    """The figures as tables in the terminal."""
    console = console or Console(highlight=False)
    console.print(_people_table(figures))
    if len(figures.tracks) > _SHOWN_TRACKS:
        console.print(f"... and {len(figures.tracks) - _SHOWN_TRACKS} more tracks; --json holds them all")
    console.print(_losses_table(figures))
    console.print(_spread_table(figures))
    error = (
        f"; mean colour error of the base depth {figures.kept_photo_error:.4f}"
        if figures.kept_photo_error
        else ""
    )
    console.print(
        f"{figures.clips} clip(s), {figures.units} unit(s), {figures.units_kept} kept{error}\n"
        f"{figures.sample_bytes / 1000:.0f} kB a sample with {figures.references_per_sample:.1f} references"
    )
    for reason, count in figures.failures.items():
        console.print(f"failed: {count} x {reason}")


def _people_table(figures: AuditFigures) -> Table:
    table = Table(title="People", title_justify="left")
    table.add_column("track", overflow="fold")
    for heading in ("frames", "kept", "2-D error", "IoU", "pairs", "kept", "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    for track in figures.tracks[:_SHOWN_TRACKS]:
        table.add_row(
            Text(track.track_id),
            str(track.frames),
            str(track.frames_kept),
            f"{100 * track.mean_reprojection_error:.2f} %",
            f"{track.mean_silhouette_iou:.3f}",
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
        counts: Counter[str] = sum((Counter(part) for part in reasons), Counter())
        for reason, count in counts.most_common():
            table.add_row(what, reason, str(count), f"{100 * count / total:.1f} %")
    return table


def _spread_table(figures: AuditFigures) -> Table:
    table = Table(title="Pairs", title_justify="left")
    table.add_column("percentile")
    for share in _BASELINE_SHARES:
        table.add_column(f"{share} %", justify="right")
    for name, values in (
        ("mean baseline of kept pairs, m", figures.kept_baseline_m),
        ("mean baseline of dropped pairs, m", figures.dropped_baseline_m),
        ("rotation of kept pairs, deg", figures.kept_rotation_deg),
        ("parallax of kept pairs, px at 256", figures.kept_parallax_px),
    ):
        table.add_row(name, *(f"{values[str(share)]:.2f}" if values else "-" for share in _BASELINE_SHARES))
    return table


def _track_figures(track_id: str, frames: pa.Table, pairs: pa.Table, samples: pa.Table) -> TrackFigures:
    own_frames, own_pairs = _of_track(frames, track_id), _of_track(pairs, track_id)
    usable = own_frames.filter(own_frames["kept"])
    return TrackFigures(
        track_id=track_id,
        frames=own_frames.num_rows,
        frames_kept=usable.num_rows,
        frame_reasons=_reason_counts(own_frames),
        mean_reprojection_error=float(np.mean(usable["reprojection_error"]))
        if usable.num_rows
        else float("nan"),
        mean_silhouette_iou=float(np.mean(usable["silhouette_iou"])) if usable.num_rows else float("nan"),
        pairs=own_pairs.num_rows,
        pairs_kept=own_pairs["kept"].to_pylist().count(True),
        pair_reasons=_reason_counts(own_pairs),
        samples=_of_track(samples, track_id).num_rows,
    )


def _table(dataset: Dataset, name: str, columns: list[str]) -> pa.Table:
    shards = [pq.read_table(path, columns=columns) for path in dataset.shards(name)]
    if shards:
        return pa.concat_tables(shards)
    return TABLES[name].arrow_schema().empty_table().select(columns)


def _sample_bytes(dataset: Dataset) -> int:
    return sum(
        shard.bytes for record in dataset.records for shard in record.shards if shard.table == "samples"
    )


def _of_track(table: pa.Table, track_id: str) -> pa.Table:
    return table.filter(pc.equal(table["track_id"], track_id))


def _not(mask: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.invert(mask)


def _unique(values: pa.ChunkedArray) -> list[str]:
    return list(dict.fromkeys(values.to_pylist()))


def _reason_counts(table: pa.Table) -> dict[str, int]:
    return dict(Counter(reason for reason in table["reason"].to_pylist() if reason).most_common())


def _percentiles(values: pa.ChunkedArray) -> dict[str, float]:
    numbers = values.to_numpy()
    if not numbers.size:
        return {}
    return {str(share): float(np.percentile(numbers, share)) for share in _BASELINE_SHARES}
