"""Where the data comes from: sources, licences, duplicates and splits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.audit.grouping import Grouping
from pipeline.audit.scalars import AuditTables, codes, dictionary
from schemas.dataset import SPLITS_PATH, SPLITS_REMEDY
from schemas.documents import damaged, read_document
from schemas.escaping import shown


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """One source."""

    source_id: str
    clips: int
    frames: int
    frames_kept: int
    pairs: int
    pairs_kept: int
    samples: int
    median_iou: float | None
    median_reprojection_error: float | None
    median_baseline_m: float | None
    """Of kept pairs."""
    median_photo_error: float | None
    median_depth_m: float | None
    field_of_view_deg: float | None
    """Horizontal angle of the whole image that the assumed focal length means."""


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """Clips (or people in them) that seem to be the same."""

    how: str
    """`same file`, or `pictures look alike`."""
    members: list[str]
    sources: list[str]
    splits: list[str]
    """The splits that their sources are in, where splits are known."""


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Which sources are in which split, and those that are in several."""

    recorded: bool
    counts: dict[str, int]
    in_several: dict[str, list[str]]


def source_rows(tables: AuditTables) -> list[SourceRow]:
    """Every source that appears in any table, in alphabetical order."""
    names = sorted({name for table in _all(tables) for name in dictionary(table, "source_id").to_pylist()})
    place = {name: at for at, name in enumerate(names)}
    count = len(names)

    def rows_of(table: pa.Table) -> np.ndarray:
        known = np.array([place[name] for name in dictionary(table, "source_id").to_pylist()], np.int64)
        return known[codes(table, "source_id")] if known.size else np.empty(0, np.int64)

    frames, pairs, clips = rows_of(tables.frames), rows_of(tables.pairs), rows_of(tables.clips)
    kept_frames = np.asarray(tables.frames["kept"].to_numpy(zero_copy_only=False), bool)
    left = tables.sample_of_pair[tables.kept]
    left = np.unique(left[left >= 0])
    kept = tables.kept
    of_frames, of_pairs, of_kept = (Grouping(rows, count) for rows in (frames, pairs, pairs[kept]))
    iou = of_frames.medians(tables.frames["silhouette_iou"].to_numpy())
    reprojection = of_frames.medians(tables.frames["reprojection_error"].to_numpy())
    baseline = of_kept.medians(tables.number("mean_baseline_m")[kept])
    photo = of_kept.medians(tables.number("photo_error")[kept])
    depth = of_pairs.medians(tables.number("target_depth_m"))
    view = _fields_of_view(tables, of_frames, Grouping(clips, count), of_pairs)
    unique_clips = np.unique(clips.astype(np.int64) << 32 | codes(tables.clips, "clip_id")) >> 32
    totals = [
        np.bincount(part, minlength=count)
        for part in (
            unique_clips,
            frames,
            frames[kept_frames],
            pairs,
            pairs[kept],
            rows_of(tables.samples)[left],
        )
    ]
    return [
        SourceRow(
            source_id=name,
            clips=int(totals[0][at]),
            frames=int(totals[1][at]),
            frames_kept=int(totals[2][at]),
            pairs=int(totals[3][at]),
            pairs_kept=int(totals[4][at]),
            samples=int(totals[5][at]),
            median_iou=iou[at],
            median_reprojection_error=reprojection[at],
            median_baseline_m=baseline[at],
            median_photo_error=photo[at],
            median_depth_m=depth[at],
            field_of_view_deg=view[at],
        )
        for name, at in place.items()
    ]


def licences(tables: AuditTables) -> dict[str, list[str]]:
    """Sources by licence; an empty text is `not stated`."""
    found: dict[str, set[str]] = defaultdict(set)
    columns = (tables.clips["licence"].to_pylist(), tables.clips["source_id"].to_pylist())
    for licence, source in zip(*columns):
        found[licence.strip() or "not stated"].add(source)
    return {licence: sorted(sources) for licence, sources in sorted(found.items())}


def same_files(tables: AuditTables, split_of: dict[str, list[str]]) -> list[Duplicate]:
    """Clips whose files hold the same bytes and whose windows overlap, or that are called different sources."""
    by_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    wanted = ["input_sha256", "clip_id", "source_id", "start_s", "end_s"]
    for row in tables.clips.select(wanted).to_pylist():
        if row["input_sha256"]:
            by_file[row["input_sha256"]].append(row)
    found = []
    for rows in by_file.values():
        members = sorted({row["clip_id"] for row in rows})
        sources = sorted({row["source_id"] for row in rows})
        if len(members) > 1 and (len(sources) > 1 or _overlap(rows)):
            found.append(duplicate("same file", members, sources, split_of))
    return found


def duplicate(how: str, members: list[str], sources: list[str], split_of: dict[str, list[str]]) -> Duplicate:
    """With the splits that the sources are in."""
    splits = sorted({split for source in sources for split in split_of.get(source, [])})
    return Duplicate(how=how, members=members, sources=sources, splits=splits)


def read_splits(tables: AuditTables, path: str | None) -> tuple[Splits, dict[str, list[str]]]:
    """The recorded splits (a file, or `meta/splits.json`), and the splits of every source."""
    file = Path(path or tables.dataset.files.place(SPLITS_PATH))
    if not path and not file.is_file():
        return Splits(recorded=False, counts={}, in_several={}), {}
    values = read_document(file, remedy=SPLITS_REMEDY)
    if not all(isinstance(items, list) for items in values.values()):
        raise damaged(file, "a split is no list of sources", remedy=SPLITS_REMEDY)
    named = {shown(split): [shown(item) for item in items] for split, items in values.items()}
    split_of: dict[str, list[str]] = defaultdict(list)
    for split, sources in named.items():
        for source in dict.fromkeys(sources):
            split_of[source].append(split)
    several = {source: splits for source, splits in split_of.items() if len(splits) > 1}
    counts = {split: len(set(sources)) for split, sources in named.items()}
    return Splits(recorded=True, counts=counts, in_several=several), dict(split_of)


def _all(tables: AuditTables) -> tuple[pa.Table, ...]:
    return tables.clips, tables.frames, tables.pairs, tables.samples, tables.failures


def _overlap(rows: list[dict[str, Any]]) -> bool:
    """Whether two clips of one file show the same moment."""
    spans = sorted((row["start_s"], row["end_s"], row["clip_id"]) for row in rows)
    reach, owner = -np.inf, ""
    for start, end, clip in spans:
        if start < reach - 1e-6 and clip != owner:
            return True
        if end > reach:
            reach, owner = end, clip
    return False


def _fields_of_view(
    tables: AuditTables, frames: Grouping, clips: Grouping, pairs: Grouping
) -> list[float | None]:
    """2 atan(width / 2 f) by source, from the crops' side, the focal length at map size and the video's width."""
    from schemas.conventions import MAP_PX

    focal = pairs.medians(tables.number("focal_px"))
    crops = tables.frames["crop_px"].combine_chunks()
    side = np.asarray(crops.flatten()).reshape(-1, 3)[:, 2] if len(crops) else np.empty(0)
    sides = frames.medians(side)
    widths = clips.medians(tables.clips["width_px"].to_numpy().astype(np.float64))
    views: list[float | None] = []
    for f, s, width in zip(focal, sides, widths):
        full_px = f * s / MAP_PX if f and s else None
        views.append(float(np.degrees(2 * np.arctan(width / 2 / full_px))) if full_px and width else None)
    return views
