"""One row of figures for every person."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.audit.scalars import AuditTables, codes, dictionary


@dataclass(frozen=True, kw_only=True)
class TrackFigures:
    """One person through one unit."""

    track_id: str
    frames: int
    frames_kept: int
    frame_reasons: dict[str, int]
    mean_reprojection_error: float | None
    """Over kept frames, as a share of the person's height; None where no frame is kept."""
    mean_silhouette_iou: float | None
    pairs: int
    pairs_kept: int
    pair_reasons: dict[str, int]
    samples: int


def track_figures(tables: AuditTables) -> list[TrackFigures]:
    """Every track of `frames`, in the dataset's order, in one pass over each table."""
    names = dictionary(tables.frames, "track_id").to_pylist()
    place = {name: at for at, name in enumerate(names)}
    rows = codes(tables.frames, "track_id")
    usable = np.asarray(tables.frames["kept"].to_numpy(zero_copy_only=False), bool)
    frames, usable_frames = _count(rows, len(names)), _count(rows[usable], len(names))
    means = [
        np.bincount(rows[usable], tables.frames[name].to_numpy()[usable], len(names))
        for name in ("reprojection_error", "silhouette_iou")
    ]
    pair_rows, sample_rows = _rows(tables.pairs, place), _rows(tables.samples, place)
    left = tables.sample_of_pair[tables.kept]
    left = np.unique(left[left >= 0])
    pairs, kept = _count(pair_rows, len(names)), _count(pair_rows[tables.kept], len(names))
    samples = _count(sample_rows[left], len(names))
    frame_reasons = _reasons(tables.frames, rows)
    pair_reasons = _reasons(tables.pairs, pair_rows)
    return [
        TrackFigures(
            track_id=name,
            frames=int(frames[at]),
            frames_kept=int(usable_frames[at]),
            frame_reasons=frame_reasons.get(at, {}),
            mean_reprojection_error=float(means[0][at] / usable_frames[at]) if usable_frames[at] else None,
            mean_silhouette_iou=float(means[1][at] / usable_frames[at]) if usable_frames[at] else None,
            pairs=int(pairs[at]),
            pairs_kept=int(kept[at]),
            pair_reasons=pair_reasons.get(at, {}),
            samples=int(samples[at]),
        )
        for at, name in enumerate(names)
    ]


def _rows(table: pa.Table, place: dict[str, int]) -> np.ndarray:
    """(rows,) place of each row's track; -1 for a track that has no frames."""
    known = np.array([place.get(name, -1) for name in dictionary(table, "track_id").to_pylist()], np.int64)
    return known[codes(table, "track_id")] if known.size else np.empty(0, np.int64)


def _count(rows: np.ndarray, length: int) -> np.ndarray:
    return np.bincount(rows[rows >= 0], minlength=length)


def _reasons(table: pa.Table, tracks: np.ndarray) -> dict[int, dict[str, int]]:
    """Counts of non-empty reasons by track, most frequent first."""
    texts = dictionary(table, "reason").to_pylist()
    known = tracks >= 0
    counts = np.bincount(tracks[known] * max(1, len(texts)) + codes(table, "reason")[known])
    found: dict[int, dict[str, int]] = defaultdict(dict)
    keys = np.flatnonzero(counts)
    for at in keys[np.argsort(-counts[keys], kind="stable")].tolist():
        track, reason = divmod(at, max(1, len(texts)))
        if texts[reason]:
            found[track][texts[reason]] = int(counts[at])
    return found
