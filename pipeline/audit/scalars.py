"""The scalar columns of a dataset's tables in memory: all that figures are made from. Pixels are never read."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.geometry.array_types import Flags, Floats
from schemas.dataset import SETTINGS_PATH, SETTINGS_REMEDY, Dataset
from schemas.documents import damaged
from schemas.errors import DatasetError
from schemas.escaping import shown
from schemas.pair_facts import PAIR_FACTS, pair_facts, read_columns
from schemas.selections import Selection
from schemas.tables import SAMPLES
from schemas.where import holds, where_expression

OUTSIDE_SELECTION = "outside-the-selection"
"""Reason of a kept pair that a selection leaves out."""

_PAIRS = [
    column.name
    for column in PAIR_FACTS.columns
    if column.name
    not in ("median_baseline_m", "p10_baseline_m", "p90_baseline_m", "gap_frames", "target_depth_m")
] + ["gap_frames", "target_depth_m"]
_FRAMES = [
    "source_id",
    "track_id",
    "shot_index",
    "frame_index",
    "crop_px",
    "reprojection_error",
    "silhouette_iou",
    "acceleration_mm",
    "kept",
    "reason",
]
_CLIPS = [
    "source_id",
    "clip_id",
    "unit_id",
    "uri",
    "licence",
    "input_sha256",
    "focal_source",
    "shot_index",
    "start_s",
    "end_s",
    "width_px",
    "notes",
    "frames_read",
    "tracks",
    "outcome",
]
_SAMPLES = [
    "sample_id",
    "source_id",
    "track_id",
    "frame_index",
    "reference_count",
    "mean_baseline_m",
    "valid_fraction",
]
_FAILURES = ["source_id", "clip_id", "uri", "stage", "reason", "message", "remedy"]

_THRESHOLDS: dict[str, tuple[str, str, float | None]] = {
    "min_mean_baseline_m": ("pairs", "min_mean_baseline_m", 0.5),
    "max_rotation_deg": ("pairs", "max_rotation_deg", 40.0),
    "max_baseline_over_depth": ("pairs", "max_baseline_over_depth", 1.0),
    "min_valid_fraction": ("pairs", "min_valid_fraction", 0.2),
    "min_silhouette_iou": ("gates", "min_silhouette_iou", 0.7),
    "max_reprojection_error": ("gates", "max_reprojection_error", 0.03),
    "max_misalignment_px": ("pairs", "max_misalignment_px", None),
}
"""Section, setting, and its value in datasets whose settings do not name it: they were made before it was there."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AuditTables:
    """The tables of one dataset, seen through a selection where there is one."""

    name: str
    dataset: Dataset
    clips: pa.Table
    frames: pa.Table
    pairs: pa.Table
    samples: pa.Table
    failures: pa.Table
    thresholds: dict[str, float]
    """The thresholds the dataset was made with (the preset's where it does not say); one that was off is missing."""
    selection: Selection | None = None
    passing: Flags = field(default_factory=lambda: np.empty(0, bool))
    """(pairs,) bool: whether the selection lets a pair through."""
    sample_passing: Flags = field(default_factory=lambda: np.empty(0, bool))
    """(samples,) bool: whether the selection's own expression about samples holds."""

    def number(self, name: str) -> Floats:
        """A numeric column of `pairs` as float64; unknown values are NaN."""
        return np.asarray(self.pairs[name].to_numpy(), np.float64)

    @cached_property
    def made_kept(self) -> Flags:
        """(pairs,) bool: kept when the dataset was made."""
        return np.asarray(self.pairs["kept"].to_numpy(zero_copy_only=False), bool)

    @cached_property
    def kept(self) -> Flags:
        """(pairs,) bool: kept, and let through by the selection and by the selection of its sample."""
        kept = self.made_kept & self.passing
        if self.sample_passing.all():
            return kept
        inside = self.sample_passing[np.maximum(self.sample_of_pair, 0)]
        return np.asarray(kept & inside & (self.sample_of_pair >= 0))

    @cached_property
    def sample_of_pair(self) -> np.ndarray:
        """(pairs,) row of `samples` whose target a pair has; -1 where there is none."""
        return self.sample_of(self.pairs, "target_frame")

    def sample_of(self, table: pa.Table, frame: str) -> np.ndarray:
        """(rows,) row of `samples` with the track and frame of each row of a table; -1 where there is none."""
        names = pc.index_in(dictionary(table, "track_id"), value_set=dictionary(self.samples, "track_id"))
        place = names.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
        key = codes(self.samples, "track_id").astype(np.int64) << 32 | self.samples["frame_index"].to_numpy()
        if not len(key) or not len(place):
            return np.full(table.num_rows, -1)
        wanted = place[codes(table, "track_id")] << 32 | table[frame].to_numpy()
        order = np.argsort(key, kind="stable")
        rows = order[np.minimum(np.searchsorted(key, wanted, sorter=order), len(key) - 1)]
        return np.asarray(np.where(key[rows] == wanted, rows, -1))

    def samples_left(self, mask: np.ndarray) -> int:
        """How many samples have a reference among the pairs of a mask."""
        rows = self.sample_of_pair[mask & self.made_kept]
        return int(np.unique(rows[rows >= 0]).size)

    def seen_through(self, selection: Selection | None) -> AuditTables:
        """The same tables through another selection."""
        pairs = holds(self.pairs, selection.pairs, PAIR_FACTS) if selection and selection.pairs else None
        samples = self._samples_through(selection) if selection and selection.samples else None
        return replace(
            self,
            selection=selection,
            passing=np.ones(self.pairs.num_rows, bool) if pairs is None else pairs,
            sample_passing=np.ones(self.samples.num_rows, bool) if samples is None else samples,
        )

    def _samples_through(self, selection: Selection) -> np.ndarray:
        assert selection.samples is not None
        used = where_expression(selection.samples, SAMPLES)[1]
        return holds(read_columns(self.dataset, "samples", used), selection.samples, SAMPLES)


def read_tables(dataset: Dataset, selection: Selection | None = None) -> AuditTables:
    """Everything figures need. Raises DatasetError for a folder without any finished unit."""
    if not dataset.records:
        raise DatasetError(
            f"{dataset.name} holds no finished unit.", remedy="Run the pipeline into it first."
        )
    tables = AuditTables(
        name=shown(os.path.basename(os.path.realpath(dataset.name))),
        dataset=dataset,
        clips=read_columns(dataset, "clips", _CLIPS),
        frames=read_columns(dataset, "frames", _FRAMES),
        pairs=pair_facts(dataset, _PAIRS),
        samples=read_columns(dataset, "samples", _SAMPLES),
        failures=read_columns(dataset, "failures", _FAILURES),
        thresholds=_thresholds(dataset),
    )
    return tables.seen_through(selection)


def dictionary(table: pa.Table, name: str) -> pa.Array:
    """The distinct texts of a dictionary column."""
    column = table[name]
    return column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())


def codes(table: pa.Table, name: str) -> np.ndarray:
    """(rows,) each row's place in `dictionary`."""
    column = table[name]
    return column.chunk(0).indices.to_numpy() if column.num_chunks else np.empty(0, np.int64)


def text_counts(table: pa.Table, name: str, mask: np.ndarray | None = None) -> dict[str, int]:
    """How often every non-empty text occurs, most frequent first; texts of equal count in alphabetical order."""
    rows = codes(table, name) if mask is None else codes(table, name)[mask]
    texts = dictionary(table, name).to_pylist()
    counts = np.bincount(rows, minlength=len(texts))
    found = {text: int(count) for text, count in zip(texts, counts) if count and text}
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _thresholds(dataset: Dataset) -> dict[str, float]:
    settings = dataset.json_document(SETTINGS_PATH) or {}
    try:
        values = {
            name: settings.get(section, {}).get(key, usual)
            for name, (section, key, usual) in _THRESHOLDS.items()
        }
        return {name: float(value) for name, value in values.items() if value is not None}
    except (AttributeError, TypeError, ValueError, OverflowError) as error:
        raise damaged(dataset.files.place(SETTINGS_PATH), error, remedy=SETTINGS_REMEDY) from error
