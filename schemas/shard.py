"""The one place where files of tables are read: whatever is damaged in one becomes a DatasetError that names it.

Nothing else in the project opens a Parquet file of a dataset. Pages carry checksums, which are verified; the footer
(schema, places of pages, statistics) has none in Parquet, so completion records hold its SHA-256 (`footer_sha256`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.addresses import explained, filesystem_of, is_remote, persistently, reaching
from schemas.errors import DatasetError
from schemas.table import TableSpec

REMAKE = "Run the pipeline again with the same clips and the same --out: units whose files are damaged are made again."
ARROW_ERRORS = (OSError, pa.ArrowException, UnicodeDecodeError)
"""What Arrow and its codecs raise for bytes that are damaged. Anything else is a bug and keeps its traceback."""
T = TypeVar("T")
_ROWS_FOR_THREADS, _BYTES_FOR_THREADS = 10_000, 2**20
"""Less is read by the thread that asks: handing it to others costs more than reading it."""
_TAIL = 8
_MAGIC = b"PAR1"


@contextmanager
def naming(place: str) -> Iterator[None]:
    """Whatever damage is found inside becomes a DatasetError that begins with `place`."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(f"{place} is damaged: {error.message}", remedy=REMAKE) from error
    except ARROW_ERRORS as error:
        if is_remote(place) and "AWS Error" in str(error):  # the file may be as sound as ever
            why, remedy = explained(place, error)
            raise DatasetError(f"{place} cannot be read: {why}.", remedy=remedy) from error
        raise DatasetError(f"{place} is damaged: {short(error)}.", remedy=REMAKE) from error


def short(error: BaseException) -> str:
    """What an error says, on one line of bounded length, without a full stop."""
    text = " ".join(str(error).split())
    return (text if len(text) <= 300 else f"{text[:300]} ...").rstrip(".") or type(error).__name__


class Shard:
    """One file of a table, opened for reading. Raises DatasetError unless it is of this table, version and schema."""

    def __init__(self, spec: TableSpec, path: str | Path, *, memory_map: bool = False) -> None:
        self.path = str(path)
        self._spec = spec
        self._memory_map = memory_map
        self._file = self._opened()
        try:
            self._check()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Shard:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def rows(self) -> int:
        """How many rows the file holds."""
        return sum(self.group_rows)

    def group(self, number: int, columns: Sequence[str] | None = None) -> pa.Table:
        """A row group, all of its columns or some."""
        with naming(f"{self.path}, row group {number},"):
            threads = self._file.metadata.row_group(number).total_byte_size > _BYTES_FOR_THREADS
            read = self._tried(
                lambda: self._file.read_row_group(number, columns=_listed(columns), use_threads=threads)
            )
            return self._sound(read, self.group_rows[number])

    def table(self, columns: Sequence[str] | None = None, *, dictionaries: Sequence[str] = ()) -> pa.Table:
        """All rows; the text columns named by `dictionaries` as dictionaries."""
        with naming(self.path):
            if dictionaries and self.rows <= _ROWS_FOR_THREADS:  # opening it again costs more than it saves
                read = self._sound(self._all(self._file, columns), self.rows)
                for name in dictionaries:
                    at = read.schema.get_field_index(name)
                    read = read.set_column(at, name, read[name].dictionary_encode())
                return read
            if dictionaries:
                with self._opened(dictionaries) as file:
                    return self._sound(self._all(file, columns), self.rows)
            return self._sound(self._all(self._file, columns), self.rows)

    def _all(self, file: pq.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
        threads = self.rows > _ROWS_FOR_THREADS
        return self._tried(lambda: file.read(columns=_listed(columns), use_threads=threads))

    def _tried(self, read: Callable[[], T]) -> T:
        return persistently(self.path, read)

    def _opened(self, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
        source: Any = self.path
        if is_remote(self.path):
            with reaching(self.path):
                filesystem, path = filesystem_of(self.path)
                source = self._tried(lambda: filesystem.open_input_file(path))
        try:
            return self._tried(
                lambda: pq.ParquetFile(
                    source,
                    memory_map=self._memory_map,
                    pre_buffer=is_remote(self.path),
                    read_dictionary=list(dictionaries),
                    page_checksum_verification=True,
                )
            )
        except ARROW_ERRORS as error:
            raise self._unreadable(short(error)) from error

    def filtered(self, columns: Sequence[str], condition: pc.Expression) -> pa.Table:
        """Rows for which a condition holds; row groups that their statistics rule out are not opened.

        A condition that the columns' types do not allow raises what Arrow says of it.
        """
        self._spec.arrow_schema().empty_table().filter(condition)
        with naming(self.path):
            filesystem, path = self._place()
            read = self._tried(
                lambda: pq.read_table(
                    path,
                    columns=list(columns),
                    filesystem=filesystem,
                    filters=condition,
                    partitioning=None,
                    page_checksum_verification=True,
                )
            )
            return self._sound(read)

    def groups(self, condition: pc.Expression | None = None) -> list[int]:
        """Numbers of the row groups, without those whose statistics rule out that a condition holds."""
        if condition is None:
            return list(range(len(self.group_rows)))
        # Imports pandas where that is installed: 0.3 s of the start of every process that reads a dataset.
        import pyarrow.dataset as arrow_dataset

        with naming(self.path):
            filesystem, path = self._place()

            def left() -> list[int]:
                found = arrow_dataset.dataset(path, format="parquet", filesystem=filesystem)
                (fragment,) = found.get_fragments()
                return [part.row_groups[0].id for part in fragment.split_by_row_group(condition)]

            return self._tried(left)

    def _place(self) -> tuple[Any, str]:
        return filesystem_of(self.path) if is_remote(self.path) else (None, self.path)

    def decoded(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Decoded rows in order, one row group in memory at a time."""
        for number in self.groups():
            for row, cells in enumerate(self.group(number, columns).to_pylist()):
                with naming(f"{self.path}, row {row} of row group {number},"):
                    decoded = self._spec.decode_row(cells)
                yield decoded

    def _check(self) -> None:
        with naming(self.path):
            meta = self._file.metadata
            self.group_rows = [meta.row_group(number).num_rows for number in range(meta.num_row_groups)]
            schema = self._file.schema_arrow
            facts = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
            is_same = schema.equals(self._spec.arrow_schema())
        spec = self._spec
        found = (facts.get("humandepth.table"), facts.get("humandepth.version"))
        if found != (spec.name, str(spec.version)):
            raise DatasetError(
                f"{self.path} holds table {found[0]!r} version {found[1]!r}, expected {spec.name!r} version "
                f"{spec.version}.",
                remedy="Use the humandepth version that wrote the dataset, or run the pipeline again.",
            )
        if not is_same:
            raise DatasetError(
                f"{self.path}: the columns of table {spec.name!r} are not those of version {spec.version}.",
                remedy="Run the pipeline again into a new folder.",
            )
        if min(self.group_rows, default=0) < 0 or meta.num_rows != self.rows:
            raise self._unreadable(f"its row groups hold {self.rows} rows, its footer says {meta.num_rows}")

    def _unreadable(self, why: str) -> DatasetError:
        return DatasetError(f"{self.path} is not a readable Parquet file: {why}.", remedy=REMAKE)

    def _sound(self, read: pa.Table, rows: int | None = None) -> pa.Table:
        """The table, once its texts are UTF-8, its lists and indices in their bounds, and nothing empty that must not
        be: what Arrow itself checks only when it is asked to."""
        read.validate(full=True)
        if rows is not None and read.num_rows != rows:
            raise DatasetError(f"{read.num_rows} rows were read, expected {rows}.", remedy=REMAKE)
        for name in read.column_names:
            if not self._spec.column(name).nullable and any(map(_holds_null, read[name].chunks)):
                raise DatasetError(f"column {name!r} has empty cells.", remedy=REMAKE)
        return read


def read_rows(
    spec: TableSpec, path: str | Path, columns: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Decoded rows of one checked file, in order, one row group in memory at a time.

    Raises DatasetError naming file, row group and row where something is damaged.
    """
    with Shard(spec, path) as shard:
        yield from shard.decoded(columns)


def row_count(spec: TableSpec, path: str | Path) -> int:
    """The file's rows; DatasetError unless it is readable Parquet of this table, version and schema."""
    with Shard(spec, path) as shard:
        return shard.rows


def footer_sha256(file: BinaryIO) -> str:
    """SHA-256 of the footer of an open Parquet file; "" for one that has none, as a truncated file."""
    size = file.seek(0, 2)
    if size < _TAIL:
        return ""
    file.seek(size - _TAIL)
    tail = file.read(_TAIL)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - _TAIL:
        return ""
    file.seek(size - _TAIL - length)
    return hashlib.sha256(file.read(length + _TAIL)).hexdigest()


def _holds_null(array: pa.Array) -> bool:
    """Whether an array, or what the lists and structs in it hold, has an empty cell where the type allows none.

    Items of lists count as cells that must be filled; fields of structs do where they are not nullable.
    """
    if array.null_count:
        return True
    if pa.types.is_fixed_size_list(array.type) or pa.types.is_list(array.type):
        return _holds_null(array.flatten())
    if pa.types.is_struct(array.type):
        fields = [array.type.field(at) for at in range(array.type.num_fields)]
        return any(_holds_null(array.field(at)) for at, field in enumerate(fields) if not field.nullable)
    return False


def _listed(columns: Sequence[str] | None) -> list[str] | None:
    return None if columns is None else list(columns)
