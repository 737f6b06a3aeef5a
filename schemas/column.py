"""One column of a table: its type, shape, unit and codec, and how a value becomes a cell and back.

Maps (`codec="map"`) are dense arrays that are zero almost everywhere; `map_cells` says how they are stored. (Measured:
2.5 ms for a random row where a fixed-shape tensor column takes 126 ms, and about a seventh of the bytes.)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from schemas.errors import DatasetError
from schemas.map_cells import PackedMap, decode_maps, encode_map

_AS_THEY_ARE = frozenset((bool, int, float, str))


@dataclass(frozen=True, kw_only=True)
class Column:
    """A named, typed, documented column. `fields` makes it a list of structs (one per reference, say)."""

    name: str
    dtype: str = "float64"
    """A numpy dtype name, or `string`, `bool`, `image` (encoded JPEG or PNG bytes)."""
    shape: tuple[int, ...] = ()
    unit: str = ""
    """The physical unit of its numbers, for example `m`; `1` where they have none, empty where it holds no numbers."""
    codec: str = "plain"
    """`plain` (scalars and short fixed-size lists), `image`, `map`, `list` (of structs)."""
    scale: float | None = None
    """Of a map: it is stored as integers of this many units."""
    differences: int = 0
    """Of a map: how often neighbouring pixels are subtracted before they are compressed."""
    nullable: bool = False
    fields: tuple[Column, ...] = ()
    doc: str = ""

    def arrow_type(self) -> pa.DataType:
        """The Arrow type of a cell."""
        if self.codec == "list":
            return pa.list_(pa.struct([field.arrow_field() for field in self.fields]))
        if self.codec in ("image", "map"):
            return pa.large_binary()
        item = pa.string() if self.dtype == "string" else pa.type_for_alias(self.dtype)
        return pa.list_(item, int(np.prod(self.shape))) if self.shape else item

    def arrow_field(self) -> pa.Field:
        """The Arrow field, with shape, unit, codec and meaning in its metadata."""
        facts = {
            "dtype": self.dtype,
            "shape": ",".join(map(str, self.shape)),
            "unit": self.unit,
            "codec": self.codec,
        }
        if self.scale is not None:
            facts["scale"] = repr(self.scale)
        if self.differences:
            facts["differences"] = str(self.differences)
        facts["doc"] = self.doc
        return pa.field(self.name, self.arrow_type(), nullable=self.nullable, metadata=facts)

    @property
    def is_blob(self) -> bool:
        """Whether cells are large binaries (own codec, so no column compression and no statistics)."""
        return self.codec in ("image", "map")

    @cached_property
    def _is_scalar(self) -> bool:
        return self.codec == "plain" and not self.shape

    def encode(self, value: Any) -> Any:
        """A Python value or array as the cell that Arrow stores. Raises ValueError on a wrong shape or type."""
        if self._is_scalar and type(value) in _AS_THEY_ARE:  # most cells of a run
            return value
        if value is None:
            if not self.nullable:
                raise ValueError(f"column {self.name!r} must not be empty")
            return None
        if self._is_scalar:
            return value.item() if isinstance(value, np.generic) else value
        if self.codec == "list":
            return [{field.name: field.encode(item[field.name]) for field in self.fields} for item in value]
        if self.codec == "image":
            if not isinstance(value, bytes) or not value:
                raise ValueError(
                    f"column {self.name!r} takes encoded image bytes, got {type(value).__name__}"
                )
            return value
        if self.codec == "map":
            return _encode_map(self, value if isinstance(value, PackedMap) else np.asarray(value))
        array = np.asarray(value, dtype=self.dtype)
        if array.shape != self.shape:
            raise ValueError(f"column {self.name!r} takes shape {self.shape}, got {array.shape}")
        return array.reshape(-1).tolist()

    def decode(self, cell: Any) -> Any:
        """The inverse of `encode`: arrays for shaped columns (float32 where a scale applies), bytes for images."""
        if cell is None:
            return None
        if self.codec == "list":
            values = [field._decoded_items([item[field.name] for item in cell]) for field in self.fields]
            return [dict(zip((field.name for field in self.fields), item)) for item in zip(*values)]
        if self.codec == "map":
            return _decode_maps(self, [cell])[0]
        if self.codec == "plain" and self.shape:
            return np.asarray(cell, dtype=self.dtype).reshape(self.shape)
        return cell

    def _decoded_items(self, cells: list[Any]) -> Iterable[Any]:
        if self.codec == "map" and not self.nullable:
            return _decode_maps(self, cells)
        return [self.decode(cell) for cell in cells]


def _encode_map(column: Column, values: NDArray[Any] | PackedMap) -> bytes:
    if values.shape != column.shape:
        raise ValueError(f"map {column.name!r} takes shape {column.shape}, got {values.shape}")
    try:
        return encode_map(values, np.dtype(column.dtype), column.scale, column.differences)
    except ValueError as error:
        raise ValueError(f"map {column.name!r} ({column.unit or column.dtype}): {error}") from error


def _decode_maps(column: Column, cells: Sequence[bytes]) -> NDArray[Any]:
    try:
        return decode_maps(cells, column.shape, np.dtype(column.dtype), column.scale, column.differences)
    except ValueError as error:
        raise DatasetError(
            f"map {column.name!r} cannot be decoded: {error}.",
            remedy="Run `python -m pipeline dataset verify` on the dataset.",
        ) from error
