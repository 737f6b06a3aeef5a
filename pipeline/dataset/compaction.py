"""Shards of many units in one file: `compact`, which a run of many units does too, and the journal that makes it whole
or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.dataset.card import publish_documents
from pipeline.dataset.folder_lock import RunLock, publishing, require_local
from pipeline.dataset.journal import commit
from pipeline.dataset.packs import groups_to_pack, write_pack
from pipeline.dataset.settling import moved_record, settle
from pipeline.dataset.storage import spool_folder, typed_storage_errors
from schemas.dataset import check_dataset, record_path
from schemas.files import Files
from schemas.record_files import read_records
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord

PACK_BYTES = 256 * 2**20
"""Large enough that opening files costs nothing, small enough to copy and to shuffle."""
SMALL_BYTES = 8 * 2**20
"""What a run leaves as it is: opening such a file costs little beside reading it, copying it would cost more."""


@dataclass(frozen=True, kw_only=True)
class Compaction:
    """How many files there were and are."""

    files_before: int
    files_after: int


def is_small(shard: ShardFacts) -> bool:
    """Whether a unit's rows lie in a small file of their own."""
    return shard.pack is None and shard.bytes < SMALL_BYTES


def compact_dataset(root: str, pack_bytes: int = PACK_BYTES) -> Compaction:
    """`compact` on a folder that is not in use."""
    require_local(root)
    check_dataset(root)
    with RunLock(root):
        done = compact(root, pack_bytes)
        publish_documents(root)
        spool_folder(root).rmdir()
    return done


def compact(root: str, pack_bytes: int = PACK_BYTES) -> Compaction:
    """Puts small shards together into packs of about `pack_bytes`: the same rows, fewer files.

    Interrupted at any point it leaves either the old files or a journal that the next run or `compact` finishes.
    The caller holds the folder's lock. Raises DatasetError, and deletes nothing, where a file or a record is damaged.
    """
    settle(root, heal=False)
    records = read_records(Files(root))
    with typed_storage_errors(root):
        packed = pack_units(root, records, pack_bytes, lambda shard: shard.file.bytes < pack_bytes)
        before, after = files_of(records), files_of(packed)
        if after != before:
            commit(root, changed_of(records, packed), before - after)
    return Compaction(files_before=len(before), files_after=len(after))


def pack_units(
    root: str,
    records: Sequence[WorkRecord],
    pack_bytes: int = PACK_BYTES,
    takes: Callable[[ShardFacts], bool] = is_small,
) -> list[WorkRecord]:
    """The records as they will be once the shards that `takes` wants lie in packs, which are written."""
    changed = {record.unit_id: record for record in records}
    for table in TABLES:
        for group in groups_to_pack(records, table, pack_bytes, takes):
            for unit_id, shard in write_pack(root, table, group):
                changed[unit_id] = moved_record(changed[unit_id], shard)
    return list(changed.values())


def commit_unchanged(root: str, before: Sequence[WorkRecord], after: Sequence[WorkRecord]) -> set[Pack]:
    """Commits the new places of units whose records still are as they were; returns the files that nobody names then.

    The caller deletes them once nobody reads them. Units may be finished meanwhile, but not while this writes.
    """
    with publishing(root, alone=True):
        files = Files(root)
        current = files.read_many(record_path(record.unit_id) for record in before)
        kept = [
            (old, new)
            for old, new, content in zip(before, after, current)
            if content == old.to_json().encode() and old != new
        ]
        commit(root, [new for _, new in kept], ())
    return files_of(old for old, _ in kept) - files_of(after)


def changed_of(before: Sequence[WorkRecord], after: Sequence[WorkRecord]) -> list[WorkRecord]:
    """The records that are not as they were."""
    return [new for old, new in zip(before, after, strict=True) if old != new]


def files_of(records: Iterable[WorkRecord]) -> set[Pack]:
    """The files that records name."""
    return {shard.file for record in records for shard in record.shards}
