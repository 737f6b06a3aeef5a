"""The bytes of a pickle, unpacked while they are read: joblib and gzip wrap theirs in one of six compressions."""

from __future__ import annotations

import bz2
import importlib
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any, Protocol

from pipeline.body.inert_values import Refused

CHUNK_BYTES = 1 << 20
MAX_BYTES = 4 << 30
"""What of a file may be held at once, whatever it unpacks to; arrays that nobody needs are passed over."""
MAX_UNPACKED_BYTES = 32 << 30
"""Where a compressed stream is given up; an hour of two people, features included, is some 8 GiB."""
_LZMA_MEMORY_BYTES = 256 << 20
"""A dictionary of xz -9 has 64 MiB; the header may claim 4 GiB."""


class Readable(Protocol):
    """What a stream of bytes must have."""

    def read(self, count: int, /) -> bytes:
        """Up to `count` bytes; none at the end."""
        ...


class Unpacker(Protocol):
    """What `bz2`, `lzma` and `lz4` have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes | None: ...

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes more."""
        ...


class Deflated:
    """zlib's decompressor with the others' interface."""

    def __init__(self, window_bits: int) -> None:
        self._inner, self._tail = zlib.decompressobj(window_bits), b""
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes more."""
        found = self._inner.decompress(self._tail + data, max_length)
        self._tail = self._inner.unconsumed_tail
        self.needs_input = not self._tail and len(found) < max_length
        return found


def _lz4() -> Unpacker:
    try:
        frames: Any = importlib.import_module("lz4.frame")
    except ImportError as error:
        raise Refused("it is compressed with lz4, which is not installed (pip install lz4)") from error
    unpacker: Unpacker = frames.LZ4FrameDecompressor()
    return unpacker


COMPRESSIONS: dict[bytes, tuple[str, Callable[[], Unpacker]]] = {
    b"\x1f\x8b": ("gzip", lambda: Deflated(31)),
    b"BZh": ("bz2", bz2.BZ2Decompressor),
    b"\xfd7zXZ": ("xz", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    b"\x5d\x00": ("lzma", lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY_BYTES)),
    b"\x04\x22\x4d\x18": ("lz4", _lz4),
    b"\x78": ("zlib", lambda: Deflated(15)),
}
"""First bytes, name, and what unpacks it. No pickle begins with any of them."""


class _Unpacked:
    """`read` of a compressed stream: one member after the other, never more than was asked for."""

    def __init__(self, stream: Readable, magic: bytes) -> None:
        self._stream, self._magic = stream, magic
        self.name, self._make = COMPRESSIONS[magic]
        self._unpacker = self._make()
        self._total, self._is_over = 0, False

    def read(self, count: int) -> bytes:
        """Up to `count` bytes; none at the end."""
        while not self._is_over:
            try:
                data = self._stream.read(CHUNK_BYTES) if self._unpacker.needs_input else b""
                starved = self._unpacker.needs_input and not data
                found = self._unpacker.decompress(data, count)
            except (OSError, EOFError, RuntimeError, zlib.error, lzma.LZMAError) as error:
                raise Refused(f"its {self.name} stream is damaged ({error})") from error
            self._total += len(found)
            if self._total > MAX_UNPACKED_BYTES:
                raise Refused(f"it unpacks to more than {MAX_UNPACKED_BYTES} bytes (MAX_UNPACKED_BYTES)")
            if found or self._unpacker.eof:
                if self._unpacker.eof:
                    self._next_member()
                return found
            if starved:
                raise Refused(f"its {self.name} stream is cut off")
        return b""

    def _next_member(self) -> None:
        rest = self._unpacker.unused_data or b""  # lz4's is None where there is none
        if len(rest) < len(self._magic):
            rest += self._stream.read(CHUNK_BYTES)
        self._is_over = not rest.startswith(self._magic)
        if not self._is_over:
            self._unpacker = self._make()
            self._stream = _Chained(rest, self._stream)


class _Chained:
    """Bytes that were read too far, before the stream they came from."""

    def __init__(self, first: bytes, rest: Readable) -> None:
        self._first, self._rest = first, rest

    def read(self, count: int) -> bytes:
        if not self._first:
            return self._rest.read(count)
        found, self._first = self._first[:count], self._first[count:]
        return found


def compression_of(start: bytes) -> bytes | None:
    """The first bytes of the compression a file begins with; None where it begins with none."""
    return next((magic for magic in COMPRESSIONS if start.startswith(magic)), None)


class PickleSource:
    """Bytes in order, some passed over. `data[at:]` is what was read and not yet taken."""

    __slots__ = ("_seekable", "_stream", "at", "data", "held", "made")

    def __init__(self, stream: IO[bytes]) -> None:
        start = stream.read(8)
        magic = compression_of(start)
        self._stream: Any = stream if magic is None else _Unpacked(_Chained(start, stream), magic)
        self._seekable = magic is None and isinstance(stream, io.BufferedReader | io.BytesIO)
        self.data = start if magic is None else b""
        self.at, self.held, self.made = 0, len(self.data), 0

    @property
    def ahead(self) -> int:
        """Bytes that were read and not yet taken."""
        return len(self.data) - self.at

    def refill(self) -> None:
        """Reads on where all was taken. Raises Refused at the end of the stream."""
        self.data, self.at = self._read(CHUNK_BYTES), 0
        if not self.data:
            raise Refused("it ends without STOP")

    def _read(self, count: int) -> bytes:
        found: bytes = self._stream.read(count)
        self.held += len(found)
        if self.held > MAX_BYTES:
            raise Refused(f"more than {MAX_BYTES} bytes of it would be held (MAX_BYTES)")
        return found

    def account(self, size: int) -> None:
        """Counts bytes that were made of bytes held already. Raises Refused for more than a file may have."""
        self.made += size
        if self.made > MAX_BYTES:
            raise Refused(f"its calls copy more than {MAX_BYTES} bytes (MAX_BYTES)")

    def take(self, count: int) -> bytes:
        """The next `count` bytes. Raises Refused where there are fewer."""
        end = self.at + count
        if end <= len(self.data) and count >= 0:
            found = self.data[self.at : end]
            self.at = end
            return found
        if count < 0 or count > MAX_BYTES:
            raise Refused(f"{count} bytes in one piece, more than {MAX_BYTES} (MAX_BYTES)")
        parts = [self.data[self.at :]]
        missing = count - len(parts[0])
        self.data, self.at = b"", 0
        while missing:
            part = self._read(min(missing, CHUNK_BYTES))
            if not part:
                raise Refused(f"it ends {missing} bytes too early")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)

    def skip(self, count: int) -> None:
        """Passes over `count` bytes without holding them."""
        there = min(count, len(self.data) - self.at)
        self.at += there
        missing = count - there
        self.held -= there
        if missing and self._seekable:
            begin = self._stream.tell()
            end = self._stream.seek(0, 2)
            if begin + missing > end:
                raise Refused(f"it ends {begin + missing - end} bytes too early")
            self._stream.seek(begin + missing)
            return
        while missing:
            part = self._stream.read(min(missing, CHUNK_BYTES))
            if not part:
                raise Refused(f"it ends {missing} bytes too early")
            missing -= len(part)

    def line(self) -> bytes:
        """Up to the next line feed, which is taken and left out."""
        parts = []
        while True:
            end = self.data.find(b"\n", self.at)
            if end >= 0:
                parts.append(self.data[self.at : end])
                self.at = end + 1
                return b"".join(parts)
            parts.append(self.data[self.at :])
            self.refill()
