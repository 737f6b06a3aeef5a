"""Datasets that are not in a local folder: gs://, s3://, hdfs://, abfs://, hf://, file:// and, with the package fsspec,
fsspec+PROTOCOL:// for anything else. Arrow's own file systems read them; nothing is copied to the disk first.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
from pyarrow import fs

from schemas.dataset import (
    INFO_PATH,
    INFO_REMEDY,
    JOURNAL_PATH,
    RECORDS_PATH,
    Dataset,
    check_info,
    record_fault,
)
from schemas.documents import damaged, json_object
from schemas.errors import DatasetError
from schemas.shard import REMAKE, footer_sha256
from schemas.work_record import Pack, WorkRecord


def is_remote(path: str) -> bool:
    """Whether it names a place by scheme, as in gs://bucket/folder."""
    return "://" in path


def open_dataset(root: str) -> Dataset | RemoteDataset:
    """A dataset of finished shards, local or remote. Raises DatasetError when there is none."""
    return RemoteDataset.open(root) if is_remote(root) else Dataset.open(root)


class RemoteDataset:
    """A dataset opened for reading through Arrow's file systems: finished shards only."""

    def __init__(
        self, root: str, filesystem: fs.FileSystem, path: str, records: tuple[WorkRecord, ...]
    ) -> None:
        self.root, self.records = root, records
        self._filesystem, self._path = filesystem, path

    @classmethod
    def open(cls, root: str) -> RemoteDataset:
        """Reads the metadata, as `Dataset.open` does."""
        root = root.rstrip("/")
        with _naming(root):
            filesystem, path = fs.FileSystem.from_uri(root)
            check_info(root, _info(f"{root}/{INFO_PATH}", _bytes(filesystem, f"{path}/{INFO_PATH}")))
            if filesystem.get_file_info(f"{path}/{JOURNAL_PATH}").type != fs.FileType.NotFound:
                raise DatasetError(
                    f"{root}: compaction of its shards was interrupted.",
                    remedy="Finish it: python -m pipeline dataset compact.",
                )
            listed = filesystem.get_file_info(fs.FileSelector(f"{path}/{RECORDS_PATH}", allow_not_found=True))
            names = sorted(each.path for each in listed if each.path.endswith(".json"))
            records = tuple(_record(name, _bytes(filesystem, name)) for name in names)
        return cls(root, filesystem, path, records)

    def shards(self, table: str) -> list[str]:
        """Addresses of the files that hold a table, ordered by unit. Raises DatasetError if one has gone missing."""
        kept = [shard.file for record in self.records for shard in record.shards if shard.table == table]
        files = list(dict.fromkeys(kept))
        with _naming(self.root):
            found = self._filesystem.get_file_info([f"{self._path}/{file.path}" for file in files])
        for file, info in zip(files, found, strict=True):
            if info.type != fs.FileType.File or info.size != file.bytes:
                raise DatasetError(
                    f"{self.root}/{file.path} is missing or not {file.bytes} bytes long, as its record says.",
                    remedy=REMAKE,
                )
            with _naming(self.root):
                is_sound = _has_its_footer(self._filesystem, info.path, file)
            if not is_sound:
                raise DatasetError(
                    f"{self.root}/{file.path} is damaged: its footer is not the one that was written.",
                    remedy=REMAKE,
                )
        return [f"{self.root}/{file.path}" for file in files]

    def content(self, relative: str) -> bytes | None:
        """What a document of the dataset holds; None where there is none."""
        with _naming(self.root):
            path = f"{self._path}/{relative}"
            if self._filesystem.get_file_info(path).type == fs.FileType.NotFound:
                return None
            return _bytes(self._filesystem, path)


def _bytes(filesystem: fs.FileSystem, path: str) -> bytes:
    with filesystem.open_input_stream(path) as stream:
        return bytes(stream.read())


def _info(name: str, content: bytes) -> dict[str, Any]:
    try:
        return json_object(content)
    except ValueError as error:
        raise damaged(name, error, remedy=INFO_REMEDY) from error


def _record(name: str, content: bytes) -> WorkRecord:
    try:
        return WorkRecord.from_json(content)
    except ValueError as error:
        raise record_fault(name, error) from error


def _has_its_footer(filesystem: fs.FileSystem, path: str, file: Pack) -> bool:
    if not file.footer_sha256:
        return True
    with filesystem.open_input_file(path) as opened:
        return footer_sha256(opened) == file.footer_sha256


@contextmanager
def _naming(root: str) -> Iterator[None]:
    """What a file system says becomes an error that names the dataset."""
    try:
        yield
    except (OSError, ValueError, ImportError, pa.ArrowException) as error:
        raise DatasetError(
            f"{root} cannot be read: {error}.",
            remedy="Check the address and the credentials; fsspec+PROTOCOL:// needs the package fsspec.",
        ) from error
