"""Whose rows a dataset's units hold, each file read once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa

from schemas.errors import DatasetError
from schemas.files import Files
from schemas.shard import Shard
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord

Origin = tuple[str, str]
"""Source and clip."""
_ORDER = ("clips", "failures", "frames", "pairs", "samples")
"""Tables from the smallest file to the largest."""


def unit_origins(files: Files, records: Sequence[WorkRecord]) -> dict[str, Origin]:
    """The source and the clip that units' rows name, by unit; without those whose files are gone or damaged."""
    origins: dict[str, Origin] = {}
    for table in _ORDER:
        asked = [
            (record.unit_id, shard)
            for record in records
            if record.unit_id not in origins
            for shard in record.shards
            if shard.table == table and shard.rows
        ]
        for unit_id, origin in _of_shards(files, asked):
            origins[unit_id] = origin
    return origins


def _of_shards(files: Files, shards: Iterable[tuple[str, ShardFacts]]) -> Iterable[tuple[str, Origin]]:
    by_file: dict[Pack, list[tuple[str, ShardFacts]]] = {}
    for unit_id, shard in shards:
        by_file.setdefault(shard.file, []).append((unit_id, shard))
    for file, units in by_file.items():
        try:
            with Shard(TABLES[units[0][1].table], files.place(file.path)) as opened:
                columns = opened.table(["source_id", "clip_id"])
        except DatasetError:
            continue
        firsts = [shard.first_row for _, shard in units]
        inside = [at for at, first in enumerate(firsts) if first < columns.num_rows]
        rows = columns.take(pa.array([firsts[at] for at in inside], pa.int64())).to_pylist()
        for at, row in zip(inside, rows):
            yield units[at][0], (row["source_id"], row["clip_id"])
