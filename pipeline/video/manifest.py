"""Manifests: tables of clips (.csv, .jsonl, .parquet), a row each, become `ClipRef`s.

What a manifest may name is narrower than what the command line may: it can come from somebody else. Its relative paths
stay inside its own folder, and it has no file://. A name that is not UTF-8 is written as its bytes in a CSV file, as
`\\udcNN` in JSON, and as a binary `uri` in Parquet.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from pipeline.records import ClipRef
from pipeline.video.address import checked_id, has_scheme, id_of, is_web, uri_of
from schemas.documents import abbreviated
from schemas.errors import SourceError
from schemas.escaping import shown

MANIFEST_SUFFIXES = frozenset({".csv", ".jsonl", ".parquet"})
MANIFEST_COLUMNS = ("clip_id", "uri", "source_id", "start_s", "end_s", "focal_px", "licence")

_NUMBERS = ("start_s", "end_s", "focal_px")
_PANDAS_INDEX = re.compile(r"__index_level_\d+__|Unnamed: \d+|")
"""Columns that `DataFrame.to_parquet` and `to_csv` add for rows that have been filtered; the last has no name."""


class LeadsNowhere(SourceError):
    """An input that names nothing that exists here."""


def clips_of_manifest(path: Path) -> Iterator[ClipRef]:
    """One clip a row, in order. Raises SourceError for a malformed manifest, naming the row."""
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    try:
        rows = list(readers[path.suffix.lower()](path))
    except FileNotFoundError:
        raise LeadsNowhere(f"{path}: no such manifest.", remedy="Check the path.") from None
    except (OSError, ValueError, RecursionError, csv.Error, pyarrow.ArrowException) as error:
        raise SourceError(
            f"{path}: not a readable manifest: {error}.", remedy="Repair or remake the file."
        ) from None
    if not rows:
        raise LeadsNowhere(f"{path}: the manifest lists no clips.", remedy="Add rows with at least `uri`.")
    clips = []
    for number, row in enumerate(rows, start=1):
        try:
            clips.append(_clip_of_row(row, path.parent))
        except SourceError as error:
            raise SourceError(f"{path}, row {number}: {error.message}", remedy=error.remedy) from None
    if all(is_web(clip.uri) for clip in clips):
        raise LeadsNowhere(
            f"{path}: every `uri` is an address on the web ({clips[0].uri}), which `run` does not read.",
            remedy="Fetch them first: python -m pipeline download ADDRESS ... --out FOLDER; then run "
            "FOLDER/clips.jsonl.",
        )
    yield from clips


def require_positive(value: float, name: str) -> None:
    """Raises SourceError for a focal length that is none."""
    if not (math.isfinite(value) and value > 0):
        raise SourceError(f"{name} cannot be {value!r}.", remedy="Give the focal length in pixels, above 0.")


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
    address = _address(given.get("uri"), folder)
    numbers = {name: _number(given[name], name) for name in _NUMBERS if name in given}
    start_s, end_s = numbers.get("start_s"), numbers.get("end_s")
    if (start_s or 0.0) < 0 or (end_s is not None and end_s <= (start_s or 0.0)):
        raise SourceError(
            f"start_s {start_s} and end_s {end_s} are no time window.", remedy="Give 0 <= start_s < end_s."
        )
    if "focal_px" in numbers:
        require_positive(numbers["focal_px"], "focal_px")
    return ClipRef(
        clip_id=checked_id(str(given["clip_id"])) if "clip_id" in given else id_of(address, start_s, end_s),
        uri=uri_of(address),
        source_id=checked_id(str(given["source_id"])) if "source_id" in given else id_of(address),
        start_s=start_s,
        end_s=end_s,
        focal_px=numbers.get("focal_px"),
        licence=shown(given.get("licence", "")),
    )


def _address(value: object, folder: Path) -> str:
    """The path or address that a row names, checked."""
    if not isinstance(value, str):
        raise SourceError("the row has no `uri`.", remedy="Give every row the path of a video file.")
    if has_scheme(value) or value.lower().startswith("file:"):
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


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        for row in csv.DictReader(file, strict=True):
            if None in row:
                raise csv.Error(f"a row has more cells than the header: {abbreviated(row[None])}")
            yield {name: value for name, value in row.items() if not _PANDAS_INDEX.fullmatch(name)}


def _jsonl_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for line in file:
            if line.strip():
                yield json.loads(line)


def _parquet_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    with path.open("rb") as file:  # Arrow takes no path that is not UTF-8
        table = parquet.read_table(file)
    table = table.drop_columns(_index_columns(table.schema))
    for at, field in enumerate(table.schema):
        if pyarrow.types.is_string(field.type) or pyarrow.types.is_large_string(field.type):
            table = table.set_column(at, field.name, table[field.name].cast(pyarrow.large_binary()))
    return [{name: _decoded(value) for name, value in row.items()} for row in table.to_pylist()]


def _decoded(value: object) -> object:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


def _index_columns(schema: pyarrow.Schema) -> list[str]:
    """Columns that hold a pandas index under a name that no manifest has."""
    facts = (schema.metadata or {}).get(b"pandas")
    try:
        named = json.loads(facts).get("index_columns", []) if facts else []
    except (ValueError, AttributeError):
        named = []
    is_index = {name for name in named if isinstance(name, str)}
    return [
        name
        for name in schema.names
        if name not in MANIFEST_COLUMNS and (name in is_index or _PANDAS_INDEX.fullmatch(name))
    ]
