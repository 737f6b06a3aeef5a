"""Shards of many units in one file, and back: `compact`, and the tidying that every run begins and ends with."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.card import publish_documents
from pipeline.run_lock import RunLock
from pipeline.sink import discard_unit, publish_file, publish_text, spool_folder, typed_storage_errors
from schemas.dataset import (
    CUTS_PATH,
    INFO_PATH,
    JOURNAL_PATH,
    RECORDS_PATH,
    Dataset,
    Pack,
    ShardFacts,
    WorkRecord,
    file_sha256,
    record_path,
    tombstoned_sources,
)
from schemas.errors import DatasetError
from schemas.table import TableWriter
from schemas.tables import TABLES

PACK_BYTES = 256 * 2**20
"""Large enough that opening files costs nothing, small enough to copy and to shuffle."""


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """How many files there were and are."""

    files_before: int
    files_after: int


def compact(root: str, pack_bytes: int = PACK_BYTES) -> Compaction:
    """Puts small shards together into packs of about `pack_bytes`: the same rows, fewer files.

    Interrupted at any point it leaves either the old files or a journal that the next run or `compact` finishes.
    The caller holds the folder's lock.
    """
    settle(root)
    records = {record.unit_id: record for record in _records(root)}
    before = _files_of(records.values())
    with typed_storage_errors(root):
        for table in TABLES:
            for group in _groups(list(records.values()), table, pack_bytes):
                for unit_id, shard in _pack(root, table, group):
                    records[unit_id] = _with_shard(records[unit_id], shard)
        after = _files_of(records.values())
        changed = [record for record in records.values() if any(shard.pack for shard in record.shards)]
        if after != before:
            _commit(root, changed, sorted(before - after, key=lambda file: file.path))
    return Compaction(files_before=len(before), files_after=len(after))


def compact_dataset(root: str, pack_bytes: int = PACK_BYTES) -> Compaction:
    """`compact` on a folder that is not in use."""
    if not (Path(root) / INFO_PATH).is_file():
        Dataset.open(root)  # says what is wrong
    with RunLock(root):
        done = compact(root, pack_bytes)
        publish_documents(root)
        spool_folder(root).rmdir()
    return done


def settle(root: str) -> None:
    """Ends what an interrupted process began: files no record names, rows no unit owns, sources that were forgotten.

    The caller holds the folder's lock.
    """
    folder = Path(root)
    with typed_storage_errors(root):
        shutil.rmtree(spool_folder(root), ignore_errors=True)
        _finish_journal(root)
        records = _records(root)
        records = _without_forgotten(root, records)
        records = _without_dead_rows(root, records)
        named = {file.path for file in _files_of(records)}
        for table in TABLES:
            for path in (folder / table).glob("*.parquet"):
                if f"{table}/{path.name}" not in named:
                    path.unlink()


def unit_origin(root: str, record: WorkRecord) -> tuple[str, str] | None:
    """The source and the clip that a unit's rows name; None for a unit whose files are gone."""
    for shard in record.shards:
        try:
            columns = pq.read_table(Path(root) / shard.file.path, columns=["source_id", "clip_id"])
        except (OSError, ValueError):
            continue
        if shard.first_row < columns.num_rows:
            row = columns.slice(shard.first_row, 1).to_pylist()[0]
            return row["source_id"], row["clip_id"]
    return None


def _records(root: str) -> list[WorkRecord]:
    """All sound records; a damaged one is deleted, so that its unit is made again."""
    records = []
    for path in sorted((Path(root) / RECORDS_PATH).glob("*.json")):
        try:
            records.append(WorkRecord.from_json(path.read_text()))
        except (ValueError, KeyError, TypeError):
            path.unlink()
    return records


def _groups(records: list[WorkRecord], table: str, pack_bytes: int) -> Iterator[list[tuple[str, ShardFacts]]]:
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


def _pack(root: str, table: str, group: Sequence[tuple[str, ShardFacts]]) -> Iterator[tuple[str, ShardFacts]]:
    """Writes one pack and gives every unit's shard its new place."""
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
        pack = Pack(path=relative, bytes=local.stat().st_size, sha256=file_sha256(local))
        publish_file(local, root, relative)
    for (unit_id, shard), first_row in zip(group, first_rows):
        yield unit_id, replace(shard, pack=pack, first_row=first_row)


def _unpack(root: str, shard: ShardFacts) -> ShardFacts:
    """Writes a unit's own file again, byte for byte as it was."""
    spool_folder(root).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool_folder(root)) as spool:
        local = Path(spool) / "shard.parquet"
        with TableWriter(TABLES[shard.table], local) as writer:
            for cells in _cells(root, shard):
                writer.add_cells(cells)
        if file_sha256(local) != shard.sha256:
            raise DatasetError(
                f"{root}/{shard.file.path}: the rows of {shard.path} are not those its record names.",
                remedy="Run the pipeline again on this folder: it remakes the unit.",
            )
        publish_file(local, root, shard.path)
    return replace(shard, pack=None, first_row=0)


def _cells(root: str, shard: ShardFacts) -> Iterator[dict[str, Any]]:
    """The encoded rows of one unit, one row group in memory at a time."""
    start, stop, at = shard.first_row, shard.first_row + shard.rows, 0
    with pq.ParquetFile(Path(root) / shard.file.path, page_checksum_verification=True) as file:
        for group in range(file.num_row_groups):
            count = file.metadata.row_group(group).num_rows
            low, high = max(start, at), min(stop, at + count)
            if low < high:
                yield from file.read_row_group(group).slice(low - at, high - low).to_pylist()
            at += count


def _commit(root: str, changed: Sequence[WorkRecord], obsolete: Sequence[Pack]) -> None:
    journal = {
        "records": [record.to_json() for record in changed],
        "obsolete": [file.path for file in obsolete],
    }
    publish_text(json.dumps(journal), root, JOURNAL_PATH)
    _finish_journal(root)


def _finish_journal(root: str) -> None:
    path = Path(root) / JOURNAL_PATH
    if not path.exists():
        return
    journal = json.loads(path.read_text())
    for text in journal["records"]:
        publish_text(text, root, record_path(WorkRecord.from_json(text).unit_id))
    for relative in journal["obsolete"]:
        (Path(root) / relative).unlink(missing_ok=True)
    path.unlink()


def _without_forgotten(root: str, records: list[WorkRecord]) -> list[WorkRecord]:
    forgotten = tombstoned_sources(Path(root))
    if not forgotten:
        return records
    kept = []
    for record in records:
        origin = unit_origin(root, record)
        if origin is None or origin[0] not in forgotten:
            kept.append(record)
            continue
        discard_unit(root, record.unit_id)
        (Path(root) / CUTS_PATH / f"{origin[1]}.json").unlink(missing_ok=True)
    return kept


def _without_dead_rows(root: str, records: list[WorkRecord]) -> list[WorkRecord]:
    """Takes packs apart that hold rows of units that are no more."""
    owned: dict[Pack, int] = {}
    for shard in (shard for record in records for shard in record.shards if shard.pack):
        owned[shard.file] = owned.get(shard.file, 0) + shard.rows
    dead = set()
    for pack, rows in owned.items():
        path = Path(root) / pack.path
        if path.is_file() and pq.read_metadata(path).num_rows != rows:
            dead.add(pack)
    if not dead:
        return records
    settled = []
    for record in records:
        if any(shard.pack in dead for shard in record.shards):
            shards = [_unpack(root, shard) if shard.pack in dead else shard for shard in record.shards]
            record = replace(record, shards=tuple(shards))
            publish_text(record.to_json(), root, record_path(record.unit_id))
        settled.append(record)
    return settled


def _files_of(records: Any) -> set[Pack]:
    return {shard.file for record in records for shard in record.shards}


def _with_shard(record: WorkRecord, changed: ShardFacts) -> WorkRecord:
    shards = tuple(changed if shard.path == changed.path else shard for shard in record.shards)
    return replace(record, shards=shards)
