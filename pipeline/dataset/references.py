"""What the tables of a dataset say of each other: clips <- frames <- kept pairs <-> references of samples.

Every table is read once; a row is a number or two in memory, so that ten thousand units cost megabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.dataset import Dataset
from schemas.pair_facts import read_columns, undocumented
from schemas.shard import Shard
from schemas.tables import TABLES

_SHOWN = 10
_COLUMNS = {
    "clips": ["source_id", "clip_id", "unit_id", "outcome"],
    "frames": ["source_id", "clip_id", "track_id", "frame_index", "kept"],
    "pairs": ["source_id", "clip_id", "track_id", "target_frame", "reference_frame", "kept"],
    "surfaces": ["source_id", "clip_id", "track_id"],
    "failures": ["source_id", "clip_id", "unit_id"],
}


def reference_problems(dataset: Dataset) -> Iterator[str]:
    """What is wrong between tables, one line each; ids that are not unique too."""
    tables = {name: read_columns(dataset, name, columns) for name, columns in _COLUMNS.items()}
    samples, stored = _samples_and_references(dataset)
    tables["samples"] = samples
    tracks = _Numbers()
    frames = _pair_of(tracks.of(tables["frames"]["track_id"]), tables["frames"]["frame_index"])
    targets = _pair_of(tracks.of(tables["pairs"]["track_id"]), tables["pairs"]["target_frame"])
    ends = _pair_of(tracks.of(tables["pairs"]["track_id"]), tables["pairs"]["reference_frame"])
    owners = _pair_of(tracks.of(stored["track_id"]), stored["frame_index"])
    keys = _Keys(tracks, np.unique(np.concatenate([targets, owners])))
    pairs = keys.of(targets, tables["pairs"]["reference_frame"])
    references = keys.of(owners, stored["reference_frame"])
    kept, usable = _flags(tables["pairs"]["kept"]), _flags(tables["frames"]["kept"])

    yield from _repeated("clips.unit_id", tables["clips"]["unit_id"])
    yield from _repeated("samples.sample_id", samples["sample_id"])
    yield from _repeated("surfaces.track_id", tables["surfaces"]["track_id"])
    yield from listed("frames (track, frame) is not unique", map(tracks.frame, _twice(frames)))
    yield from listed("pairs (track, target, reference) is not unique", map(keys.named, _twice(pairs)))
    clips = _clip_names(tables["clips"])
    for table in ("samples", "frames", "surfaces", "pairs", "failures"):
        names = _clip_names(tables[table]) - clips
        yield from listed(f"{table} names a clip that `clips` does not hold", names)
    used = np.unique(np.concatenate([targets[kept], ends[kept]]))
    yield from listed(
        "a kept pair uses a frame that `frames` does not hold as kept",
        map(tracks.frame, np.setdiff1d(used, frames[usable])),
    )
    yield from listed(
        "samples holds a reference that is no kept pair",
        map(keys.named, np.setdiff1d(references, pairs[kept])),
    )
    yield from listed("a kept pair is in no sample", map(keys.named, np.setdiff1d(pairs[kept], references)))
    yield from _unit_problems(dataset, tables)


def _unit_problems(dataset: Dataset, tables: dict[str, pa.Table]) -> Iterator[str]:
    units = tables["clips"]["unit_id"].to_pylist()
    failed = set(tables["failures"]["unit_id"].to_pylist())
    outcomes = dict(zip(units, tables["clips"]["outcome"].to_pylist()))
    unexplained = {(unit,) for unit, outcome in outcomes.items() if outcome != "kept" and unit not in failed}
    yield from listed("a unit failed but `failures` does not hold it", unexplained)
    recorded = {
        record.unit_id for record in dataset.records if any(shard.table == "clips" for shard in record.shards)
    }
    unlike = {(unit,) for unit in recorded ^ set(units)}
    yield from listed("`clips` and the completion records disagree about a unit", unlike)


def listed(what: str, keys: Iterable[object]) -> Iterator[str]:
    """One line about the things that something is wrong with; none where there are none."""
    found = sorted(map(str, keys))
    if found:
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        yield f"{what}: {', '.join(found[:_SHOWN])}{more}."


class _Numbers:
    """Track ids as numbers."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}

    def of(self, texts: pa.ChunkedArray) -> np.ndarray:
        """(rows,) int64 of a dictionary column."""
        if not len(texts):
            return np.empty(0, np.int64)
        array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
        array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
        places = [self._known.setdefault(text, len(self._known)) for text in array.dictionary.to_pylist()]
        return np.asarray(np.array(places, np.int64)[array.indices.to_numpy()])

    def frame(self, key: int) -> tuple[str, int]:
        """Track and frame of `_pair_of`'s number."""
        return list(self._known)[int(key) >> 32], int(key) & 0xFFFFFFFF


@dataclass(frozen=True, eq=False)
class _Keys:
    """(track, target, reference) as one number: the place of (track, target) among all, then the reference."""

    tracks: _Numbers
    targets: np.ndarray

    def of(self, targets: np.ndarray, references: pa.ChunkedArray) -> np.ndarray:
        """(rows,) int64."""
        return _pair_of(np.searchsorted(self.targets, targets), references)

    def named(self, key: int) -> tuple[str, int, int]:
        """The inverse for one of them."""
        return *self.tracks.frame(self.targets[int(key) >> 32]), int(key) & 0xFFFFFFFF


def _samples_and_references(dataset: Dataset) -> tuple[pa.Table, pa.Table]:
    """Ids of samples; track, frame and reference frame of every reference that they hold."""
    names = ["sample_id", "source_id", "clip_id", "track_id", "frame_index"]
    inner = "references.list.element.frame_index"
    ids, references = [], []
    for path in dataset.shards("samples"):
        with Shard(TABLES["samples"], path) as shard:
            read = shard.table([*names, inner])
        read = undocumented(read)
        ids.append(read.select(names))
        rows = pc.list_parent_indices(read["references"])
        frames = pc.struct_field(pc.list_flatten(read["references"]), "frame_index")
        owners = read.select(["track_id", "frame_index"]).take(rows)
        references.append(owners.append_column("reference_frame", frames))
    if not ids:
        empty = undocumented(TABLES["samples"].arrow_schema().empty_table().select(names))
        ids, references = [empty], [empty.select(["track_id", "frame_index"])]
        references = [references[0].append_column("reference_frame", pa.array([], pa.int64()))]
    return _encoded(pa.concat_tables(ids)), _encoded(pa.concat_tables(references))


def _encoded(table: pa.Table) -> pa.Table:
    """Texts as dictionaries, one chunk a column."""
    for at, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            table = table.set_column(at, field.name, table[field.name].combine_chunks().dictionary_encode())
    return table.combine_chunks()


def _pair_of(first: np.ndarray, second: pa.ChunkedArray) -> np.ndarray:
    """Two numbers below 2^31 and 2^32 as one."""
    return np.asarray(first.astype(np.int64) << 32 | second.to_numpy().astype(np.int64))


def _flags(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.to_numpy(zero_copy_only=False), bool) if len(column) else np.empty(0, bool)


def _twice(keys: np.ndarray) -> np.ndarray:
    found, counts = np.unique(keys, return_counts=True)
    return np.asarray(found[counts > 1])


def _repeated(what: str, texts: pa.ChunkedArray) -> Iterator[str]:
    counted = pc.value_counts(texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts)
    many = counted.filter(pc.greater(counted.field("counts"), 1)).field("values").to_pylist()
    yield from listed(f"{what} is not unique", [(text,) for text in many])


def _clip_names(table: pa.Table) -> set[tuple[str, str]]:
    distinct = table.select(["source_id", "clip_id"]).group_by(["source_id", "clip_id"]).aggregate([])
    return set(zip(distinct["source_id"].to_pylist(), distinct["clip_id"].to_pylist()))
