"""Whether a file holds all the bytes that its own structure speaks of, whatever its headers say about durations.

Every container is a row of pieces that begin with their length. A file was cut short where a piece with film in it
reaches past the end. Durations and counts in headers decide nothing: trims without re-encoding, late starts, pauses
and dropped frames make them differ from what is shown, and copies carry them on from other files.

Each walker returns the bytes the file should have at least: never more than it has where that cannot be told.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.video.container import INCOMPLETE, typed_errors
from schemas.errors import DecodeError

_TAIL = 1 << 20
"""Bytes at the end in which the last pack or page is looked for: both are below 64 KiB."""

_SEGMENT, _CLUSTER = b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_ELEMENTS = {_SEGMENT: True, _CLUSTER: True} | {
    bytes.fromhex(name): holds_film
    for names, holds_film in (
        ("1a45dfa3 114d9b74 1549a966 1654ae6b 1c53bb6b 1941a469 1043a770 1254c367 ec bf", False),
        ("e7 a3 a0 a7 ab 5854", True),  # inside a cluster of open length
    )
    for name in names.split()
}
"""Ids of the Matroska elements at the top, in a segment and in a cluster, and whether film is in them."""

_PACK = b"\0\0\1\xba"


def check_whole(file: Path, format_name: str, size_bytes: int) -> None:
    """Raises DecodeError when the file breaks off. `format_name` is FFmpeg's, "mov,mp4,m4a,3gp,3g2,mj2" for one."""
    walk = next((walk for name, walk in _WALKERS.items() if name in format_name.split(",")), None)
    if walk is None:
        return
    with typed_errors(file, "read"), file.open("rb") as stream:
        end = walk(_Bytes(stream, size_bytes))
    if end > size_bytes:
        raise DecodeError(f"{file}: truncated: {size_bytes} of at least {end} bytes.", remedy=INCOMPLETE)


class _Bytes:
    """Pieces of a file; empty beyond its end, however far a damaged length leads."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream, self.size = stream, size

    def at(self, start: int, length: int) -> bytes:
        if start >= self.size:
            return b""
        self._stream.seek(start)
        return self._stream.read(min(length, _TAIL))


def _boxes_end(data: _Bytes) -> int:
    """MP4 and QuickTime (ISO 14496-12): 32-bit length, kind, 64-bit length where the first is 1."""
    start, promised, kind = 0, 0, b""
    while len(head := data.at(start, 16)) >= 8:
        length, header = int.from_bytes(head[:4]), 8
        if length == 1:
            length, header = int.from_bytes(head[8:]), 16
        if length < header:  # 0: up to the end of the file; else padding that is no box
            return promised
        kind = head[4:8]
        if kind in (b"mdat", b"moov", b"moof"):
            promised = max(promised, start + length)
        elif kind == b"sidx":
            promised = max(promised, _segments_end(data.at(start + header, length), start + length))
        start += length
    if kind == b"moof" or (
        0 < data.size - start < 8 and any(head)
    ):  # its mdat is missing, or a header is cut
        promised = max(promised, start + 8)
    return promised


def _segments_end(index: bytes, end: int) -> int:
    """Where the segments end that a segment index (ISO 14496-12, 8.16.3) which ends at `end` lists."""
    wide = 8 if index[:1] > b"\0" else 4
    first = int.from_bytes(index[12 + wide : 12 + 2 * wide])
    table = 16 + 2 * wide
    entries = index[table : table + 12 * int.from_bytes(index[table - 2 : table])]
    sizes: Iterator[tuple[int]] = struct.iter_unpack(">I8x", entries[: len(entries) // 12 * 12])
    return end + first + sum(size & 0x7FFFFFFF for (size,) in sizes)


def _elements_end(data: _Bytes) -> int:
    """Matroska and WebM (RFC 8794, 9559): id, length. Live recordings leave the length of segment and clusters open.

    A segment that is cut after its film, in the index or the tags, is whole.
    """
    start, segment_end, film_end, kind = 0, 0, 0, b""
    while head := data.at(start, 12):
        id_bytes = 9 - head[0].bit_length()
        length_bytes = 9 - head[id_bytes].bit_length() if len(head) > id_bytes else 1
        header = id_bytes + length_bytes
        kind = head[:id_bytes]
        if kind not in _ELEMENTS or length_bytes > 8 or len(head) < header:
            is_cut = (
                len(head) < header
                and start != segment_end
                and any(name.startswith(kind) for name in _ELEMENTS)
            )
            return max(segment_end, film_end, start + header if is_cut else 0)
        start += header
        length = int.from_bytes(head[id_bytes:header]) - (1 << (7 * length_bytes))
        is_open = length == (1 << (7 * length_bytes)) - 1
        if kind == _SEGMENT:
            segment_end = 0 if is_open else start + length
        elif not is_open:
            start += length
            film_end = start if _ELEMENTS[kind] else film_end
    return film_end if kind in _ELEMENTS and not _ELEMENTS[kind] else max(segment_end, film_end)


def _riff_end(data: _Bytes) -> int:
    """AVI: the `movi` lists of all RIFF parts. A recorder that lost power leaves their lengths 0."""
    start, promised = 0, 0
    while len(head := data.at(start, 12)) == 12:
        length = int.from_bytes(head[4:8], "little")
        inside = head[:4] == b"RIFF"
        if head[:4] == b"LIST" and head[8:] == b"movi" and 4 < length < 0x7FFFFFFF:
            promised = max(promised, start + 8 + length)
        elif not head[:4].isalnum():  # whatever follows
            return promised
        start += 12 if inside else 8 + length + length % 2
    return promised


def _tags_end(data: _Bytes) -> int:
    """FLV: tags of 11 bytes and their data, each followed by 4 bytes that no film is in."""
    start, end = int.from_bytes(data.at(5, 4)) + 4, 0
    while len(head := data.at(start, 11)) > 0:
        if head[0] & 0xDF not in (8, 9, 18) or any(head[8:]):  # sound, film, data; with an empty stream id
            return end
        end = start + 11 + int.from_bytes(head[1:4]) if len(head) == 11 else start + 11
        start = end + 4
    return end


def _objects_end(data: _Bytes) -> int:
    """ASF and WMV: objects of a 16-byte kind and a 64-bit length; the second is the data, of open length if live."""
    start = int.from_bytes(data.at(16, 8), "little")
    length = int.from_bytes(data.at(start + 16, 8), "little")
    return start + length if 50 < length < 1 << 62 else 0


def _packets_end(data: _Bytes) -> int:
    """MPEG transport stream: packets of one size, each beginning with 0x47 (after 4 bytes of time in M2TS)."""
    head = data.at(0, 4 * 204)
    for length, offset in ((188, 0), (192, 4), (204, 0)):
        if all(head[at : at + 1] == b"\x47" for at in range(offset, offset + 4 * length, length)):
            last = data.size - data.size % length
            begin = data.at(last, offset + 1)
            is_cut = begin[offset:] == b"\x47" or (len(begin) <= offset and any(begin))
            return last + length if is_cut else last
    return 0


def _packs_end(data: _Bytes) -> int:
    """MPEG program stream: packs (a start code and 8 or 10 bytes) of packets that say their 16-bit length."""
    base = max(0, data.size - _TAIL)
    tail = data.at(base, _TAIL)
    at = tail.find(_PACK)
    while at >= 0 and (head := tail[at : at + 14]):
        if len(head) < 3 and _PACK.startswith(head):
            return base + at + 4
        if head[:3] != b"\0\0\1":
            at = tail.find(_PACK, at)  # padding between packs, or a packet without a length
        elif head[3:4] == b"\xb9":  # the end
            at += 4
        elif len(head) < 6:
            return base + at + 6
        elif head[3] == 0xBA:
            at += 14 + (head[-1] & 7) if head[4] & 0xC0 == 0x40 else 12  # MPEG-2 with stuffing, MPEG-1
        elif head[3] > 0xBA:
            at += 6 + int.from_bytes(head[4:6])
        else:
            return 0
    return base + at if at >= 0 else 0


def _pages_end(data: _Bytes) -> int:
    """Ogg: pages of a 27-byte header, up to 255 lengths and their data."""
    base = max(0, data.size - _TAIL)
    tail = data.at(base, _TAIL)
    at = tail.rfind(b"OggS")
    if at < 0:
        return 0
    count = tail[at + 26] if len(tail) > at + 26 else 0
    return base + at + 27 + count + sum(tail[at + 27 : at + 27 + count])


def _triplets_end(data: _Bytes) -> int:
    """MXF (SMPTE 336): a 16-byte key, a length of one byte or of the bytes that its low bits count, a value."""
    start = 0
    while (head := data.at(start, 25))[:4] == b"\x06\x0e\x2b\x34":
        if len(head) < 17:
            return start + 17
        more = head[16] & 0x7F if head[16] & 0x80 else 0
        length = int.from_bytes(head[17 : 17 + more]) if more else head[16]
        start += 17 + more + length
    return start


def _blocks_end(data: _Bytes) -> int:
    """Raw DV: every frame takes a multiple of 120,000 bytes, of 144,000 at 25 frames a second."""
    frame = 144_000 if data.at(3, 1) >= b"\x80" else 120_000
    return -(-data.size // frame) * frame


_WALKERS: dict[str, Callable[[_Bytes], int]] = {
    "mp4": _boxes_end,
    "matroska": _elements_end,
    "avi": _riff_end,
    "flv": _tags_end,
    "asf": _objects_end,
    "mpegts": _packets_end,
    "mpeg": _packs_end,
    "ogg": _pages_end,
    "mxf": _triplets_end,
    "dv": _blocks_end,
}
