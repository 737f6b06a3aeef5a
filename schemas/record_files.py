"""All completion records of a dataset, local or remote: out of the index what it holds, one by one what it does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from schemas.documents import damaged, json_object, text_of
from schemas.errors import DatasetError
from schemas.files import FileFacts, Files
from schemas.record_index import INDEX_PATH, Indexed, entries_of, index_text
from schemas.shard import short
from schemas.work_record import WorkRecord, checked_path

RECORDS_PATH = "meta/records"
JOURNAL_PATH = "meta/compaction.json"
"""There only while shards are put together: what has to be done to finish it."""
JOURNAL_REMEDY = "Delete it and compact again: no row is lost, files go only when every record is written."


def record_path(unit_id: str) -> str:
    """Where a unit's completion record lies, relative to the root."""
    return f"{RECORDS_PATH}/{unit_id}.json"


@dataclass(frozen=True, kw_only=True)
class Journal:
    """A compaction that has been decided and is being carried out."""

    records: tuple[WorkRecord, ...]
    """As they will be."""
    obsolete: tuple[str, ...]
    """Files that no record names then."""


def read_journal(files: Files) -> Journal | None:
    """The journal of a compaction that is under way or was interrupted. Raises DatasetError where it is damaged."""
    try:
        content = files.read(JOURNAL_PATH)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(files.place(JOURNAL_PATH), error, remedy=JOURNAL_REMEDY) from error
    try:
        journal = json_object(content)
        if not all(isinstance(journal.get(name), list) for name in ("records", "obsolete")):
            raise ValueError("it lacks its lists of records and of obsolete files")
        return Journal(
            records=tuple(WorkRecord.from_json(text_of(text, "a record")) for text in journal["records"]),
            obsolete=tuple(checked_path(relative) for relative in journal["obsolete"]),
        )
    except ValueError as error:
        raise damaged(files.place(JOURNAL_PATH), error, remedy=JOURNAL_REMEDY) from error


def read_records(
    files: Files | Path | str, faults: list[DatasetError] | None = None, *, trust_index: bool = True
) -> list[WorkRecord]:
    """All completion records, ordered by unit id.

    Raises DatasetError naming the first damaged one, or puts them all into `faults` and leaves them out. Without
    `trust_index` every record is read, whatever the index says.
    """
    files = files if isinstance(files, Files) else Files(files)
    indexed, found = _read(files, trust_index)
    if faults is not None:
        faults += found
    elif found:
        raise found[0]
    records = {entry.record.unit_id: entry.record for entry in indexed}
    journal = read_journal(files)
    for record in journal.records if journal else ():
        before = records.get(record.unit_id)
        # The files of both are there until it is done.
        if before is not None and record.has_rows_of(before):
            records[record.unit_id] = record
    return list(records.values())


def new_index(files: Files) -> str:
    """What the index has to say now; damaged records are left out."""
    return index_text(_read(files, trust_index=True)[0])


def record_fault(path: str, error: Exception) -> DatasetError:
    """The error of a damaged completion record."""
    return DatasetError(
        f"completion record {path} is damaged ({short(error)}).",
        remedy="Delete it and run the pipeline again with the same clips: that makes the unit again.",
    )


def _read(files: Files, trust_index: bool) -> tuple[list[Indexed], list[DatasetError]]:
    listed = files.listed(RECORDS_PATH, ".json")
    known = _known(files, listed) if trust_index else {}
    missing = [file for file in listed if file.name not in known]
    contents = files.read_many(f"{RECORDS_PATH}/{file.name}" for file in missing)
    faults = []
    for file, content in zip(missing, contents):
        try:
            if isinstance(content, FileNotFoundError):  # its unit was discarded between the listing and now
                continue
            if isinstance(content, OSError):
                raise content
            record = WorkRecord.from_json(content)
            if f"{record.unit_id}.json" != file.name:
                raise ValueError(f"it is of unit {record.unit_id!r}")
        except (OSError, ValueError) as error:
            faults.append(record_fault(files.place(f"{RECORDS_PATH}/{file.name}"), error))
        else:
            known[file.name] = Indexed(record=record, bytes=file.bytes, changed_ns=file.changed_ns)
    return [known[file.name] for file in listed if file.name in known], faults


def _known(files: Files, listed: Sequence[FileFacts]) -> dict[str, Indexed]:
    """What the index says of records that are as they were when it was written, by the records' names."""
    if not listed:
        return {}
    try:
        entries = entries_of(files.read(INDEX_PATH))
        written_ns = _written_ns(files)
    except (OSError, ValueError):
        return {}
    found = {}
    for file in listed:
        entry = entries.get(PurePosixPath(file.name).stem)
        if entry is not None and entry.bytes == file.bytes and _is_as_it_was(entry, file, written_ns):
            found[file.name] = entry
    return found


def _is_as_it_was(entry: Indexed, file: FileFacts, written_ns: int | None) -> bool:
    """Copying a dataset into a bucket gives every file a new time; a record that is older than the index is in it."""
    return entry.changed_ns == file.changed_ns or (written_ns is not None and file.changed_ns < written_ns)


def _written_ns(files: Files) -> int | None:
    """When the index of a bucket was written. On disks times of copied files say nothing."""
    if not files.is_remote:
        return None
    folder, _, name = INDEX_PATH.rpartition("/")
    return next((file.changed_ns for file in files.listed(folder, ".jsonl") if file.name == name), None)
