"""The dataset folder: where everything lies, which work is finished, and how to open it.

    README.md                    dataset card
    croissant.json               the same for machines: Croissant metadata, whose paths begin where it lies
    meta/info.json               format, conventions, tables with their columns
    meta/settings.json           resolved settings of the run that made it
    meta/files.json              SHA-256 of the body and the network that the settings name, by setting
    meta/records/<unit>.json     one completion record per unit of work, written last
    meta/units.jsonl             what the records say, in one file; made anew where it is missing
    meta/cuts/<clip>.json        where a clip was cut, so that a resumed run need not look again
    meta/tombstones/<id>.json    sources that were forgotten and never come back
    meta/summary.json            what came of the last run, and where its time went
    meta/manifest.json           every data file with its rows, bytes and SHA-256, as of the end of the last run
    <table>/<unit>.parquet       one shard per unit and table
    <table>/pack-<hash>.parquet  the shards of many units in one file, after a run of many units or `compact`

A shard counts only if a completion record names it with its size and SHA-256: nothing half-written is ever read.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from schemas.addresses import check_reachable, is_remote, reaching
from schemas.documents import abbreviated, damaged, json_object, read_document
from schemas.errors import DatasetError
from schemas.files import Files
from schemas.record_files import JOURNAL_PATH as JOURNAL_PATH
from schemas.record_files import JOURNAL_REMEDY, read_records
from schemas.record_files import RECORDS_PATH as RECORDS_PATH
from schemas.record_files import record_path as record_path
from schemas.shard import REMAKE, Shard, footer_sha256, short
from schemas.tables import TABLES
from schemas.tombstones import TOMBSTONES_PATH as TOMBSTONES_PATH
from schemas.tombstones import read_tombstone as read_tombstone
from schemas.tombstones import tombstone_path as tombstone_path
from schemas.tombstones import tombstoned_sources as tombstoned_sources
from schemas.work_record import Pack, WorkRecord, sha256_of

FORMAT_VERSION = 1
INFO_PATH = "meta/info.json"
SETTINGS_PATH = "meta/settings.json"
FILES_PATH = "meta/files.json"
CUTS_PATH = "meta/cuts"
SUMMARY_PATH = "meta/summary.json"
MANIFEST_PATH = "meta/manifest.json"
CROISSANT_PATH = "croissant.json"
SPLITS_PATH = "meta/splits.json"
INFO_REMEDY = (
    "It is the same in every dataset of one version: copy it from another one, or make one with `run`."
)
SETTINGS_REMEDY = "Delete it and run again with the settings the dataset was made with: that writes it."
SPLITS_REMEDY = 'Write {"training": ["source", ...], "validation": [...]}.'
_REMEDIES = {
    INFO_PATH: INFO_REMEDY,
    SETTINGS_PATH: SETTINGS_REMEDY,
    SPLITS_PATH: SPLITS_REMEDY,
    JOURNAL_PATH: JOURNAL_REMEDY,
}


def document_remedy(relative: str) -> str:
    """What to do about a damaged JSON file of `meta/`: most are written again by the next run."""
    return _REMEDIES.get(relative, "Delete it and run the pipeline again: that writes it.")


def shard_path(table: str, unit_id: str) -> str:
    """Where a unit's shard of a table lies, relative to the root."""
    return f"{table}/{unit_id}.parquet"


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


def check_dataset(root: str | Path) -> None:
    """Raises DatasetError unless a place holds a dataset of this format and version, finished or not."""
    if is_remote(root):
        with reaching(str(root)):
            try:
                content = Files(root).read(INFO_PATH)
            except FileNotFoundError:
                raise OSError(f"it has no {INFO_PATH}") from None
        try:
            info = json_object(content)
        except ValueError as error:
            raise damaged(f"{str(root).rstrip('/')}/{INFO_PATH}", error, remedy=INFO_REMEDY) from error
    else:
        path = Path(root) / INFO_PATH
        if not path.is_file():
            raise DatasetError(
                f"{root} is not a dataset: it has no {INFO_PATH}.",
                remedy="Give the folder that `pipeline run --out` made.",
            )
        info = read_document(path, remedy=INFO_REMEDY)
    check_info(root, info)


class Dataset:
    """A dataset opened for reading, in a folder or a bucket: finished shards only."""

    def __init__(self, files: Files, records: tuple[WorkRecord, ...]) -> None:
        self.files = files
        self.records = records

    @classmethod
    def open(
        cls, root: str | Path, *, faults: list[DatasetError] | None = None, trust_index: bool = True
    ) -> Dataset:
        """Reads the metadata. Raises DatasetError when it is not a dataset, damaged, or of another version.

        With `faults`, damaged completion records are put there, and their units left out. Without `trust_index`
        records are read one by one, as a check of the dataset has to.
        """
        if not is_remote(root):
            check_dataset(root)
            files = Files(root)
            return cls(files, tuple(read_records(files, faults, trust_index=trust_index)))
        check_reachable(str(root))
        with reaching(str(root)):
            check_dataset(root)
            files = Files(root)
            return cls(files, tuple(read_records(files, faults, trust_index=trust_index)))

    @property
    def root(self) -> Path:
        """The folder of a local dataset."""
        if self.files.is_remote:
            raise DatasetError(
                f"{self.files.root} is not in a local folder, which this needs.",
                remedy="Copy the dataset to a disk first.",
            )
        return Path(self.files.root)

    @property
    def name(self) -> str:
        """Its folder or address, for messages."""
        return self.files.root

    def document(self, relative: str) -> bytes | None:
        """What a file of its metadata holds; None where there is none. Raises DatasetError."""
        try:
            return self.files.read(relative)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise damaged(self.files.place(relative), error, remedy=document_remedy(relative)) from error

    def json_document(self, relative: str) -> dict[str, Any] | None:
        """`document` as a JSON object. Raises DatasetError."""
        content = self.document(relative)
        try:
            return None if content is None else json_object(content)
        except ValueError as error:
            raise damaged(self.files.place(relative), error, remedy=document_remedy(relative)) from error

    def shards(self, table: str) -> list[Path | str]:
        """Paths or addresses of the files that hold a table, ordered by their first unit.

        Raises DatasetError if one is missing, or if its size or its footer is not what its record says. Pages have
        checksums of their own, which are checked when they are read. Where files have been put together since the
        dataset was opened, its records are read again first.
        """
        files = self._files_of(table)
        sizes = self._sizes(files)
        if -1 in sizes and self._is_moved():
            files = self._files_of(table)
            sizes = self._sizes(files)
        for file, size in zip(files, sizes):
            self._check(file, size)
        places = [self.files.place(file.path) for file in files]
        return list(places if self.files.is_remote else map(Path, places))

    def _files_of(self, table: str) -> list[Pack]:
        files = [shard.file for record in self.records for shard in record.shards if shard.table == table]
        return list(dict.fromkeys(files))

    def _sizes(self, files: list[Pack]) -> list[int]:
        with reaching(self.name):
            return self.files.sizes([file.path for file in files])

    def _is_moved(self) -> bool:
        """Whether the rows lie in other files now; then `records` are as they are now, with units finished since."""
        now = {record.unit_id: record for record in read_records(self.files, [])}
        moved = [now.get(record.unit_id) for record in self.records]
        if any(new is None or not new.has_rows_of(old) for old, new in zip(self.records, moved)):
            return False
        self.records = tuple(now.values())
        return True

    def _check(self, file: Pack, size: int) -> None:
        path = self.files.place(file.path)
        if size != file.bytes:
            raise DatasetError(
                f"{path} is missing or not {file.bytes} bytes long, as its record says.", remedy=REMAKE
            )
        if not file.footer_sha256:
            return
        try:
            found = self.files.reading(file.path, footer_sha256)
        except OSError as error:
            raise DatasetError(f"{path} cannot be read: {short(error)}.", remedy=REMAKE) from error
        if found != file.footer_sha256:
            raise DatasetError(
                f"{path} is damaged: its footer is not the one that was written.", remedy=REMAKE
            )

    def rows(self, table: str, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Decoded rows of a table, file by file, in the order of units in each."""
        for path in self.shards(table):
            with Shard(TABLES[table], path) as shard:
                yield from shard.decoded(columns)

    def unit_starts(self, table: str) -> dict[str, list[tuple[int, int]]]:
        """Where units begin in the files of a table: (row, the unit's place in the dataset), by row, by file."""
        starts: dict[str, list[tuple[int, int]]] = {}
        for place, record in enumerate(self.records):
            for shard in record.shards:
                if shard.table == table:
                    file = self.files.place(shard.file.path)
                    starts.setdefault(file, []).append((shard.first_row, place))
        return {file: sorted(units) for file, units in starts.items()}

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
        return [problem for file in self.manifest()["files"] if (problem := self._problem(**file))]

    def _problem(self, *, table: str, rows: int, path: str, sha256: str, **facts: object) -> str | None:
        place = self.files.place(path)
        try:
            with Shard(TABLES[table], place) as shard:
                found = shard.rows
            is_same = self.files.reading(path, sha256_of) == sha256
        except DatasetError as error:
            return str(error)
        except OSError as error:
            return f"{place} cannot be read: {short(error)}. {REMAKE}"
        if not is_same:
            return f"{place}: content differs from its record's SHA-256. {REMAKE}"
        return None if found == rows else f"{place}: holds {found} rows, its records say {rows}. {REMAKE}"
