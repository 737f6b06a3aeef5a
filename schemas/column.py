"""One column of a table: its type, shape, unit and codec, and how a value becomes a cell and back.

Maps (`codec="map"`) are dense arrays that are zero almost everywhere. A cell holds only the pixels where any
channel is non-zero, as byte planes, compressed with zstd:

    header  uint32 raw size | int64 base                                  (little endian, 12 bytes)
    body    zstd( packed mask bits, H*W/8 | C x itemsize planes of n bytes )

A column with a `scale` stores integers: value = (code + base) * scale for code > 0, and 0 for code 0. `base` is
chosen per cell, so a body ten metres away keeps the same tenth of a millimetre. (Measured: 2.5 ms for a random
row where a fixed-shape tensor column takes 126 ms, and about a sixth of the bytes.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.errors import DatasetError

_HEADER = struct.Struct("<Iq")
_ZSTD = pa.Codec("zstd", compression_level=3)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A named, typed, documented column. `fields` makes it a list of structs (one per reference, say)."""

    name: str
    dtype: str = "float64"
    """A numpy dtype name, or `string`, `bool`, `image` (encoded JPEG or PNG bytes)."""
    shape: tuple[int, ...] = ()
    unit: str = ""
    codec: str = "plain"
    """`plain` (scalars and short fixed-size lists), `image`, `map`, `list` (of structs)."""
    scale: float | None = None
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
        facts["doc"] = self.doc
        return pa.field(self.name, self.arrow_type(), nullable=self.nullable, metadata=facts)

    @property
    def is_blob(self) -> bool:
        """Whether cells are large binaries (own codec, so no column compression and no statistics)."""
        return self.codec in ("image", "map")

    def encode(self, value: Any) -> Any:
        """A Python value or array as the cell that Arrow stores. Raises ValueError on a wrong shape or type."""
        if value is None:
            if not self.nullable:
                raise ValueError(f"column {self.name!r} must not be empty")
            return None
        if self.codec == "list":
            return [{field.name: field.encode(item[field.name]) for field in self.fields} for item in value]
        if self.codec == "image":
            if not isinstance(value, bytes) or not value:
                raise ValueError(
                    f"column {self.name!r} takes encoded image bytes, got {type(value).__name__}"
                )
            return value
        if self.codec == "map":
            return _encode_map(self, np.asarray(value))
        if self.shape:
            array = np.asarray(value, dtype=self.dtype)
            if array.shape != self.shape:
                raise ValueError(f"column {self.name!r} takes shape {self.shape}, got {array.shape}")
            return array.reshape(-1).tolist()
        return value.item() if isinstance(value, np.generic) else value

    def decode(self, cell: Any) -> Any:
        """The inverse of `encode`: arrays for shaped columns (float32 where a scale applies), bytes for images."""
        if cell is None:
            return None
        if self.codec == "list":
            return [{field.name: field.decode(item[field.name]) for field in self.fields} for item in cell]
        if self.codec == "map":
            return _decode_map(self, cell)
        if self.codec == "plain" and self.shape:
            return np.asarray(cell, dtype=self.dtype).reshape(self.shape)
        return cell


def _encode_map(column: Column, values: np.ndarray) -> bytes:
    if values.shape != column.shape:
        raise ValueError(f"map {column.name!r} takes shape {column.shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"map {column.name!r} holds NaN or infinity")
    pixels = values.reshape(column.shape[0] * column.shape[1], -1)
    mask = (pixels != 0).any(axis=1)
    kept = pixels[mask]
    base = 0
    if column.scale is not None:
        codes = np.rint(kept.astype(np.float64) / column.scale).astype(np.int64)
        limit = int(np.iinfo(column.dtype).max)
        base = int(codes.min()) - 1 if codes.size else 0
        kept = codes - base
        if kept.size and kept.max() > limit:
            raise ValueError(
                f"map {column.name!r} spans {kept.max() * column.scale:.3f} {column.unit}, "
                f"more than {limit * column.scale:.3f}"
            )
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused just below
        stored = np.ascontiguousarray(kept.T).astype(np.dtype(column.dtype).newbyteorder("<"))
    if not np.isfinite(stored).all():
        raise ValueError(f"map {column.name!r} overflows {column.dtype}")
    planes = stored.view(np.uint8).reshape(stored.shape[0], -1, stored.itemsize).transpose(0, 2, 1)
    raw = np.packbits(mask).tobytes() + planes.tobytes()
    return _HEADER.pack(len(raw), base) + _ZSTD.compress(raw, asbytes=True)


def _decode_map(column: Column, cell: bytes) -> np.ndarray:
    height, width, *rest = column.shape
    channels = int(np.prod(rest, dtype=int))
    dtype = np.dtype(column.dtype)
    try:
        raw_size, base = _HEADER.unpack_from(cell)
        raw = np.frombuffer(_ZSTD.decompress(memoryview(cell)[_HEADER.size :], raw_size), np.uint8)
        mask_bytes = -(-height * width // 8)
        pixels = np.flatnonzero(np.unpackbits(raw[:mask_bytes], count=height * width).view(bool))
        planes = raw[mask_bytes:].reshape(channels, dtype.itemsize, len(pixels))
    except (struct.error, OSError, ValueError) as error:
        raise DatasetError(
            f"map {column.name!r} cannot be decoded: {error}.",
            remedy="The shard is damaged; run `verify` on the dataset.",
        ) from error
    stored = _of_byte_planes(planes, dtype)
    if dtype.kind == "f" and not _are_finite(stored):
        raise DatasetError(
            f"map {column.name!r} holds NaN or infinity.",
            remedy="The writer is broken; make the dataset again.",
        )
    if column.scale is not None:
        stored = ((stored.astype(np.float64) + base) * column.scale).astype(np.float32)
    return _scattered(stored, pixels, height * width).reshape(column.shape)


def _of_byte_planes(planes: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """(C, n) values of (C, itemsize, n) bytes. A copy per byte: transposing at once takes six times as long."""
    channels, itemsize, count = planes.shape
    mixed = np.empty((channels, count, itemsize), np.uint8)
    for place in range(itemsize):
        mixed[..., place] = planes[:, place]
    return mixed.view(dtype.newbyteorder("<"))[..., 0]


def _are_finite(values: np.ndarray) -> bool:
    """Whether no exponent is all ones: `np.isfinite` without its slow way over float16."""
    facts = np.finfo(values.dtype)
    ones = (2**facts.nexp - 1) << facts.nmant
    bits = values.view(f"<u{values.dtype.itemsize}")
    return not bits.size or int((bits & ones).max()) != ones


def _scattered(values: np.ndarray, pixels: np.ndarray, count: int) -> np.ndarray:
    """(count, C) zeros with the columns of (C, n) at n pixels. A pixel is moved as one item, whatever its channels."""
    native = values.dtype.newbyteorder("=")
    rows = np.ascontiguousarray(values.T, dtype=native)
    item = np.dtype((np.void, rows.shape[1] * native.itemsize))
    dense = np.zeros(count, item)
    dense[pixels] = rows.view(item)[:, 0]
    return dense.view(native).reshape(count, -1)
