"""Columns of whole tables in memory, and what follows from them about every candidate pair."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.column import Column
from schemas.dataset import Dataset
from schemas.shard import Shard
from schemas.table import TableSpec
from schemas.tables import PAIRS, TABLES

_DERIVED = (
    Column(
        name="angle_deg",
        unit="deg",
        doc="2 asin(|t| / 2Z): the turn that reads this baseline at this depth, whatever the focal length",
    ),
    Column(name="abs_gap_s", unit="s", doc="|gap_s|"),
    Column(name="min_silhouette_iou", unit="1", doc="smaller silhouette_iou of the two frames"),
    Column(name="max_reprojection_error", unit="1", doc="larger reprojection_error of the two frames"),
    Column(name="max_acceleration_mm", unit="mm", doc="larger acceleration_mm of the two frames"),
)
_FROM_FRAMES = {
    "min_silhouette_iou": ("silhouette_iou", np.minimum),
    "max_reprojection_error": ("reprojection_error", np.maximum),
    "max_acceleration_mm": ("acceleration_mm", np.maximum),
}

PAIR_FACTS = TableSpec(
    name="pairs",
    version=PAIRS.version,
    doc="What a selection may ask about a pair: the columns of `pairs` and what follows from them and from `frames`.",
    columns=PAIRS.columns + _DERIVED,
)


def read_columns(
    dataset: Dataset, table: str, columns: list[str], condition: pc.Expression | None = None
) -> pa.Table:
    """Some columns of the rows of a table, texts as dictionaries, in one chunk a column; files are checked.

    With a `condition` only rows for which it holds; row groups that their statistics rule out are not opened.
    """
    spec = TABLES[table]
    texts = [name for name in columns if spec.column(name).dtype == "string"]
    parts = []
    for path in dataset.shards(table):
        with Shard(spec, path) as shard:
            if condition is None:
                parts.append(undocumented(shard.table(columns, dictionaries=texts)))
            else:  # texts stay texts: Arrow does not compare dictionaries with them
                parts.append(undocumented(shard.filtered(columns, condition)))
    if not parts:
        parts = [undocumented(spec.arrow_schema().empty_table().select(columns))]
    read = pa.concat_tables(parts)
    for name in texts:
        at = read.schema.get_field_index(name)
        if not pa.types.is_dictionary(read.schema.field(at).type):
            read = read.set_column(at, name, read[name].dictionary_encode())
    return read.unify_dictionaries().combine_chunks()


def undocumented(table: pa.Table) -> pa.Table:
    """The table without what its columns mean: of ten thousand small files that is most of the memory."""
    return pa.table(table.columns, names=table.column_names)


def pair_facts(dataset: Dataset, columns: list[str], condition: pc.Expression | None = None) -> pa.Table:
    """The asked columns of `PAIR_FACTS` for every candidate pair; frames that are missing give NaN.

    With a `condition` over the columns of `pairs`, only for pairs for which it holds.
    """
    derived = [column.name for column in _DERIVED if column.name in columns]
    stored = [name for name in columns if name not in derived]
    needed = list(dict.fromkeys([*stored, *_sources_of(derived)]))
    pairs = read_columns(dataset, "pairs", needed, condition)
    wanted = [name for name in derived if name in _FROM_FRAMES]
    values = _frame_values(dataset, pairs, wanted) if wanted else {}
    if "abs_gap_s" in derived:
        values["abs_gap_s"] = np.abs(pairs["gap_s"].to_numpy())
    if "angle_deg" in derived:
        values["angle_deg"] = angle_deg(
            pairs["mean_baseline_m"].to_numpy(), pairs["target_depth_m"].to_numpy()
        )
    for name in derived:
        pairs = pairs.append_column(name, pa.array(values[name]))
    return pairs.select(columns)


def angle_deg(baseline_m: NDArray[np.floating], depth_m: NDArray[np.floating]) -> NDArray[np.float64]:
    """2 asin(|t| / 2Z) in degrees, elementwise; 180 from |t| = 2Z on, NaN where there is no depth."""
    half = np.full(np.shape(baseline_m), np.nan)
    np.divide(baseline_m, 2 * depth_m, out=half, where=depth_m > 0)
    return np.asarray(np.degrees(2 * np.arcsin(np.clip(half, 0, 1))))


def _sources_of(derived: list[str]) -> list[str]:
    sources: list[str] = []
    if "abs_gap_s" in derived:
        sources += ["gap_s"]
    if "angle_deg" in derived:
        sources += ["mean_baseline_m", "target_depth_m"]
    if any(name in _FROM_FRAMES for name in derived):
        sources += ["track_id", "target_frame", "reference_frame"]
    return sources


def _frame_values(dataset: Dataset, pairs: pa.Table, derived: list[str]) -> dict[str, Any]:
    """What the two frames of every pair say, joined by track and frame index."""
    names = [_FROM_FRAMES[name][0] for name in derived]
    frames = read_columns(dataset, "frames", ["track_id", "frame_index", *names])
    tracks = _dictionary(frames)
    codes = _codes(frames)
    place = pc.index_in(_dictionary(pairs), value_set=tracks).fill_null(-1).to_numpy(zero_copy_only=False)
    pair_codes = place[_codes(pairs)] if len(place) else np.empty(0, np.int64)
    key = codes.astype(np.int64) << 32 | frames["frame_index"].to_numpy()
    order = np.argsort(key, kind="stable")
    found = []
    for side in ("target_frame", "reference_frame"):
        wanted = pair_codes.astype(np.int64) << 32 | pairs[side].to_numpy()
        rows = np.append(order, len(key))[np.searchsorted(key, wanted, sorter=order)]
        found.append(np.where(np.append(key, -1)[rows] == wanted, rows, len(key)))
    values = {}
    for name in derived:
        column, join = _FROM_FRAMES[name]
        quality = np.append(frames[column].to_numpy(), np.nan)  # the last one: a frame that is missing
        values[name] = join(*(quality[rows] for rows in found))
    return values


def _dictionary(table: pa.Table) -> pa.Array:
    column = table["track_id"]
    return column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())


def _codes(table: pa.Table) -> NDArray[np.integer]:
    column = table["track_id"]
    return column.chunk(0).indices.to_numpy() if column.num_chunks else np.empty(0, np.int64)
