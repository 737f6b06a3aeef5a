"""Finished or absent: shards are written under a temporary name, synced, renamed, and only then recorded.

Works on local folders and on buckets. A unit is finished only if
its completion record, its fingerprint and its files agree; everything else is made again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.dataset.buckets import bucket_of
from pipeline.dataset.folder_lock import publishing
from pipeline.dataset.storage import (
    join,
    publish_file,
    publish_text,
    read_bytes,
    spool_folder,
    typed_storage_errors,
)
from pipeline.host.temporary import owned_folder
from schemas.addresses import is_remote
from schemas.dataset import record_path, shard_path
from schemas.table import TableWriter
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord, file_sha256


class UnitSink:
    """The shards of one unit. Used as a context: leaving it without an error publishes, otherwise nothing stays.

    Raises StorageError when the dataset's disk is full or cannot be written.
    """

    def __init__(self, root: str, unit_id: str, fingerprint: str, *, attempts: int = 1) -> None:
        self._root, self._unit_id, self._fingerprint = root, unit_id, fingerprint
        self._attempts = attempts
        self._writers: dict[str, TableWriter] = {}
        self.outcome = "kept"
        with typed_storage_errors(root):
            spool = None if is_remote(root) else spool_folder(root)
            if spool is not None:
                spool.mkdir(parents=True, exist_ok=True)
            self._tidying = ExitStack()
            self._spool = self._tidying.enter_context(owned_folder("unit", spool))

    def emit(self, table: str, row: Mapping[str, Any]) -> None:
        """Adds one row to the unit's shard of a table."""
        if table == "failures":
            row = {**row, "attempts": self._attempts}
        with typed_storage_errors(self._root):
            if table not in self._writers:
                self._writers[table] = TableWriter(TABLES[table], self._local(table))
            self._writers[table].add(row)

    def _local(self, table: str) -> Path:
        return self._spool / f"{table}.parquet"

    def _publish(self) -> WorkRecord:
        discard_unit(self._root, self._unit_id)
        shards = []
        for table in TABLES:
            if table not in self._writers:
                continue
            self._writers[table].close()
            local, relative = self._local(table), shard_path(table, self._unit_id)
            facts = ShardFacts.of(table, self._writers[table].rows, Pack.of(local, relative))
            publish_file(local, self._root, relative)
            shards.append(facts)
        record = WorkRecord(
            unit_id=self._unit_id,
            fingerprint=self._fingerprint,
            outcome=self.outcome,
            shards=tuple(shards),
            attempts=self._attempts,
        )
        publish_text(record.to_json(), self._root, record_path(self._unit_id))
        return record

    def __enter__(self) -> UnitSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with typed_storage_errors(self._root), publishing_in(self._root):
                    self._publish()
        finally:
            self._tidying.close()


def publishing_in(root: str) -> AbstractContextManager[None]:
    """`folder_lock.publishing` of a local dataset; nothing for a bucket, whose files are never put together."""
    return nullcontext() if is_remote(root) else publishing(root)


def discard_unit(root: str, unit_id: str) -> None:
    """Removes a unit: its record first, so that no shard is ever missing from a record that still stands.

    Rows that lie in a pack stay there until `settling.settle`, which every run begins and ends with.
    """
    for relative in (record_path(unit_id), *(shard_path(table, unit_id) for table in TABLES)):
        path = join(root, relative)
        if is_remote(root):
            bucket_of(path).delete(path)
        else:
            Path(path).unlink(missing_ok=True)


def finished_record(root: str, unit_id: str, fingerprint: str) -> WorkRecord | None:
    """The unit's record if it is finished: same fingerprint, every shard there with its size and SHA-256."""
    record = read_record(root, unit_id)
    if record is None or record.fingerprint != fingerprint:
        return None
    return record if all(_agrees(root, shard.file) for shard in record.shards) else None


def read_record(root: str, unit_id: str) -> WorkRecord | None:
    """The unit's completion record, whatever it says; None where there is none or it is damaged."""
    try:
        with _bucket_errors(root):
            content = _record_bytes(root, unit_id)
        record = WorkRecord.from_json(content)
    except (OSError, ValueError):
        return None
    return record if record.unit_id == unit_id else None


def _bucket_errors(root: str) -> AbstractContextManager[None]:
    """A bucket that does not answer ends a run; a disk that cannot read a unit's files makes it again."""
    return typed_storage_errors(root) if is_remote(root) else nullcontext()


def _record_bytes(root: str, unit_id: str) -> bytes:
    """Nothing where there is none, which is no record either: a bucket that does not answer is another matter."""
    try:
        return read_bytes(join(root, record_path(unit_id)))
    except FileNotFoundError:
        return b""


def _agrees(root: str, file: Pack) -> bool:
    path = join(root, file.path)
    if is_remote(root):
        with _bucket_errors(root):
            return bucket_of(path).size(path) == file.bytes
    try:
        facts = os.stat(path)
    except OSError:
        return False
    return facts.st_size == file.bytes and _sha256_of(path, facts.st_mtime_ns, facts.st_ino) == file.sha256


@lru_cache(maxsize=64)
def _sha256_of(path: str, changed_ns: int, inode: int) -> str:
    """A pack holds many units, and each of them asks."""
    return file_sha256(path)
