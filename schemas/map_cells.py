"""Cells of maps: dense arrays that are zero almost everywhere, as bytes that hold only the pixels of a body.

    header  uint32 raw size | int64 base                                  (little endian, 12 bytes)
    body    zstd( packed mask bits, H*W/8 | C x itemsize planes of n bytes )

The n kept pixels are those where any channel is non-zero, row after row.

A column with `scale` stores integers: value = (code + base) * scale for code > 0, and 0 for code 0. `base` is chosen
per cell, so a body ten metres away keeps the same tenth of a millimetre.

With `differences` k pixels are taken column after column, each downwards (bodies are tall: neighbours in this order
are mostly neighbours on the body), and each channel's codes (of floats: their bits) are replaced k times by the
difference to the pixel before, modulo their range, then zigzag-coded: 0, -1, 1, -2, ... as 0, 1, 2, 3, ... A smooth
surface becomes small numbers: 16.6 kB for an input depth that takes 32.3 kB as it is, at a third more time to read. It
would halve motion too, but double the time of what is most of a sample. Nothing of this loses a bit.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_HEADER = struct.Struct("<Iq")
_ZSTD = pa.Codec("zstd", compression_level=4)
"""A cell of motion takes .21 ms and 59.8 kB; at level 3 .15 ms and 60.7 kB, at 6 .72 ms and 58.5 kB. All read alike."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PackedMap:
    """A map (H, W) or (H, W, ...) by some of its pixels, zero at all others: what a cell is made of, not yet packed."""

    pixel: NDArray[np.int32]
    """(n,) row * W + column, increasing."""
    values: NDArray[Any]
    """(C, n) of every channel."""
    shape: tuple[int, ...]

    def dense(self) -> NDArray[Any]:
        """The map itself."""
        height, width, *rest = self.shape
        dense = np.zeros((height * width, len(self.values)), self.values.dtype)
        dense[self.pixel] = self.values.T
        return dense.reshape(height, width, *rest)


def encode_map(
    values: NDArray[Any] | PackedMap, dtype: np.dtype[Any], scale: float | None, differences: int
) -> bytes:
    """A map (H, W) or (H, W, ...) as a cell of that stored type.

    Raises ValueError for NaN, infinity, and what the stored type cannot hold.
    """
    if isinstance(values, PackedMap):
        if not differences and scale is None and values.values.dtype == dtype:
            return _encode_packed(values)
        values = values.dense()
    pixels = values.reshape(*values.shape[:2], -1)
    if differences:
        pixels = pixels.swapaxes(0, 1)
    mask = _is_filled(pixels)
    kept, base = _kept(pixels, mask), 0
    if not _are_finite(kept):
        raise ValueError("it holds NaN or infinity")
    if scale is not None:
        codes = np.rint(kept.astype(np.float64) / scale).astype(np.int64)
        limit = int(np.iinfo(dtype).max)
        base = int(codes.min()) - 1 if codes.size else 0
        kept = codes - base
        if kept.size and kept.max() > limit:
            raise ValueError(f"it spans {kept.max() * scale:.3f}, more than {limit * scale:.3f}")
    with np.errstate(over="ignore"):  # an overflow becomes infinity, which is refused just below
        stored = kept.astype(dtype, copy=False)
    if not _are_finite(stored):
        raise ValueError(f"it overflows {dtype}")
    bits = _bits(stored)
    if differences:
        bits = _differences(bits, differences)
    return _cell(mask, bits, base)


def _encode_packed(packed: PackedMap) -> bytes:
    """The cell of a map that needs no arithmetic."""
    mask, bits = np.zeros(packed.shape[0] * packed.shape[1], np.bool_), _bits(packed.values)
    if not _are_finite(packed.values):
        raise ValueError("it holds NaN or infinity")
    is_filled = _is_filled(packed.values.T[None])[0]
    if is_filled.all():
        mask[packed.pixel] = True
    else:
        mask[packed.pixel[is_filled]] = True
        bits = bits[:, is_filled]
    return _cell(mask, bits, 0)


def _cell(mask: NDArray[np.bool_], bits: NDArray[Any], base: int) -> bytes:
    raw = np.packbits(mask).tobytes() + _byte_planes(bits).tobytes()
    return _HEADER.pack(len(raw), base) + bytes(_ZSTD.compress(raw, asbytes=True))


def decode_maps(
    cells: Sequence[bytes],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    scale: float | None,
    differences: int,
) -> NDArray[Any]:
    """(N, H, W, ...) the maps of N cells, float32 where a scale applies. In memory every channel is a plane.

    One block for all: several maps at once cost far fewer page faults than one after the other. Raises ValueError when
    a cell is damaged, or holds NaN or infinity.
    """
    height, width, *rest = shape
    channels = int(np.prod(rest, dtype=int))
    dense = np.zeros((len(cells), channels, height * width), np.float32 if scale is not None else dtype)
    for planes, cell in zip(dense, cells):
        at, values = _decoded(cell, (channels, height, width), dtype, scale, differences)
        for plane, kept in zip(planes, values):
            plane[at] = kept
    last = len(rest) + 1
    return dense.reshape(-1, *rest, height, width).transpose(0, last, last + 1, *range(1, last))


def _decoded(
    cell: bytes, size: tuple[int, int, int], dtype: np.dtype[Any], scale: float | None, differences: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """What selects the n pixels of a cell in a map, and their values (C, n); `size` is (C, H, W)."""
    channels, height, width = size
    mask_bytes = -(-height * width // 8)
    try:
        raw_size, base = _HEADER.unpack_from(cell)
        if raw_size > mask_bytes + channels * dtype.itemsize * height * width:
            raise ValueError(f"it is damaged: it claims {raw_size} bytes")  # before they are allocated
        raw = np.frombuffer(_ZSTD.decompress(memoryview(cell)[_HEADER.size :], raw_size), np.uint8)
    except (struct.error, OSError) as error:
        raise ValueError(f"it is damaged: {error}") from error
    if raw_size < mask_bytes:
        raise ValueError(f"it is damaged: it holds {raw_size} bytes")
    at, count = _selection(raw[:mask_bytes].tobytes(), height, width, downwards=differences > 0)
    if raw_size != mask_bytes + channels * dtype.itemsize * count:
        raise ValueError(f"it is damaged: {raw_size} bytes for {count} pixels")
    bits = _of_byte_planes(raw[mask_bytes:].reshape(channels, dtype.itemsize, count))
    if differences:
        _sum_up(bits, differences)
    values = bits.view(dtype)
    if not _are_finite(values):
        raise ValueError("it holds NaN or infinity")
    if scale is not None:
        metric = values.astype(np.float64)
        metric += base
        metric *= scale
        values = metric.astype(np.float32)  # here: a cast while scattering takes three times as long
    return at, values


def _differences(codes: NDArray[Any], count: int) -> NDArray[Any]:
    """(C, n) unsigned integers -> their differences along n, `count` times over, zigzag-coded: 2 d, or -2 d - 1."""
    for _ in range(count):
        codes = np.diff(codes, axis=1, prepend=codes.dtype.type(0))
    signed = codes.view(f"i{codes.itemsize}")
    return ((signed << 1) ^ (signed >> (8 * codes.itemsize - 1))).view(codes.dtype)


def _sum_up(codes: NDArray[Any], count: int) -> None:
    """The inverse of `_differences`, in place."""
    negative = codes & 1
    np.negative(negative, out=negative)
    codes >>= 1
    codes ^= negative
    for _ in range(count):
        np.add.accumulate(codes, axis=1, dtype=codes.dtype, out=codes)


def _byte_planes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """(C, itemsize, n) bytes of (C, n) unsigned integers, the lowest first: the inverse of `_of_byte_planes`."""
    planes = np.empty((len(values), values.itemsize, values.shape[1]), np.uint8)
    for place in range(values.itemsize):
        planes[:, place] = values >> (8 * place) if place else values
    return planes


def _of_byte_planes(planes: NDArray[np.uint8]) -> NDArray[Any]:
    """(C, n) unsigned integers of (C, itemsize, n) bytes, the lowest first. Shifts are faster than strided copies."""
    itemsize = planes.shape[1]
    values = planes[:, -1].astype(f"u{itemsize}")
    for place in range(itemsize - 2, -1, -1):
        values <<= 8
        values |= planes[:, place]
    return values


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    return values.view(f"u{values.itemsize}")


def _are_finite(values: NDArray[Any]) -> bool:
    """Whether no exponent is all ones: `np.isfinite` without its slow way over float16."""
    if values.dtype.kind != "f" or not values.size:
        return True
    facts = np.finfo(values.dtype)
    ones = (2**facts.nexp - 1) << facts.nmant
    return bool((_bits(values) & ones).max() != ones)


def _is_filled(pixels: NDArray[Any]) -> NDArray[np.bool_]:
    """(A, B) where any channel of (A, B, C) is not zero; by bits, for the same reason. -0.0 is zero."""
    if pixels.shape[2] == 1 and pixels.itemsize > 2:
        return np.ascontiguousarray(pixels[..., 0] != 0)
    bits = _bits(pixels)
    highest = np.iinfo(bits.dtype).max
    counted = np.full(
        4, highest >> 1 if pixels.dtype.kind == "f" else highest, bits.dtype
    )  # without the sign
    if pixels.flags.c_contiguous and bits.itemsize < 4 and bits.shape[2] * bits.itemsize % 4 == 0:
        bits, counted = bits.view(np.uint32), counted.view(np.uint32)  # several channels at once
    union = bits[..., 0]
    for channel in range(1, bits.shape[2]):
        union = union | bits[..., channel]
    return np.ascontiguousarray(union & counted[0] != 0)


def _kept(pixels: NDArray[Any], mask: NDArray[np.bool_]) -> NDArray[Any]:
    """(C, n) the pixels (A, B, C) of a mask, row after row.

    Of a transposed map they are taken one by one: a copy of it the other way round, whose rows lie a power of two
    apart, takes three times as long.
    """
    rest = pixels.shape[2]
    if pixels.flags.c_contiguous or not pixels.swapaxes(0, 1).flags.c_contiguous:
        flat, at = pixels.reshape(-1, rest), mask.reshape(-1)
        return np.ascontiguousarray(np.compress(at, flat, axis=0).T)
    places = _downwards(pixels.shape[1], pixels.shape[0])[mask.reshape(-1)]
    return np.ascontiguousarray(pixels.swapaxes(0, 1).reshape(-1, rest)[places].T)


@lru_cache(maxsize=4)
def _selection(packed: bytes, height: int, width: int, *, downwards: bool) -> tuple[NDArray[Any], int]:
    """An index of a flat map's kept pixels in their order, and how many there are.

    Kept, because the maps of a sample share their mask.
    """
    mask = np.unpackbits(np.frombuffer(packed, np.uint8), count=height * width).view(bool)
    at = _downwards(height, width)[mask] if downwards else np.flatnonzero(mask)
    at.flags.writeable = False
    return at, int(np.count_nonzero(mask))


@lru_cache(maxsize=4)
def _downwards(height: int, width: int) -> NDArray[np.intp]:
    """(H W,) the places of a map's pixels, column after column."""
    return np.arange(height * width).reshape(height, width).T.ravel()
