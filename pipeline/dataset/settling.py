"""What every run, `compact` and `forget` begin and end with: what an interrupted process began is ended."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.dataset.journal import commit, finish_journal
from pipeline.dataset.origins import unit_origins
from pipeline.dataset.packs import PackedRows, UnreadableRowsError, is_as_recorded, unpack, write_pack
from pipeline.dataset.storage import spool_folder, typed_storage_errors
from pipeline.dataset.unit_sink import discard_unit
from schemas.dataset import CUTS_PATH, RECORDS_PATH, tombstoned_sources
from schemas.errors import DatasetError
from schemas.files import Files
from schemas.record_files import read_records
from schemas.shard import row_count
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord


def settle(root: str, *, heal: bool = True) -> None:
    """Ends what an interrupted process began: files no record names, rows no unit owns, sources that were forgotten.

    With `heal`, as a run settles, units of damaged records and rows that cannot be read out of a pack are given up, so
    that they are made again; without, they raise DatasetError before anything is deleted. The caller holds the lock.
    """
    with typed_storage_errors(root):
        shutil.rmtree(spool_folder(root), ignore_errors=True)
        finish_journal(root)
        records = _sound_records(root) if heal else read_records(Files(root))
        records = _without_forgotten(root, records)
        records = _without_dead_rows(root, records, heal)
        delete_unnamed(root, records)


def delete_unnamed(root: str, records: Sequence[WorkRecord]) -> None:
    """Deletes files of tables that no record names."""
    named = {shard.file.path for record in records for shard in record.shards}
    for table in TABLES:
        for path in (Path(root) / table).glob("*.parquet"):
            if f"{table}/{path.name}" not in named:
                path.unlink()


def _sound_records(root: str) -> list[WorkRecord]:
    """All sound records; a damaged one is deleted, so that its unit is made again."""
    faults: list[DatasetError] = []
    records = read_records(Files(root), faults)
    if faults:
        sound = {record.unit_id for record in records}
        for path in sorted((Path(root) / RECORDS_PATH).glob("*.json")):
            if path.stem not in sound:
                path.unlink()
                note(
                    f"the completion record {path} was damaged; a run that has its clip makes the unit anew."
                )
    return records


def note(line: str) -> None:
    """Says something that nobody has to act on."""
    print(f"note: {line}", file=sys.stderr)


def _without_forgotten(root: str, records: list[WorkRecord]) -> list[WorkRecord]:
    forgotten = tombstoned_sources(root)
    if not forgotten:
        return records
    origins = unit_origins(Files(root), records)
    kept = []
    for record in records:
        origin = origins.get(record.unit_id)
        if origin is None or origin[0] not in forgotten:
            kept.append(record)
            continue
        discard_unit(root, record.unit_id)
        (Path(root) / CUTS_PATH / Path(f"{origin[1]}.json").name).unlink(missing_ok=True)
    return kept


def _without_dead_rows(root: str, records: list[WorkRecord], heal: bool) -> list[WorkRecord]:
    """Writes packs anew that hold rows of units that are no more: a pack never holds rows of nobody."""
    owned: dict[Pack, int] = {}
    for shard in (shard for record in records for shard in record.shards if shard.pack):
        owned[shard.file] = owned.get(shard.file, 0) + shard.rows
    dead = [
        pack
        for pack, rows in owned.items()
        if (Path(root) / pack.path).is_file() and _row_count(root, pack, heal) != rows
    ]
    for pack in dead:
        if not heal or is_as_recorded(root, pack):
            records = _written_anew(root, records, pack)
        else:
            records = _taken_apart(root, records, pack)
    return records


def _written_anew(root: str, records: list[WorkRecord], pack: Pack) -> list[WorkRecord]:
    """The rows that units own, in a pack of their own. Raises DatasetError where the old one is damaged."""
    group = _shards_in(records, pack)
    if not group:
        return records
    table = group[0][1].table
    moved = dict(write_pack(root, table, group))
    settled = [moved_record(record, moved.get(record.unit_id)) for record in records]
    commit(root, [new for old, new in zip(records, settled) if old != new], [pack])
    return settled


def _taken_apart(root: str, records: list[WorkRecord], pack: Pack) -> list[WorkRecord]:
    """A damaged pack's units with files of their own again; those whose rows cannot be read are given up."""
    moved: dict[str, ShardFacts] = {}
    lost = set()
    with PackedRows(root) as packed:
        for unit_id, shard in _shards_in(records, pack):
            try:
                moved[unit_id] = unpack(root, shard, packed)
            except UnreadableRowsError as error:
                note(f"{error.message} A run that has the clip of unit {unit_id} makes it anew.")
                lost.add(unit_id)
    for unit_id in lost:
        discard_unit(root, unit_id)
    records = [record for record in records if record.unit_id not in lost]
    settled = [moved_record(record, moved.get(record.unit_id)) for record in records]
    commit(root, [new for old, new in zip(records, settled) if old != new], [pack])
    return settled


def _shards_in(records: Sequence[WorkRecord], pack: Pack) -> list[tuple[str, ShardFacts]]:
    """The shards that lie in a pack, in their order there."""
    found = [(record.unit_id, shard) for record in records for shard in record.shards if shard.pack == pack]
    return sorted(found, key=lambda each: each[1].first_row)


def moved_record(record: WorkRecord, shard: ShardFacts | None) -> WorkRecord:
    """The record with another place for the rows of one of its shards, if there is one."""
    if shard is None:
        return record
    return replace(record, shards=tuple(shard if each.path == shard.path else each for each in record.shards))


def _row_count(root: str, pack: Pack, heal: bool) -> int | None:
    try:
        return row_count(TABLES[pack.path.partition("/")[0]], Path(root) / pack.path)
    except DatasetError:
        if not heal:
            raise
        return None
