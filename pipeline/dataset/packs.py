"""Files that hold the shards of several units: written, and taken apart again."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from pipeline.dataset.storage import publish_file, spool_folder
from schemas.errors import DatasetError
from schemas.shard import REMAKE, Shard
from schemas.table import TableWriter
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord, file_sha256


class UnreadableRowsError(DatasetError):
    """A unit's rows cannot be read out of a pack."""


def groups_to_pack(
    records: Iterable[WorkRecord], table: str, pack_bytes: int, takes: Callable[[ShardFacts], bool]
) -> Iterator[list[tuple[str, ShardFacts]]]:
    """Runs of units whose files are to become one of about `pack_bytes`: of the shards that `takes` wants.

    A lonely file stays as it is.
    """
    owners: dict[Pack, list[tuple[str, ShardFacts]]] = {}
    for record in records:
        for shard in record.shards:
            if shard.table == table and takes(shard):
                owners.setdefault(shard.file, []).append((record.unit_id, shard))
    group: list[tuple[str, ShardFacts]] = []
    files, size = 0, 0
    for file, shards in owners.items():
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
        with TableWriter(TABLES[table], local) as writer, PackedRows(root) as packed:
            for _, shard in group:
                first_rows.append(writer.rows)
                for rows in packed.of(shard):
                    writer.add_table(rows)
        pack = Pack.of(local, relative)
        publish_file(local, root, relative)
    for (unit_id, shard), first_row in zip(group, first_rows):
        yield unit_id, replace(shard, pack=pack, first_row=first_row)


def unpack(root: str, shard: ShardFacts, packed: PackedRows) -> ShardFacts:
    """Writes a unit's own file again, byte for byte as it was."""
    spool_folder(root).mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=spool_folder(root)) as spool:
        local = Path(spool) / "shard.parquet"
        with TableWriter(TABLES[shard.table], local) as writer:
            try:
                for rows in packed.of(shard):
                    for cells in rows.to_pylist():
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


class PackedRows:
    """The encoded rows of units, a row group in memory at a time; units that follow each other share what was read."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._file: tuple[str, Shard] | None = None
        self._group: tuple[str, int, pa.Table] | None = None

    def __enter__(self) -> PackedRows:
        return self

    def __exit__(self, *details: object) -> None:
        if self._file is not None:
            self._file[1].__exit__()

    def of(self, shard: ShardFacts) -> Iterator[pa.Table]:
        """A unit's rows of one table. Raises DatasetError where they cannot be read."""
        start, stop, at = shard.first_row, shard.first_row + shard.rows, 0
        file = self._opened(shard)
        for group, count in enumerate(file.group_rows):
            low, high = max(start, at), min(stop, at + count)
            if low < high:
                yield self._read(file, group).slice(low - at, high - low)
            at += count
        if at < stop:
            raise DatasetError(
                f"{file.path} is damaged: it holds {at} rows, {shard.path} needs {stop}.", remedy=REMAKE
            )

    def _opened(self, shard: ShardFacts) -> Shard:
        path = str(Path(self._root) / shard.file.path)
        if self._file is None or self._file[0] != path:
            opened = Shard(TABLES[shard.table], path)
            self.__exit__()
            self._file = (path, opened)
        return self._file[1]

    def _read(self, file: Shard, group: int) -> pa.Table:
        if self._group is None or self._group[:2] != (file.path, group):
            self._group = (file.path, group, file.group(group))
        return self._group[2]


def is_as_recorded(root: str, file: Pack) -> bool:
    """Whether a file has the bytes that its record names."""
    path = Path(root) / file.path
    return path.is_file() and file_sha256(path) == file.sha256


def _compare(root: str, file: Pack) -> None:
    if not is_as_recorded(root, file):
        raise DatasetError(
            f"{Path(root) / file.path} is damaged or missing: it is not the file its record names.",
            remedy=REMAKE,
        )
