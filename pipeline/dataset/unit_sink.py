"""Finished or absent: shards are written under a temporary name, synced, renamed, and only then recorded.

Works on local folders and, through Beam's FileSystems, on any bucket Beam can write to. A unit is finished only if
its completion record, its fingerprint and its files agree; everything else is made again.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.host.temporary import owned_folder
from pipeline.video.address import is_web, local_path
from schemas.dataset import RECORDS_PATH, document_remedy, record_path, shard_path
from schemas.documents import damaged, json_object
from schemas.errors import SourceError, StorageError
from schemas.escaping import unescaped
from schemas.places import made_parent
from schemas.table import TableSpec, TableWriter
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord, file_sha256

SPOOL = ".spool"
_UNCOMPRESSED = "uncompressed"
_FREE_SPACE = "Free some space on that disk."
_REMEDIES = {
    errno.ENOSPC: _FREE_SPACE,
    errno.EDQUOT: "Ask for a larger quota.",
    errno.EROFS: "The disk is mounted read-only.",
    errno.EACCES: "Check the folder's rights.",
    errno.EPERM: "Check the folder's rights.",
    errno.EIO: "The disk reports errors.",
}


def _buckets() -> Any:
    """Beam's FileSystems, loaded with the first bucket: a worker on local files does without their 95 MB."""
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def is_remote(root: str) -> bool:
    """Whether a dataset root is a bucket rather than a folder."""
    return "://" in root


def join(root: str, relative: str) -> str:
    """A path below a dataset's root."""
    return f"{root.rstrip('/')}/{relative}"


def spool_folder(root: str) -> Path:
    """Where a local dataset's files are written before they get their names: the same disk, so a name is one rename."""
    return Path(root) / SPOOL


def publish_file(local: Path, root: str, relative: str) -> None:
    """Moves a complete local file to its final name: the name exists with all bytes, or not at all."""
    final = join(root, relative)
    folder, _, name = final.rpartition("/")
    if is_remote(root):
        temporary, buckets = f"{folder}/.{name}.{uuid.uuid4().hex}.tmp", _buckets()
        with (
            open(local, "rb") as source,
            buckets.create(temporary, compression_type=_UNCOMPRESSED) as sink,
        ):
            shutil.copyfileobj(source, sink)
        if buckets.exists(final):
            buckets.delete([final])
        buckets.rename([temporary], [final])
        return
    os.makedirs(folder, exist_ok=True)
    with open(local, "rb") as written:
        os.fsync(written.fileno())
    os.replace(local, final)
    _sync_folder(folder)


def publish_text(text: str, root: str, relative: str) -> None:
    """`publish_file` for a string."""
    spool = None if is_remote(root) else spool_folder(root)
    if spool is not None:
        spool.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        local = Path(folder) / "text"
        local.write_text(text, encoding="utf-8")
        publish_file(local, root, relative)


def write_table(table: TableSpec, rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    """Writes rows to one file of its own, which appears with all of them or not at all, and returns their number."""
    spool = made_parent(path).with_name(f".{path.name}.part")
    try:
        count = table.write(rows, spool)
        os.replace(spool, path)
    finally:
        spool.unlink(missing_ok=True)
    return count


@contextmanager
def local_copy(uri: str) -> Iterator[str]:
    """A local path of a clip's uri: its own, or a temporary copy of what lies in a bucket Beam can read.

    Raises SourceError when the bucket or the object cannot be read.
    """
    address = unescaped(uri)
    if not is_remote(address) or address.lower().startswith("file://") or is_web(address):
        yield str(local_path(uri))
        return
    with owned_folder("clip") as spool:
        path = spool / Path(address).name
        try:
            with (
                _buckets().open(address, compression_type=_UNCOMPRESSED) as source,
                open(path, "wb") as sink,
            ):
                shutil.copyfileobj(source, sink)
        except (OSError, ValueError) as error:  # BeamIOError is an OSError
            raise SourceError(
                f"{uri} cannot be read: {error}.",
                remedy="Check the address and the rights; buckets need Beam's extra, for example apache-beam[gcp].",
            ) from error
        yield str(path)


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
                with typed_storage_errors(self._root):
                    self._publish()
        finally:
            self._tidying.close()


@contextmanager
def typed_storage_errors(root: str) -> Iterator[None]:
    """Turns what a disk says when it cannot be written into a StorageError with a remedy."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REMEDIES and "No space left" not in str(error):
            raise
        raise StorageError(
            f"{root} cannot be written: {error.strerror or error}.",
            remedy=_REMEDIES.get(error.errno or errno.ENOSPC, _FREE_SPACE)
            + " Finished units are kept; run the same command again to go on.",
        ) from error


def discard_unit(root: str, unit_id: str) -> None:
    """Removes a unit: its record first, so that no shard is ever missing from a record that still stands.

    Rows that lie in a pack stay there until `compaction.settle`, which every run begins and ends with.
    """
    for relative in (record_path(unit_id), *(shard_path(table, unit_id) for table in TABLES)):
        path = join(root, relative)
        if is_remote(root):
            if _buckets().exists(path):
                _buckets().delete([path])
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
        record = WorkRecord.from_json(_read_bytes(join(root, record_path(unit_id))))
    except (OSError, ValueError):
        return None
    return record if record.unit_id == unit_id else None


def record_count(root: str) -> int:
    """How many completion records a folder holds."""
    if not is_remote(root):
        return sum(1 for _ in (Path(root) / RECORDS_PATH).glob("*.json"))
    return len(_buckets().match([join(root, f"{RECORDS_PATH}/*.json")])[0].metadata_list)


def read_json(root: str, relative: str) -> dict[str, Any] | None:
    """A JSON file below the root, or None when it is not there. Raises DatasetError when it is damaged."""
    path = join(root, relative)
    try:
        return json_object(_read_bytes(path))
    except OSError:
        return None
    except ValueError as error:
        raise damaged(path, error, remedy=document_remedy(relative)) from error


def _agrees(root: str, file: Pack) -> bool:
    path = join(root, file.path)
    if is_remote(root):
        buckets = _buckets()
        return buckets.exists(path) and buckets.match([path])[0].metadata_list[0].size_in_bytes == file.bytes
    try:
        facts = os.stat(path)
    except OSError:
        return False
    return facts.st_size == file.bytes and _sha256_of(path, facts.st_mtime_ns, facts.st_ino) == file.sha256


@lru_cache(maxsize=64)
def _sha256_of(path: str, changed_ns: int, inode: int) -> str:
    """A pack holds many units, and each of them asks."""
    return file_sha256(path)


def _read_bytes(path: str) -> bytes:
    if not is_remote(path):
        return Path(path).read_bytes()
    with _buckets().open(path, compression_type=_UNCOMPRESSED) as file:
        return bytes(file.read())


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
