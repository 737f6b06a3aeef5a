"""Reading photos: upright, RGB, 8 bit; what cannot be read is named with what to do about it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.errors import DecodeError, SourceError

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
FOREIGN_SUFFIXES = (".heic", ".heif", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".jxl")
"""Photos by their name, of formats that are not read."""
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def read_photo(path: Path) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 sRGB, turned as its EXIF orientation says. Raises SourceError or DecodeError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.", remedy="Check the path.") from error
    image = _decoded(data)
    if image is None and (path.suffix.lower() in FOREIGN_SUFFIXES or _is_heif(data)):
        raise foreign_photo(path)
    if image is None:
        raise DecodeError(
            f"{path} is not a photo: {'it is empty' if not data else f'its {len(data)} bytes cannot be decoded'}.",
            remedy="Give a whole JPEG, PNG, WebP, BMP or TIFF file.",
        )
    photo: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return photo


def foreign_photo(path: Path) -> DecodeError:
    """The error of a photo of a format that is not read."""
    kind = path.suffix.lstrip(".").upper() if path.suffix.lower() in FOREIGN_SUFFIXES else "HEIC"
    return DecodeError(
        f"{path} is a {kind} photo, which cannot be read here.",
        remedy=f"Convert it to JPEG first, for example: magick {path.name} {path.stem}.jpg",
    )


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS


def _decoded(data: bytes) -> NDArray[np.uint8] | None:
    """(H, W, 3) BGR, upright; None where it cannot be decoded."""
    if not data:
        return None
    stored = np.frombuffer(data, np.uint8)
    try:
        return cv2.imdecode(stored, cv2.IMREAD_COLOR)
    except cv2.error:
        return None
