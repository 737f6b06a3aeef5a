"""Shards of many units in one file, and back: `compact`, and the tidying that every run begins and ends with."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.dataset.card import publish_documents
from pipeline.dataset.folder_lock import RunLock
from pipeline.dataset.packs import UnreadableRowsError, groups_to_pack, unpack, write_pack
from pipeline.dataset.storage import publish_text, spool_folder, typed_storage_errors
from pipeline.dataset.unit_sink import discard_unit
from schemas.dataset import (
    CUTS_PATH,
    JOURNAL_PATH,
    RECORDS_PATH,
    check_dataset,
    document_remedy,
    read_records,
    record_path,
    tombstoned_sources,
)
from schemas.documents import damaged, read_document, text_of
from schemas.errors import DatasetError
from schemas.shard import Shard, row_count
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord, checked_path

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
    The caller holds the folder's lock. Raises DatasetError, and deletes nothing, where a file or a record is damaged.
    """
    settle(root, heal=False)
    records = {record.unit_id: record for record in read_records(Path(root))}
    before = _files_of(records.values())
    with typed_storage_errors(root):
        for table in TABLES:
            for group in groups_to_pack(list(records.values()), table, pack_bytes):
                for unit_id, shard in write_pack(root, table, group):
                    records[unit_id] = _with_shard(records[unit_id], shard)
        after = _files_of(records.values())
        changed = [record for record in records.values() if any(shard.pack for shard in record.shards)]
        if after != before:
            _commit(root, changed, sorted(before - after, key=lambda file: file.path))
    return Compaction(files_before=len(before), files_after=len(after))


def compact_dataset(root: str, pack_bytes: int = PACK_BYTES) -> Compaction:
    """`compact` on a folder that is not in use."""
    check_dataset(Path(root))
    with RunLock(root):
        done = compact(root, pack_bytes)
        publish_documents(root)
        spool_folder(root).rmdir()
    return done


def settle(root: str, *, heal: bool = True) -> None:
    """Ends what an interrupted process began: files no record names, rows no unit owns, sources that were forgotten.

    With `heal`, as a run settles, units of damaged records and rows that cannot be read out of a pack are given up, so
    that they are made again; without, they raise DatasetError before anything is deleted. The caller holds the lock.
    """
    folder = Path(root)
    with typed_storage_errors(root):
        shutil.rmtree(spool_folder(root), ignore_errors=True)
        _finish_journal(root)
        records = _sound_records(root) if heal else read_records(folder)
        records = _without_forgotten(root, records)
        records = _without_dead_rows(root, records, heal)
        named = {file.path for file in _files_of(records)}
        for table in TABLES:
            for path in (folder / table).glob("*.parquet"):
                if f"{table}/{path.name}" not in named:
                    path.unlink()


def unit_origin(root: str, record: WorkRecord) -> tuple[str, str] | None:
    """The source and the clip that a unit's rows name; None for a unit whose files are gone or damaged."""
    for shard in record.shards:
        try:
            with Shard(TABLES[shard.table], Path(root) / shard.file.path) as opened:
                columns = opened.table(["source_id", "clip_id"])
        except DatasetError:
            continue
        if shard.first_row < columns.num_rows:
            row = columns.slice(shard.first_row, 1).to_pylist()[0]
            return row["source_id"], row["clip_id"]
    return None


def _sound_records(root: str) -> list[WorkRecord]:
    """All sound records; a damaged one is deleted, so that its unit is made again."""
    records = read_records(Path(root), [])
    sound = {record.unit_id for record in records}
    for path in sorted((Path(root) / RECORDS_PATH).glob("*.json")):
        if path.stem not in sound:
            path.unlink()
            _note(f"the completion record {path} was damaged; a run that has its clip makes the unit anew.")
    return records


def _note(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


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
    remedy = document_remedy(JOURNAL_PATH)
    journal = read_document(path, remedy=remedy)
    try:
        if not all(isinstance(journal.get(name), list) for name in ("records", "obsolete")):
            raise ValueError("it lacks its lists of records and of obsolete files")
        records = [WorkRecord.from_json(text_of(text, "a record")) for text in journal["records"]]
        obsolete = [checked_path(relative) for relative in journal["obsolete"]]
    except ValueError as error:
        raise damaged(path, error, remedy=remedy) from error
    for record in records:
        publish_text(record.to_json(), root, record_path(record.unit_id))
    for relative in obsolete:
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
        (Path(root) / CUTS_PATH / Path(f"{origin[1]}.json").name).unlink(missing_ok=True)
    return kept


def _without_dead_rows(root: str, records: list[WorkRecord], heal: bool) -> list[WorkRecord]:
    """Takes packs apart that hold rows of units that are no more."""
    owned: dict[Pack, int] = {}
    for shard in (shard for record in records for shard in record.shards if shard.pack):
        owned[shard.file] = owned.get(shard.file, 0) + shard.rows
    dead = set()
    for pack, rows in owned.items():
        path = Path(root) / pack.path
        if path.is_file() and _row_count(pack, path, heal) != rows:
            dead.add(pack)
    if not dead:
        return records
    settled = []
    for record in records:
        if any(shard.pack in dead for shard in record.shards):
            try:
                shards = [unpack(root, shard) if shard.pack in dead else shard for shard in record.shards]
            except UnreadableRowsError as error:
                if not heal:
                    raise
                _note(f"{error.message} A run that has the clip of unit {record.unit_id} makes it anew.")
                discard_unit(root, record.unit_id)
                continue
            record = replace(record, shards=tuple(shards))
            publish_text(record.to_json(), root, record_path(record.unit_id))
        settled.append(record)
    return settled


def _row_count(pack: Pack, path: Path, heal: bool) -> int | None:
    try:
        return row_count(TABLES[pack.path.partition("/")[0]], path)
    except DatasetError:
        if not heal:
            raise
        return None


def _files_of(records: Any) -> set[Pack]:
    return {shard.file for record in records for shard in record.shards}


def _with_shard(record: WorkRecord, changed: ShardFacts) -> WorkRecord:
    shards = tuple(changed if shard.path == changed.path else shard for shard in record.shards)
    return replace(record, shards=shards)
