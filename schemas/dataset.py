"""The dataset folder: where everything lies, which work is finished, and how to open it.

    README.md                    dataset card
    croissant.json               the same for machines: Croissant metadata, whose paths begin where it lies
    meta/info.json               format, conventions, tables with their columns
    meta/settings.json           resolved settings of the run that made it
    meta/files.json              SHA-256 of the body and the network that the settings name, by setting
    meta/records/<unit>.json     one completion record per unit of work, written last
    meta/cuts/<clip>.json        where a clip was cut, so that a resumed run need not look again
    meta/tombstones/<id>.json    sources that were forgotten and never come back
    meta/summary.json            what came of the last run, and where its time went
    meta/manifest.json           every data file with its rows, bytes and SHA-256, as of the end of the last run
    <table>/<unit>.parquet       one shard per unit and table
    <table>/pack-<hash>.parquet  the shards of many units in one file, after `compact`

A shard counts only if a completion record names it with its size and SHA-256: nothing half-written is ever read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.documents import abbreviated, damaged, read_document, text_of
from schemas.errors import DatasetError
from schemas.shard import REMAKE, footer_sha256, read_rows, row_count, short
from schemas.tables import TABLES
from schemas.work_record import Pack, WorkRecord, file_sha256

FORMAT_VERSION = 1
INFO_PATH = "meta/info.json"
SETTINGS_PATH = "meta/settings.json"
FILES_PATH = "meta/files.json"
RECORDS_PATH = "meta/records"
CUTS_PATH = "meta/cuts"
TOMBSTONES_PATH = "meta/tombstones"
SUMMARY_PATH = "meta/summary.json"
MANIFEST_PATH = "meta/manifest.json"
CROISSANT_PATH = "croissant.json"
SPLITS_PATH = "meta/splits.json"
JOURNAL_PATH = "meta/compaction.json"
"""There only while `compact` replaces shards: what has to be done to finish it."""
INFO_REMEDY = (
    "It is the same in every dataset of one version: copy it from another one, or make one with `run`."
)
SETTINGS_REMEDY = "Delete it and run again with the settings the dataset was made with: that writes it."
SPLITS_REMEDY = 'Write {"training": ["source", ...], "validation": [...]}.'
_REMEDIES = {
    INFO_PATH: INFO_REMEDY,
    SETTINGS_PATH: SETTINGS_REMEDY,
    SPLITS_PATH: SPLITS_REMEDY,
    JOURNAL_PATH: "Delete it and compact again: no row is lost, files go only when every record is written.",
}


def document_remedy(relative: str) -> str:
    """What to do about a damaged JSON file of `meta/`: most are written again by the next run."""
    return _REMEDIES.get(relative, "Delete it and run the pipeline again: that writes it.")


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
            f"{root}/{INFO_PATH} has format {abbreviated(facts.get('format'))} version "
            f"{abbreviated(facts.get('format_version'))}, expected 'humandepth' version {FORMAT_VERSION}.",
            remedy="Use the humandepth version that wrote it.",
        )


def check_dataset(root: Path) -> None:
    """Raises DatasetError unless a folder is a dataset of this format and version, finished or not."""
    if not (root / INFO_PATH).is_file():
        raise DatasetError(
            f"{root} is not a dataset: it has no {INFO_PATH}.",
            remedy="Give the folder that `pipeline run --out` made.",
        )
    check_info(root, read_document(root / INFO_PATH, remedy=INFO_REMEDY))


class Dataset:
    """A dataset opened for reading: finished shards only."""

    def __init__(self, root: Path, records: tuple[WorkRecord, ...]) -> None:
        self.root = root
        self.records = records

    @classmethod
    def open(cls, root: str | Path, *, faults: list[DatasetError] | None = None) -> Dataset:
        """Reads the folder's metadata. Raises DatasetError when it is not a dataset, damaged, or of another version.

        With `faults`, damaged completion records are put there, and their units left out.
        """
        root = Path(root)
        check_dataset(root)
        if (root / JOURNAL_PATH).exists():
            raise DatasetError(
                f"{root}: compaction of its shards was interrupted.",
                remedy="Finish it: python -m pipeline dataset compact.",
            )
        return cls(root, tuple(read_records(root, faults)))

    def shards(self, table: str) -> list[Path]:
        """Paths of the files that hold a table, ordered by unit.

        Raises DatasetError if one is missing, or if its size or its footer is not what its record says. Pages have
        checksums of their own, which are checked when they are read.
        """
        files = [shard.file for record in self.records for shard in record.shards if shard.table == table]
        return [self._checked(file) for file in dict.fromkeys(files)]

    def _checked(self, file: Pack) -> Path:
        path = self.root / file.path
        try:
            size = path.stat().st_size if path.is_file() else -1
            if size == file.bytes and file.footer_sha256:
                with open(path, "rb") as opened:
                    found = footer_sha256(opened)
            else:
                found = file.footer_sha256
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {short(error)}.", remedy=REMAKE) from error
        if size != file.bytes:
            raise DatasetError(
                f"{path} is missing or not {file.bytes} bytes long, as its record says.", remedy=REMAKE
            )
        if found != file.footer_sha256:
            raise DatasetError(
                f"{path} is damaged: its footer is not the one that was written.", remedy=REMAKE
            )
        return path

    def rows(self, table: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Decoded rows of a table in unit order."""
        for path in self.shards(table):
            yield from read_rows(TABLES[table], path, columns)

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
                found = row_count(TABLES[file["table"]], path)
                is_same = file_sha256(path) == file["sha256"]
            except DatasetError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{path} cannot be read: {short(error)}. {REMAKE}")
            else:
                if not is_same:
                    problems.append(f"{path}: content differs from its record's SHA-256. {REMAKE}")
                elif found != file["rows"]:
                    problems.append(f"{path}: holds {found} rows, its records say {file['rows']}. {REMAKE}")
        return problems


def tombstoned_sources(root: Path) -> set[str]:
    """Ids of the sources that were forgotten. Raises DatasetError for a damaged tombstone."""
    return {read_tombstone(path) for path in sorted((root / TOMBSTONES_PATH).glob("*.json"))}


def read_tombstone(path: Path) -> str:
    """The source that a tombstone is of. Raises DatasetError."""
    remedy = 'Write {"source_id": ID} into it, with the forgotten source\'s id: its rows must not come back.'
    try:
        source_id = text_of(read_document(path, remedy=remedy).get("source_id"), "source_id")
        if Path(tombstone_path(source_id)).name != path.name:
            raise ValueError(f"its name is not that of source {abbreviated(source_id)}")
    except ValueError as error:
        raise damaged(path, error, remedy=remedy) from error
    return source_id


def tombstone_path(source_id: str) -> str:
    """Where a source's tombstone lies, relative to the root: any id makes a safe file name."""
    return f"{TOMBSTONES_PATH}/{hashlib.sha256(source_id.encode()).hexdigest()[:16]}.json"


def read_records(root: Path, faults: list[DatasetError] | None = None) -> list[WorkRecord]:
    """All completion records of a folder, ordered by unit id.

    Raises DatasetError naming the first damaged one, or puts them all into `faults` and leaves them out.
    """
    records, found = [], []
    for path in sorted((root / RECORDS_PATH).glob("*.json")):
        try:
            record = WorkRecord.from_json(path.read_bytes())
            if record.unit_id != path.stem:
                raise ValueError(f"it is of unit {record.unit_id!r}")
        except (OSError, ValueError) as error:
            found.append(record_fault(path, error))
        else:
            records.append(record)
    if faults is not None:
        faults += found
    elif found:
        raise found[0]
    return records


def record_fault(path: Path | str, error: Exception) -> DatasetError:
    """The error of a damaged completion record."""
    return DatasetError(
        f"completion record {path} is damaged ({short(error)}).",
        remedy="Delete it and run the pipeline again with the same clips: that makes the unit again.",
    )
