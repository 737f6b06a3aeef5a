"""Files that state a lens: boxes put into a film's `moov`, and EXIF blocks of a few tags."""

from __future__ import annotations

import struct
from pathlib import Path

EQUIVALENT = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"


def box(kind: bytes, body: bytes) -> bytes:
    """An MP4 box."""
    return struct.pack(">I", 8 + len(body)) + kind + body


def metadata(items: list[tuple[bytes, int, bytes]], *, is_iso: bool = False) -> bytes:
    """A `meta` box of (key, well-known type, value): QuickTime's, or ISO's with version and flags before its boxes."""
    names = b"".join(struct.pack(">I", 8 + len(key)) + b"mdta" + key for key, _, _ in items)
    values = b"".join(
        struct.pack(">I", 8 + 16 + len(value))
        + struct.pack(">I", number)
        + box(b"data", struct.pack(">II", kind, 0) + value)
        for number, (_, kind, value) in enumerate(items, start=1)
    )
    handler = box(b"hdlr", bytes(8) + b"mdta" + bytes(13))
    keys = box(b"keys", struct.pack(">II", 0, len(items)) + names)
    return box(b"meta", (bytes(4) if is_iso else b"") + handler + keys + box(b"ilst", values))


def gopro(settings: list[tuple[bytes, bytes, bytes]]) -> bytes:
    """A `GPMF` box of (key, type, value) in one device."""
    inner = b"".join(
        key + kind + struct.pack(">BH", len(value), 1) + value + bytes(-len(value) % 4)
        for key, kind, value in settings
    )
    return box(b"GPMF", b"DEVC\0" + struct.pack(">BH", 1, len(inner)) + inner)


def with_boxes(film: Path, *, film_box: bytes = b"", track_box: bytes = b"", top: bytes = b"") -> Path:
    """Puts boxes at the end of `moov`, of its first track, and of the file. `moov` must come last, so nothing moves."""
    data = film.read_bytes()
    at = data.index(b"moov") - 4
    assert at + int.from_bytes(data[at : at + 4]) == len(data), "moov is not the last box"
    moov = data[at + 8 :]
    track = moov.index(b"trak") - 4
    end = track + int.from_bytes(moov[track : track + 4])
    moov = moov[:track] + box(b"trak", moov[track + 8 : end] + track_box) + moov[end:] + film_box
    film.write_bytes(data[:at] + box(b"moov", moov) + top)
    return film


def exif(tags: dict[int, tuple[int, bytes]], *, order: str = "<") -> bytes:
    """A TIFF structure whose EXIF directory holds tags: (type, value packed in that order)."""
    size = 12 * len(tags) + 6
    later, entries = b"", b""
    for tag, (kind, value) in sorted(tags.items()):
        count = len(value) // {3: 2, 4: 4, 5: 8, 10: 8}[kind]
        if len(value) > 4:
            place = struct.pack(order + "I", 26 + size + len(later))
            later += value
        else:
            place = value.ljust(4, b"\0")
        entries += struct.pack(order + "HHI", tag, kind, count) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    first = struct.pack(order + "HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    return head + first + struct.pack(order + "H", len(tags)) + entries + bytes(4) + later


def jpeg_with(stored: bytes, block: bytes) -> bytes:
    """A JPEG with an EXIF segment behind its first marker."""
    body = b"Exif\0\0" + block
    return stored[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(body)) + body + stored[2:]
