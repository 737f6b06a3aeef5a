"""The focal length that a photo states in its EXIF (CIPA DC-008): of JPEG, PNG, WebP and TIFF files, read as data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.video.equivalent import NO_LENS, StatedLens, lens_of_equivalent, plausible

EXIF_POINTER = 0x8769
PIXEL_X, PIXEL_Y = 0xA002, 0xA003
FOCAL_LENGTH, FOCAL_PLANE_X_RESOLUTION, FOCAL_PLANE_UNIT = 0x920A, 0xA20E, 0xA210
DIGITAL_ZOOM, FOCAL_LENGTH_35MM = 0xA404, 0xA405
_MM_OF_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
_SIZES = {3: ("H", 2), 4: ("I", 4), 5: ("II", 8), 9: ("i", 4), 10: ("ii", 8)}
"""Of EXIF's types SHORT, LONG, RATIONAL, SLONG, SRATIONAL: how one value is packed, and its bytes."""
MAX_ENTRIES = 512
SAME_SHAPE = 0.02
"""How far the sides' ratio may differ from the recorded picture's before it counts as cut."""


def lens_of_photo(data: bytes, hw: tuple[int, int]) -> StatedLens:
    """What a photo's bytes say of its lens, for the decoded picture of size hw (upright or not).

    `FocalLengthIn35mmFilm` first: phones write it with digital zoom in it. Else f = FocalLength x
    FocalPlaneXResolution x DigitalZoomRatio in pixels of the recorded picture, scaled to the decoded one. A picture
    whose sides have another ratio than the recorded one's was cut afterwards: what it states is no longer its own.
    """
    values = _values(data)
    if not values.keys() & {FOCAL_LENGTH_35MM, FOCAL_LENGTH}:
        return NO_LENS
    recorded = values.get(PIXEL_X, 0.0), values.get(PIXEL_Y, 0.0)
    if min(recorded) > 0 and abs(_shape(*recorded) / _shape(*hw) - 1) > SAME_SHAPE:
        return StatedLens(note="states a lens, but was cut since")
    equivalent = values.get(FOCAL_LENGTH_35MM, 0.0)
    if equivalent:  # 0: not known
        return lens_of_equivalent(equivalent, hw)
    unit = _MM_OF_UNIT.get(int(values.get(FOCAL_PLANE_UNIT, 2.0)))
    if unit is None or max(recorded) <= 0 or FOCAL_PLANE_X_RESOLUTION not in values:
        return NO_LENS
    zoom = max(1.0, values.get(DIGITAL_ZOOM, 1.0))
    recorded_px = values.get(FOCAL_LENGTH, 0.0) * values[FOCAL_PLANE_X_RESOLUTION] / unit * zoom
    return plausible(recorded_px * max(hw) / max(recorded), hw, f"{values.get(FOCAL_LENGTH, 0.0):g} mm")


def _shape(a: float, b: float) -> float:
    return max(a, b) / min(a, b)


def _values(data: bytes) -> dict[int, float]:
    """The numbers of the EXIF directory by tag; empty where there is none, or where it leads nowhere."""
    for block in _exif_blocks(data):
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
        if order is not None:
            tiff = _Tiff(block, order)
            pointer = tiff.directory(tiff.long_at(4)).get(EXIF_POINTER)
            return {} if pointer is None else tiff.directory(int(pointer))
    return {}


@dataclass(frozen=True, slots=True)
class _Tiff:
    """A TIFF structure: offsets count from its first byte, and any may lead out of it."""

    data: bytes
    order: str

    def long_at(self, at: int) -> int:
        found = self.data[at : at + 4]
        return int(struct.unpack(self.order + "I", found)[0]) if len(found) == 4 else len(self.data)

    def directory(self, at: int) -> dict[int, float]:
        """The first number of every entry of the directory at an offset."""
        head = self.data[at : at + 2]
        if len(head) < 2:
            return {}
        count = min(struct.unpack(self.order + "H", head)[0], MAX_ENTRIES)
        found: dict[int, float] = {}
        for entry in range(at + 2, at + 2 + 12 * count, 12):
            record = self.data[entry : entry + 12]
            if len(record) < 12:
                break
            tag, kind, values = struct.unpack(self.order + "HHI", record[:8])
            number = self._number(kind, values, entry + 8)
            if number is not None:
                found.setdefault(tag, number)
        return found

    def _number(self, kind: int, values: int, at: int) -> float | None:
        if kind not in _SIZES or values < 1:
            return None
        form, size = _SIZES[kind]
        if size * values > 4:
            at = self.long_at(at)
        packed = self.data[at : at + size]
        if len(packed) < size:
            return None
        parts = struct.unpack(self.order + form, packed)
        if len(parts) == 1:
            return float(parts[0])
        return parts[0] / parts[1] if parts[1] else None


def _exif_blocks(data: bytes) -> Iterator[bytes]:
    if data[:2] == b"\xff\xd8":
        yield from _jpeg_blocks(data)
    elif data[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_blocks(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        yield from _webp_blocks(data)
    else:
        yield data


def _jpeg_blocks(data: bytes) -> Iterator[bytes]:
    """EXIF segments (APP1) before the picture itself."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] == 0xFF:  # fill bytes may precede a marker
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4])
        if length < 2:
            return
        body = data[at + 4 : at + 2 + length]
        if data[at + 1] == 0xE1 and body[:6] == b"Exif\0\0":
            yield body[6:]
        at += 2 + length


def _png_blocks(data: bytes) -> Iterator[bytes]:
    """Chunks eXIf: length, kind, body, checksum."""
    at = 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if data[at + 4 : at + 8] == b"eXIf":
            yield data[at + 8 : at + 8 + length]
        at += 12 + length


def _webp_blocks(data: bytes) -> Iterator[bytes]:
    """Chunks EXIF: kind, length, body, padded to an even length."""
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            yield data[at + 8 : at + 8 + length].removeprefix(b"Exif\0\0")
        at += 8 + length + length % 2
