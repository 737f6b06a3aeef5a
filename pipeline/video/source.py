"""What a user names (files, folders, globs, manifests) becomes `ClipRef`s.

Ids become parts of file names, so every id passes `checked_id`. What a manifest may name is narrower than what the
command line may: it can come from somebody else. Its relative paths stay inside its own folder, and it has no file://.
"""

from __future__ import annotations

import csv
import glob
import hashlib
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow
from pyarrow import parquet

from pipeline.records import ClipRef
from schemas.errors import SourceError

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".asf"}
    | {".flv", ".3gp", ".3g2", ".ogv", ".mxf", ".gif"}
)
"""Files taken out of a folder; a file named on its own may have any name."""

MANIFEST_SUFFIXES = frozenset({".csv", ".jsonl", ".parquet"})
MANIFEST_COLUMNS = ("clip_id", "uri", "source_id", "start_s", "end_s", "focal_px", "licence")
MAX_ID_LENGTH = 120
BUCKET_SCHEMES = ("gs://", "s3://", "hdfs://", "azfs://")
"""Addresses that Beam's file systems can read, each with Beam's extra for it."""

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_NUMBERS = ("start_s", "end_s", "focal_px")


def clips_from_arguments(inputs: Sequence[str], focal_px: float | None = None) -> list[ClipRef]:
    """Clips named by files, folders (searched recursively), globs and manifests, in that order, without repeats.

    `focal_px` is the full image's focal length for clips that state none. An input that leads nowhere does not stop
    the others: it stays in the list and fails when it is read, visibly. Raises SourceError when no input leads
    anywhere, when a manifest is malformed, or when two different clips claim one id.
    """
    clips: list[ClipRef] = []
    unresolved: list[SourceError] = []
    for text in inputs:
        try:
            found = list(_clips_of(text))
        except _LeadsNowhere as error:
            unresolved.append(SourceError(error.message, remedy=error.remedy))
            found = [_clip_of_uri(text)]
        clips += found
    if len(unresolved) == len(inputs):
        raise (
            unresolved[0]
            if unresolved
            else SourceError("no input given.", remedy="Name a video file or a folder.")
        )
    if focal_px is not None:
        _require_positive(focal_px, "--focal-px")
        clips = [clip if clip.focal_px is not None else replace(clip, focal_px=focal_px) for clip in clips]
    return _without_repeats(clips)


def local_path(uri: str) -> Path:
    """The path of a clip on this machine. Raises SourceError for any other kind of address."""
    if not _SCHEME.match(uri):
        if not uri or "\0" in uri:
            raise SourceError(f"{uri!r} is not a path.", remedy="Name a video file.")
        return Path(uri)
    address = urlsplit(uri)
    if address.scheme.lower() == "file" and address.netloc in ("", "localhost"):
        return Path(unquote(address.path))
    raise SourceError(
        f"{uri}: {address.scheme}:// cannot be read here.",
        remedy="Name local files, or clips in buckets (gs://, s3://, hdfs://, azfs://); manifests are local.",
    )


def checked_id(text: str) -> str:
    """`text` if it may become part of a file name: letters, digits, '.', '_' and '-', at most 120, no leading dot."""
    if len(text) > MAX_ID_LENGTH or not _ID.fullmatch(text):
        shown = text if len(text) <= MAX_ID_LENGTH else f"{text[:40]}... ({len(text)} characters)"
        raise SourceError(
            f"the id {shown!r} is not allowed.",
            remedy=f"Use 1 to {MAX_ID_LENGTH} letters, digits, '.', '_' or '-', not starting with a dot.",
        )
    return text


def id_of(uri: str, *window: float | None) -> str:
    """An id made of the file's name and a digest of its absolute address (and of its window, where it has one).

    The same address gives the same id whatever the file holds; two addresses never share one.
    """
    absolute = uri if _SCHEME.match(uri) else os.path.abspath(uri)
    named = [absolute] + ([repr(window)] if any(value is not None for value in window) else [])
    digest = hashlib.sha256("\n".join(named).encode(errors="surrogatepass")).hexdigest()[:10]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(absolute).stem).strip("-")[:60] or "clip"
    return checked_id(f"{stem}-{digest}")


class _LeadsNowhere(SourceError):
    """An input that names nothing that exists here."""


def _clips_of(text: str) -> Iterator[ClipRef]:
    if text.startswith(BUCKET_SCHEMES) and Path(text).suffix.lower() not in MANIFEST_SUFFIXES:
        yield _clip_of_uri(text)
        return
    path = _path_or_nowhere(text)
    if path.suffix.lower() in MANIFEST_SUFFIXES and not path.is_dir():
        yield from _clips_of_manifest(path)
    elif path.is_dir():
        videos = _videos_under(path)
        if not videos:
            raise _LeadsNowhere(
                f"{text}: the folder holds no video files.",
                remedy=f"Known endings: {' '.join(sorted(VIDEO_SUFFIXES))}.",
            )
        yield from (_clip_of_uri(str(video)) for video in videos)
    elif path.exists():
        yield _clip_of_uri(str(path))
    elif glob.has_magic(text):
        matches = [match for match in sorted(glob.glob(text, recursive=True)) if os.path.isfile(match)]
        if not matches:
            raise _LeadsNowhere(f"{text}: matches no file.", remedy="Check the pattern.")
        yield from (_clip_of_uri(match) for match in matches)
    else:
        raise _LeadsNowhere(f"{text}: no such file or folder.", remedy="Check the path.")


def _path_or_nowhere(text: str) -> Path:
    try:
        return local_path(text)
    except SourceError as error:
        raise _LeadsNowhere(error.message, remedy=error.remedy) from None


def _videos_under(folder: Path) -> list[Path]:
    """Video files below a folder, sorted; links are followed, every real folder is visited once.

    A folder that may not be read is in the list itself: it fails, visibly, when it comes to be read.
    """
    found: list[Path] = []

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
        found += [Path(root, name) for name in files if Path(name).suffix.lower() in VIDEO_SUFFIXES]
    return sorted(found)


def _clip_of_uri(uri: str) -> ClipRef:
    identity = id_of(uri)
    return ClipRef(
        clip_id=identity, uri=uri if _SCHEME.match(uri) else os.path.abspath(uri), source_id=identity
    )


def _clips_of_manifest(path: Path) -> Iterator[ClipRef]:
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    try:
        rows = list(readers[path.suffix.lower()](path))
    except FileNotFoundError:
        raise _LeadsNowhere(f"{path}: no such manifest.", remedy="Check the path.") from None
    except (OSError, UnicodeDecodeError, csv.Error, json.JSONDecodeError, pyarrow.ArrowException) as error:
        raise SourceError(
            f"{path}: not a readable manifest: {error}.", remedy="Repair or remake the file."
        ) from None
    if not rows:
        raise _LeadsNowhere(f"{path}: the manifest lists no clips.", remedy="Add rows with at least `uri`.")
    for number, row in enumerate(rows, start=1):
        try:
            yield _clip_of_row(row, path.parent)
        except SourceError as error:
            raise SourceError(f"{path}, row {number}: {error.message}", remedy=error.remedy) from None


def _clip_of_row(row: Mapping[str, Any], folder: Path) -> ClipRef:
    if not isinstance(row, Mapping):
        raise SourceError(f"{row!r} is not an object.", remedy='Write one {"uri": ...} per line.')
    unknown = [str(name) for name in row if name not in MANIFEST_COLUMNS]
    if unknown:
        raise SourceError(
            f"unknown column {', '.join(map(repr, unknown))}.",
            remedy=f"Columns are {', '.join(MANIFEST_COLUMNS)}.",
        )
    given = {name: value for name, value in row.items() if value is not None and value != ""}
    uri = _manifest_uri(given.get("uri"), folder)
    numbers = {name: _number(given[name], name) for name in _NUMBERS if name in given}
    start_s, end_s = numbers.get("start_s"), numbers.get("end_s")
    if (start_s or 0.0) < 0 or (end_s is not None and end_s <= (start_s or 0.0)):
        raise SourceError(
            f"start_s {start_s} and end_s {end_s} make no window.", remedy="Give 0 <= start_s < end_s."
        )
    if "focal_px" in numbers:
        _require_positive(numbers["focal_px"], "focal_px")
    return ClipRef(
        clip_id=checked_id(str(given["clip_id"])) if "clip_id" in given else id_of(uri, start_s, end_s),
        uri=uri,
        source_id=checked_id(str(given["source_id"])) if "source_id" in given else id_of(uri),
        start_s=start_s,
        end_s=end_s,
        focal_px=numbers.get("focal_px"),
        licence=str(given.get("licence", "")),
    )


def _manifest_uri(value: object, folder: Path) -> str:
    if not isinstance(value, str):
        raise SourceError("the row has no `uri`.", remedy="Give every row the path of a video file.")
    if _SCHEME.match(value) or value.lower().startswith("file:"):
        if value.lower().startswith("file:"):
            raise SourceError(
                f"{value}: file: addresses are refused in manifests.", remedy="Write a plain path."
            )
        return value
    if os.path.isabs(value):
        return os.path.normpath(value)
    root = os.path.abspath(folder)
    absolute = os.path.normpath(os.path.join(root, value))
    if os.path.commonpath([root, absolute]) != root:
        raise SourceError(
            f"{value}: leads out of the manifest's folder.",
            remedy="Write an absolute path if you trust this manifest.",
        )
    return absolute


def _number(value: object, name: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise SourceError(
            f"{name} is {value!r}, which is not a number.", remedy="Give a number, or leave it empty."
        )
    return number


def _require_positive(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise SourceError(f"{name} cannot be {value!r}.", remedy="Give the focal length in pixels, above 0.")


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        for row in csv.DictReader(file, strict=True):
            if None in row:
                raise csv.Error(f"a row has more cells than the header: {row[None]}")
            yield row


def _jsonl_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _parquet_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    return parquet.read_table(path).to_pylist()


def _without_repeats(clips: Iterable[ClipRef]) -> list[ClipRef]:
    by_id: dict[str, ClipRef] = {}
    for clip in clips:
        other = by_id.setdefault(clip.clip_id, clip)
        if other != clip:
            raise SourceError(
                f"the clip id {clip.clip_id!r} is claimed by {other.uri} and by {clip.uri}.",
                remedy="Give every clip its own clip_id.",
            )
    return list(by_id.values())
