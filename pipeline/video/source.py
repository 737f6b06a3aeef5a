"""What a user names (files, folders, globs, manifests) becomes `ClipRef`s."""

from __future__ import annotations

import glob
import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from pipeline.records import ClipRef
from pipeline.video.address import (
    BUCKET_SCHEMES,
    MAX_ID_LENGTH,
    checked_id,
    id_of,
    local_path,
    uri_of,
)
from pipeline.video.manifest import MANIFEST_SUFFIXES, LeadsNowhere, clips_of_manifest
from schemas.errors import SettingsError, SourceError
from schemas.escaping import escaped, shown

__all__ = ["MAX_ID_LENGTH", "VIDEO_SUFFIXES", "checked_id", "clips_from_arguments", "id_of", "local_path"]

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".asf"}
    | {".flv", ".3gp", ".3g2", ".ogv", ".mxf", ".gif"}
)
"""Files taken out of a folder; a file named on its own may have any name."""
PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".heic", ".heif", ".webp", ".tif", ".tiff", ".bmp", ".dng", ".avif"}
)

_SHOWN_SUFFIXES = 6
_LONGEST_SUFFIX = 12
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named:
    """A clip and what named it: an input, and in a manifest the row."""

    clip: ClipRef
    origin: str
    row: int | None = None

    def __str__(self) -> str:
        return self.origin if self.row is None else f"{self.origin}, row {self.row}"


def clips_from_arguments(inputs: Sequence[str], focal_px: float | None = None) -> list[ClipRef]:
    """Clips named by files, folders (searched recursively), globs and manifests, in that order, without repeats.

    `focal_px` is the full image's focal length for clips that state none. An input that leads nowhere does not stop
    the others: it stays in the list and fails when it is read, visibly. Files of a folder that are no videos are
    logged in one line. Raises SourceError when no input leads anywhere, when a manifest is malformed, or when two
    different clips claim one id.
    """
    named: list[_Named] = []
    unresolved: list[SourceError] = []
    for text in inputs:
        try:
            named += list(_clips_of(text))
        except LeadsNowhere as error:
            unresolved.append(SourceError(error.message, remedy=error.remedy))
            named.append(_named(text, text))
    if len(unresolved) == len(inputs):
        raise (
            unresolved[0]
            if unresolved
            else SourceError("no input given.", remedy="Name a video file or a folder.")
        )
    if focal_px is not None:
        if not (math.isfinite(focal_px) and focal_px > 0):
            raise SettingsError(
                f"--focal-px cannot be {focal_px:g}.", remedy="Give the focal length in pixels, above 0."
            )
        named = [
            each
            if each.clip.focal_px is not None
            else replace(each, clip=replace(each.clip, focal_px=focal_px))
            for each in named
        ]
    return _without_repeats(named)


def _clips_of(text: str) -> Iterator[_Named]:
    if text.startswith(BUCKET_SCHEMES) and Path(text).suffix.lower() not in MANIFEST_SUFFIXES:
        yield _named(text, text)
        return
    path = _path_or_nowhere(text)
    if path.suffix.lower() in MANIFEST_SUFFIXES and not os.path.isdir(path):
        for number, clip in enumerate(clips_of_manifest(path), start=1):
            yield _Named(clip=clip, origin=str(path), row=number)
    elif os.path.isdir(path):
        yield from (_named(str(video), text) for video in _videos_under(path))
    elif path.suffix.lower() in PHOTO_SUFFIXES and os.path.isfile(path):
        raise LeadsNowhere(
            f"{text}: a photo is not a video.", remedy=_about_photos(Counter([path.suffix.lower()])).strip()
        )
    elif os.path.exists(path):
        yield _named(str(path), text)
    elif glob.has_magic(text):
        matches = [match for match in sorted(glob.glob(text, recursive=True)) if os.path.isfile(match)]
        if not matches:
            raise LeadsNowhere(f"{text}: matches no file.", remedy="Check the pattern.")
        yield from (_named(match, text) for match in matches)
    else:
        raise LeadsNowhere(f"{text}: no such file or folder.", remedy="Check the path.")


def _path_or_nowhere(text: str) -> Path:
    try:
        return local_path(escaped(text))
    except SourceError as error:
        raise LeadsNowhere(error.message, remedy=error.remedy) from None


def _videos_under(folder: Path) -> list[Path]:
    """Video files below a folder, sorted; links are followed, every real folder is visited once.

    A folder that may not be read is in the list itself: it fails, visibly, when it comes to be read. Raises
    LeadsNowhere where there is nothing to read.
    """
    found: list[Path] = []
    left: Counter[str] = Counter()

    def keep_unreadable(error: OSError) -> None:
        found.append(Path(error.filename))

    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, onerror=keep_unreadable, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        for name in files:
            suffix = Path(name).suffix.lower()
            if suffix in VIDEO_SUFFIXES:
                found.append(Path(root, name))
            elif not name.startswith("."):
                left[suffix] += 1
    if not found:
        raise LeadsNowhere(
            f"{folder}: the folder holds no video files" + (f", only {_counted(left)}." if left else "."),
            remedy=_about_photos(left) + f"Known endings: {' '.join(sorted(VIDEO_SUFFIXES))}.",
        )
    if left:
        _logger.warning("%s: skipped: %s. %s", folder, _counted(left), _about_photos(left).rstrip())
    return sorted(found)


def _counted(left: Counter[str]) -> str:
    """How many files of which endings, the most frequent first."""
    order = sorted(left.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count} {shown(suffix)[:_LONGEST_SUFFIX] or 'without ending'}" for suffix, count in order]
    others = sum(count for _, count in order[_SHOWN_SUFFIXES:])
    return f"{left.total()} file(s) ({', '.join(parts[:_SHOWN_SUFFIXES] + ([f'{others} others'] if others else []))})"


def _about_photos(left: Counter[str]) -> str:
    return "Photos are for `python -m trainer predict`. " if PHOTO_SUFFIXES & left.keys() else ""


def _named(address: str, origin: str) -> _Named:
    identity = id_of(address)
    return _Named(clip=ClipRef(clip_id=identity, uri=uri_of(address), source_id=identity), origin=origin)


def _without_repeats(named: Iterable[_Named]) -> list[ClipRef]:
    by_id: dict[str, _Named] = {}
    for each in named:
        other = by_id.setdefault(each.clip.clip_id, each)
        if other.clip != each.clip:
            raise _two_of_one_id(other, each)
    return [each.clip for each in by_id.values()]


def _two_of_one_id(one: _Named, other: _Named) -> SourceError:
    if one.origin == other.origin and one.row is not None:
        places = f"{one.origin}, rows {one.row} and {other.row}"
    else:
        places = f"{one} and {other}"
    if one.clip.uri != other.clip.uri:
        return SourceError(
            f"the clip id {one.clip.clip_id!r} is claimed by {one.clip.uri} and by {other.clip.uri} ({places}).",
            remedy="Give every clip its own clip_id.",
        )
    differ = ", ".join(
        f"{field.name} {getattr(one.clip, field.name)!r} and {getattr(other.clip, field.name)!r}"
        for field in fields(ClipRef)
        if getattr(one.clip, field.name) != getattr(other.clip, field.name)
    )
    return SourceError(
        f"{places}: both name {one.clip.uri} under one clip_id and differ: {differ}.",
        remedy="Delete one, or make them alike; for two windows of one film give each a clip_id, start_s and end_s.",
    )
