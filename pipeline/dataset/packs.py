"""Files that hold the shards of several units: written, and taken apart again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.dataset.storage import publish_file, spool_folder
from schemas.errors import DatasetError
from schemas.shard import REMAKE, Shard
from schemas.table import TableWriter
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord, file_sha256


class UnreadableRowsError(DatasetError):
    """A unit's rows cannot be read out of a pack."""


def groups_to_pack(
    records: list[WorkRecord], table: str, pack_bytes: int
) -> Iterator[list[tuple[str, ShardFacts]]]:
    """Runs of units whose files are to become one. A file that is large enough stays, and so does a lonely one."""
    owners: dict[Pack, list[tuple[str, ShardFacts]]] = {}
    for record in records:
        for shard in record.shards:
            if shard.table == table:
                owners.setdefault(shard.file, []).append((record.unit_id, shard))
    group: list[tuple[str, ShardFacts]] = []
    files, size = 0, 0
    for file, shards in owners.items():
        if file.bytes >= pack_bytes:
            continue
        if files and size + file.bytes > pack_bytes:
            if files > 1:
                yield group
            group, files, size = [], 0, 0
        group, files, size = group + shards, files + 1, size + file.bytes
    if files > 1:
        yield group


def write_pack(
    root: str, table: str, group: Sequence[tuple[str, ShardFacts]]
) -> Iterator[tuple[str, ShardFacts]]:
    """Writes one pack and gives every unit's shard its new place.

    The files it is made from are deleted later, so they are compared with their records first.
    """
    for file in dict.fromkeys(shard.file for _, shard in group):
        _compare(root, file)
    digest = hashlib.sha256("".join(shard.sha256 for _, shard in group).encode()).hexdigest()[:16]
    relative = f"{table}/pack-{digest}.parquet"
    spool_folder(root).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool_folder(root)) as spool:
        local, first_rows = Path(spool) / "pack.parquet", []
        with TableWriter(TABLES[table], local) as writer:
            for _, shard in group:
                first_rows.append(writer.rows)
                for cells in _cells(root, shard):
                    writer.add_cells(cells)
        pack = Pack.of(local, relative)
        publish_file(local, root, relative)
    for (unit_id, shard), first_row in zip(group, first_rows):
        yield unit_id, replace(shard, pack=pack, first_row=first_row)


def unpack(root: str, shard: ShardFacts) -> ShardFacts:
    """Writes a unit's own file again, byte for byte as it was."""
    spool_folder(root).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool_folder(root)) as spool:
        local = Path(spool) / "shard.parquet"
        with TableWriter(TABLES[shard.table], local) as writer:
            try:
                for cells in _cells(root, shard):
                    writer.add_cells(cells)
            except DatasetError as error:
                raise UnreadableRowsError(error.message, remedy=error.remedy) from error
        if file_sha256(local) != shard.sha256:
            raise DatasetError(
                f"{root}/{shard.file.path}: the rows of {shard.path} are not those its record names.",
                remedy=REMAKE,
            )
        publish_file(local, root, shard.path)
    return replace(shard, pack=None, first_row=0)


def _cells(root: str, shard: ShardFacts) -> Iterator[dict[str, Any]]:
    """The encoded rows of one unit, one row group in memory at a time."""
    start, stop, at = shard.first_row, shard.first_row + shard.rows, 0
    with Shard(TABLES[shard.table], Path(root) / shard.file.path) as file:
        for group, count in enumerate(file.group_rows):
            low, high = max(start, at), min(stop, at + count)
            if low < high:
                yield from file.group(group).slice(low - at, high - low).to_pylist()
            at += count
    if at < stop:
        raise DatasetError(
            f"{file.path} is damaged: it holds {at} rows, {shard.path} needs {stop}.", remedy=REMAKE
        )


def _compare(root: str, file: Pack) -> None:
    path = Path(root) / file.path
    if not path.is_file() or file_sha256(path) != file.sha256:
        raise DatasetError(
            f"{path} is damaged or missing: it is not the file its record names.", remedy=REMAKE
        )
