"""A table: its name, version and columns, and how rows are written. `schemas/shard.py` reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.column import Column

ROW_GROUP_BYTES = 12 * 2**20
"""Row groups are cut by bytes, so that one random row never costs more than this to reach."""


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """The contract of one table. Rows are mappings from column name to decoded value."""

    name: str
    version: int
    columns: tuple[Column, ...]
    doc: str = ""

    def column(self, name: str) -> Column:
        """The column of that name; KeyError when there is none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    def arrow_schema(self) -> pa.Schema:
        """The Arrow schema, with the table's name and version in its metadata."""
        return self._schema

    @cached_property
    def _schema(self) -> pa.Schema:
        facts = {
            "humandepth.table": self.name,
            "humandepth.version": str(self.version),
            "humandepth.doc": self.doc,
        }
        return pa.schema([column.arrow_field() for column in self.columns], metadata=facts)

    def encode_row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """One row as Arrow cells. A missing or an unknown column is a ValueError, never a silent null."""
        if self._by_name.keys() != row.keys():
            names = self._by_name.keys()
            raise ValueError(
                f"row of {self.name!r}: missing {sorted(names - set(row))}, unknown {sorted(set(row) - names)}"
            )
        return {column.name: column.encode(row[column.name]) for column in self.columns}

    def decode_row(self, cells: Mapping[str, Any]) -> dict[str, Any]:
        """The inverse of `encode_row`; columns that were not read stay away."""
        return {
            column.name: column.decode(cells[column.name]) for column in self.columns if column.name in cells
        }

    def write(self, rows: Iterable[Mapping[str, Any]], sink: Any) -> int:
        """Writes rows to a path or file object as Parquet and returns how many there were."""
        with TableWriter(self, sink) as writer:
            for row in rows:
                writer.add(row)
        return writer.rows

    def facts(self) -> dict[str, Any]:
        """Name, version and columns as plain data, for `info.json` and the README."""
        return {
            "name": self.name,
            "version": self.version,
            "columns": [_column_facts(c) for c in self.columns],
        }


class TableWriter:
    """Writes one shard row by row, in bounded memory.

    Blobs get neither dictionary, statistics nor column compression (their cells are compressed already);
    scalars get all three and a page index. Pages carry checksums.
    """

    def __init__(self, spec: TableSpec, sink: Any) -> None:
        blobs, scalars = _leaf_paths(spec.columns)
        self.rows = 0
        self._spec = spec
        self._schema = spec.arrow_schema()
        self._batch: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []
        self._batch_bytes = 0
        self._writer = pq.ParquetWriter(
            sink,
            self._schema,
            compression={**dict.fromkeys(scalars, "zstd"), **dict.fromkeys(blobs, "none")},
            use_dictionary=scalars,
            write_statistics=scalars,
            write_page_index=True,
            write_page_checksum=True,
        )

    def add(self, row: Mapping[str, Any]) -> None:
        """Encodes and buffers one row; a row group is written whenever the buffer is full."""
        self.add_cells(self._spec.encode_row(row))

    def add_cells(self, cells: dict[str, Any]) -> None:
        """`add` for a row that is encoded already."""
        self._batch.append(cells)
        self._batch_bytes += _cell_bytes(cells)
        self.rows += 1
        if self._batch_bytes >= ROW_GROUP_BYTES:
            self.flush()

    def add_table(self, rows: pa.Table) -> None:
        """`add_cells` for many rows at once, as they were read from another file of the table."""
        if self._batch_bytes + rows.nbytes > ROW_GROUP_BYTES and (self._tables or self._batch):
            self.flush()
        self._tables.append(rows)
        self._batch_bytes += rows.nbytes
        self.rows += rows.num_rows

    def close(self) -> None:
        """Writes what is buffered and the footer."""
        if self._batch or self._tables or not self.rows:
            self.flush()
        self._writer.close()

    def flush(self) -> None:
        """Ends the row group."""
        table = pa.Table.from_pylist(self._batch, schema=self._schema)
        if self._tables:
            table = pa.concat_tables([*self._tables, table])
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self._batch, self._tables, self._batch_bytes = [], [], 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is None:
            self.close()
        else:
            self._writer.close()


def _column_facts(column: Column) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": column.name,
        "dtype": column.dtype,
        "unit": column.unit,
        "codec": column.codec,
    }
    facts["shape"] = list(column.shape)
    if column.scale is not None:
        facts["scale"] = column.scale
    if column.differences:
        facts["differences"] = column.differences
    if column.fields:
        facts["fields"] = [_column_facts(field) for field in column.fields]
    plain: dict[str, Any] = json.loads(json.dumps(facts | {"doc": column.doc}))
    return plain


def _leaf_paths(columns: tuple[Column, ...], prefix: str = "") -> tuple[list[str], list[str]]:
    """Parquet leaf paths of blob columns and of all others."""
    blobs: list[str] = []
    scalars: list[str] = []
    for column in columns:
        path = prefix + column.name
        if column.codec == "list":
            inner_blobs, inner_scalars = _leaf_paths(column.fields, f"{path}.list.element.")
            blobs += inner_blobs
            scalars += inner_scalars
        elif column.is_blob:
            blobs.append(path)
        else:
            scalars.append(f"{path}.list.element" if column.shape else path)
    return blobs, scalars


def _cell_bytes(cell: Any) -> int:
    if isinstance(cell, bytes):
        return len(cell)
    if isinstance(cell, dict):
        return sum(_cell_bytes(value) for value in cell.values())
    if isinstance(cell, list):
        return sum(_cell_bytes(value) for value in cell)
    return 8
