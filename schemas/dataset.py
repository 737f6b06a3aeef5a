"""The dataset folder: where everything lies, which work is finished, and how to open it.

    README.md                    dataset card
    meta/info.json               format, conventions, tables with their columns
    meta/settings.json           resolved settings of the run that made it
    meta/files.json              SHA-256 of the body and the network that the settings name, by setting
    meta/records/<unit>.json     one completion record per unit of work, written last
    meta/cuts/<clip>.json        where a clip was cut, so that a resumed run need not look again
    meta/tombstones/<id>.json    sources that were forgotten and never come back
    meta/summary.json            what came of the last run, and where its time went
    meta/manifest.json           every data file with its rows, bytes and SHA-256, as of the end of the last run
    meta/croissant.json          the same tables for machines, as Croissant metadata
    <table>/<unit>.parquet       one shard per unit and table
    <table>/pack-<hash>.parquet  the shards of many units in one file, after `compact`

A shard counts only if a completion record names it with its size and SHA-256: nothing half-written is ever read.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from schemas.errors import DatasetError
from schemas.tables import TABLES

FORMAT_VERSION = 1
INFO_PATH = "meta/info.json"
SETTINGS_PATH = "meta/settings.json"
FILES_PATH = "meta/files.json"
RECORDS_PATH = "meta/records"
CUTS_PATH = "meta/cuts"
TOMBSTONES_PATH = "meta/tombstones"
SUMMARY_PATH = "meta/summary.json"
MANIFEST_PATH = "meta/manifest.json"
CROISSANT_PATH = "meta/croissant.json"
JOURNAL_PATH = "meta/compaction.json"
"""There only while `compact` replaces shards: what has to be done to finish it."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """A file that holds the shards of several units, one after the other."""

    path: str
    """Relative to the dataset's root."""
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """A finished unit's rows of one table: the file it wrote, and where that lies since `compact`."""

    table: str
    path: str
    """Relative to the dataset's root, always with forward slashes."""
    rows: int
    bytes: int
    sha256: str
    pack: Pack | None = None
    """The file the rows lie in now, if no longer in one of their own."""
    first_row: int = 0
    """Where in the pack they begin."""

    @property
    def file(self) -> Pack:
        """The file on disk: the pack, or the unit's own."""
        return self.pack or Pack(path=self.path, bytes=self.bytes, sha256=self.sha256)

    @classmethod
    def from_values(cls, values: dict[str, Any]) -> ShardFacts:
        """From a record's JSON."""
        pack = values.get("pack")
        return cls(**values | {"pack": Pack(**pack) if pack else None})


@dataclass(frozen=True, kw_only=True)
class WorkRecord:
    """A finished unit of work: what it was made from and the files it left."""

    unit_id: str
    fingerprint: str
    """SHA-256 of everything the rows depend on: code, settings, schema, models, input."""
    outcome: str
    """`kept`, or the reason why the unit has no samples."""
    shards: tuple[ShardFacts, ...]
    attempts: int = 1
    """How often the unit has been tried with this fingerprint."""

    def to_json(self) -> str:
        """Deterministic JSON."""
        return json.dumps(asdict(self), sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> WorkRecord:
        """The inverse of `to_json`; raises ValueError, KeyError or TypeError on anything else."""
        values = json.loads(text)
        shards = tuple(ShardFacts.from_values(shard) for shard in values.pop("shards"))
        return cls(shards=shards, **values)


def shard_path(table: str, unit_id: str) -> str:
    """Where a unit's shard of a table lies, relative to the root."""
    return f"{table}/{unit_id}.parquet"


def record_path(unit_id: str) -> str:
    """Where a unit's completion record lies, relative to the root."""
    return f"{RECORDS_PATH}/{unit_id}.json"


def dataset_info() -> dict[str, Any]:
    """The content of `meta/info.json`: format, conventions and tables."""
    return {
        "format": "humandepth",
        "format_version": FORMAT_VERSION,
        "conventions": {
            "camera_axes": "x right, y down, z forward, metres; depth = z, 0 = background",
            "pixel_centres": "+0.5; (u, v) = (column, row)",
            "motion": "reference_from_target: x_reference = R x_target + t; t = p + d - R p",
            "body_vector": "[s, tx, ty | 72 pose | 10 betas]",
        },
        "tables": [table.facts() for table in TABLES.values()],
    }


def check_info(root: str | Path, info: Any) -> None:
    """Raises DatasetError unless the parsed `meta/info.json` is of this format and version."""
    facts = info if isinstance(info, dict) else {}
    if facts.get("format") != "humandepth" or facts.get("format_version") != FORMAT_VERSION:
        raise DatasetError(
            f"{root} has format {facts.get('format')!r} version {facts.get('format_version')!r}, "
            f"expected 'humandepth' version {FORMAT_VERSION}.",
            remedy="Use the humandepth version that wrote it.",
        )


class Dataset:
    """A dataset opened for reading: finished shards only."""

    def __init__(self, root: Path, records: tuple[WorkRecord, ...]) -> None:
        self.root = root
        self.records = records

    @classmethod
    def open(cls, root: str | Path) -> Dataset:
        """Reads the folder's metadata. Raises DatasetError when it is not a dataset or of another version."""
        root = Path(root)
        try:
            info = json.loads((root / INFO_PATH).read_text())
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{root} is not a dataset: {INFO_PATH} cannot be read ({error}).",
                remedy="Give the folder that `pipeline run --out` made.",
            ) from error
        check_info(root, info)
        if (root / JOURNAL_PATH).exists():
            raise DatasetError(
                f"{root}: packing its shards was interrupted.",
                remedy="Finish it: python -m pipeline compact.",
            )
        return cls(root, tuple(read_records(root)))

    def shards(self, table: str) -> list[Path]:
        """Paths of the files that hold a table, ordered by unit. Raises DatasetError if one has gone missing."""
        files = [shard.file for record in self.records for shard in record.shards if shard.table == table]
        paths = []
        for file in dict.fromkeys(files):
            path = self.root / file.path
            if not path.is_file() or path.stat().st_size != file.bytes:
                raise DatasetError(
                    f"{path} is missing or not {file.bytes} bytes long, as its record says.",
                    remedy="Run the pipeline again on this folder: it remakes the unit.",
                )
            paths.append(path)
        return paths

    def rows(self, table: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Decoded rows of a table in unit order."""
        for path in self.shards(table):
            yield from TABLES[table].read(path, columns)

    def row_count(self, table: str) -> int:
        """How many rows the finished shards of a table hold."""
        return sum(shard.rows for record in self.records for shard in record.shards if shard.table == table)

    def content_hash(self) -> str:
        """SHA-256 over every unit's shards: equal exactly when all rows are byte-identical, packed or not."""
        digest = hashlib.sha256()
        for record in self.records:
            for shard in record.shards:
                digest.update(f"{shard.path} {shard.rows} {shard.sha256}\n".encode())
        return digest.hexdigest()

    def manifest(self) -> dict[str, Any]:
        """The content of `meta/manifest.json`: every data file as its completion records describe it, by path."""
        tables: dict[Pack, str] = {}
        rows: Counter[Pack] = Counter()
        for record in self.records:
            for shard in record.shards:
                tables[shard.file] = shard.table
                rows[shard.file] += shard.rows
        return {
            "content_hash": self.content_hash(),
            "bytes": sum(file.bytes for file in rows),
            "files": [
                {"table": tables[file], "rows": count} | asdict(file)
                for file, count in sorted(rows.items(), key=lambda item: item[0].path)
            ],
        }

    def verify(self) -> list[str]:
        """Rehashes every file and checks its schema and row count; returns what is wrong, one line each."""
        problems = []
        for file in self.manifest()["files"]:
            path = self.root / file["path"]
            try:
                found = TABLES[file["table"]].check_file(path)
            except DatasetError as error:
                problems.append(str(error))
                continue
            if file_sha256(path) != file["sha256"]:
                problems.append(f"{file['path']}: content differs from its record's SHA-256.")
            elif found != file["rows"]:
                problems.append(f"{file['path']}: holds {found} rows, its records say {file['rows']}.")
        return problems


def tombstoned_sources(root: Path) -> set[str]:
    """Ids of the sources that were forgotten."""
    return {
        json.loads(path.read_text())["source_id"] for path in sorted((root / TOMBSTONES_PATH).glob("*.json"))
    }


def tombstone_path(source_id: str) -> str:
    """Where a source's tombstone lies, relative to the root: any id makes a safe file name."""
    return f"{TOMBSTONES_PATH}/{hashlib.sha256(source_id.encode()).hexdigest()[:16]}.json"


def read_records(root: Path) -> list[WorkRecord]:
    """All completion records of a folder, ordered by unit id. Raises DatasetError on a damaged one."""
    records = []
    for path in sorted((root / RECORDS_PATH).glob("*.json")):
        try:
            records.append(WorkRecord.from_json(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"completion record {path} is damaged ({error!r}).",
                remedy="Delete it; the unit is then made again.",
            ) from error
    return records


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, streamed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
