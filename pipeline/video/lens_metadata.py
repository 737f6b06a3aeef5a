"""The focal length that an MP4 or QuickTime file states: Apple's metadata keys, XMP, GoPro's settings.

    moov/meta, moov/trak/meta, moov/udta/meta   keys + ilst (QuickTime File Format, "Metadata"): iPhones, and camera
                                                apps on them, com.apple.quicktime.camera.focal_length.35mm_equivalent
    moov/udta/XMP_, uuid                        an XMP packet with exif:FocalLengthIn35mmFilm
    moov/udta/GPMF                              GoPro: ZFOV, degrees across the diagonal; VFOV, the name of the field

Android's own writer states none, nor do Matroska and WebM. FFmpeg does not hand out what a track's own `meta` says,
so boxes are read here: bounded, as data, and whatever leads nowhere is no lens.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from pipeline.video.equivalent import NO_LENS, StatedLens, lens_of_diagonal_angle, lens_of_equivalent

EQUIVALENT_KEY = b"com.apple.quicktime.camera.focal_length.35mm_equivalent"
MAX_METADATA_BYTES = 4 << 20
"""Of one box that is read; GoPro's has 40 KiB."""
MAX_BOXES = 4096
"""Boxes looked at on one level: a fragmented film has thousands at the top, and its `moov` before them."""
STRAIGHT_FIELDS = (b"L", b"N")
"""GoPro's linear and narrow fields of view; all others are bent."""

_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_XMP_EQUIVALENT = re.compile(rb"exif:FocalLengthIn35mmFilm\s*(?:=\s*[\"']|>)\s*([^\"'<]{1,32})")
_FIRST_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(?:mm)?\s*\Z")
_TEXT = 1
_NUMBERS = {
    (21, 1): ">b", (21, 2): ">h", (21, 4): ">i", (21, 8): ">q", (22, 1): ">B", (22, 2): ">H", (22, 4): ">I",
    (22, 8): ">Q", (23, 4): ">f", (24, 8): ">d", (65, 1): ">b", (66, 2): ">h", (67, 4): ">i", (74, 8): ">q",
    (75, 1): ">B", (76, 2): ">H", (77, 4): ">I", (78, 8): ">Q",
}  # fmt: skip
"""QuickTime's well-known types and their bytes."""

Box = tuple[bytes, int, int]
"""Kind, first byte of the body, end."""


def lens_of_film(file: Path, hw: tuple[int, int]) -> StatedLens:
    """What a film's file says of its lens, for upright pictures of size hw; `NO_LENS` for other containers.

    Of several statements the first that can be is taken: a track's own before the film's, Apple's before XMP before
    GoPro's. Raises OSError where the file cannot be read.
    """
    with file.open("rb") as stream:
        size = file.stat().st_size
        found = [lens for lens in _statements(stream, size, hw) if lens != NO_LENS]
    usable = [lens for lens in found if lens.focal_px is not None]
    return (usable or found or [NO_LENS])[0]


def _statements(stream: BinaryIO, size: int, hw: tuple[int, int]) -> Iterator[StatedLens]:
    top = list(_boxes(stream, 0, size))
    if not any(
        kind in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot") for kind, _, _ in top[:1]
    ):
        return
    inside = [box for kind, start, end in top if kind == b"moov" for box in _boxes(stream, start, end)]
    tracks = [box for kind, start, end in inside if kind == b"trak" for box in _boxes(stream, start, end)]
    data = [box for kind, start, end in inside if kind == b"udta" for box in _boxes(stream, start, end)]
    for kind, start, end in (*tracks, *inside, *data):
        if kind == b"meta":
            yield from (lens_of_equivalent(mm, hw) for mm in _equivalents(_read(stream, start, end)))
    packets = [_read(stream, start, end) for kind, start, end in data if kind == b"XMP_"]
    packets += [_read(stream, start, end) for kind, start, end in (*top, *inside) if kind == b"uuid"]
    for packet in packets:
        if packet[:16] == _XMP_UUID or packet.lstrip()[:1] == b"<":
            yield from (lens_of_equivalent(_number(text), hw) for text in _XMP_EQUIVALENT.findall(packet)[:1])
    for kind, start, end in data:
        if kind == b"GPMF":
            yield _gopro_lens(_read(stream, start, end), hw)


def _boxes(stream: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """The boxes between two places (ISO 14496-12, 4.2), as far as their lengths make sense."""
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        stream.seek(start)
        head = stream.read(16)
        length, header = int.from_bytes(head[:4]), 8
        if length == 1:
            length, header = int.from_bytes(head[8:]), 16
        elif length == 0:
            length = end - start
        if len(head) < header or length < header or start + length > end:
            return
        yield head[4:8], start + header, start + length
        start += length


def _read(stream: BinaryIO, start: int, end: int) -> bytes:
    if end - start > MAX_METADATA_BYTES:
        return b""
    stream.seek(start)
    return stream.read(end - start)


def _parts(data: bytes, start: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """(kind, body) of the boxes in bytes."""
    while start + 8 <= len(data):
        length = int.from_bytes(data[start : start + 4])
        if length < 8 or start + length > len(data):
            return
        yield data[start + 4 : start + 8], data[start + 8 : start + length]
        start += length


def _equivalents(meta: bytes) -> Iterator[float]:
    """Values of Apple's key in a `meta` box: of QuickTime, or of ISO with version and flags before its boxes."""
    boxes = dict(_parts(meta)) or dict(_parts(meta, 4))
    names = [name for _, name in _parts(boxes.get(b"keys", b""), 8)]
    for number, item in _parts(boxes.get(b"ilst", b"")):
        place = int.from_bytes(number) - 1
        if 0 <= place < len(names) and names[place] == EQUIVALENT_KEY:
            for kind, value in _parts(item):
                if kind == b"data" and len(value) >= 8:
                    yield _value(int.from_bytes(value[1:4]), value[8:])


def _value(kind: int, packed: bytes) -> float:
    if kind == _TEXT:
        return _number(packed)
    form = _NUMBERS.get((kind, len(packed)))
    return float("nan") if form is None else float(struct.unpack(form, packed)[0])


def _number(text: bytes) -> float:
    """Of "26", "26.0" or "26 mm"; NaN of anything else."""
    found = _FIRST_NUMBER.match(text.decode("utf-8", "replace"))
    return float(found[1]) if found else float("nan")


def _gopro_lens(data: bytes, hw: tuple[int, int]) -> StatedLens:
    settings = dict(_settings(data))
    angle = settings.get(b"ZFOV", (b"", b""))
    if angle[0] != b"f" or len(angle[1]) < 4:
        return NO_LENS
    field = settings.get(b"VFOV", (b"", b""))[1][:1]
    angle_deg = float(struct.unpack(">f", angle[1][:4])[0])
    return lens_of_diagonal_angle(angle_deg, hw, is_straight=field in STRAIGHT_FIELDS)


def _settings(data: bytes) -> Iterator[tuple[bytes, tuple[bytes, bytes]]]:
    """(key, (type, value)) of GoPro's GPMF: key, type, size of a sample, samples, padded to 4; type 0 holds others."""
    at = 0
    while at + 8 <= len(data):
        key, kind, size = data[at : at + 4], data[at + 4 : at + 5], data[at + 5]
        length = size * int.from_bytes(data[at + 6 : at + 8])
        if kind != b"\0":
            yield key, (kind, data[at + 8 : at + 8 + length])
            at += 8 + (length + 3) // 4 * 4
        else:
            at += 8  # its contents follow
