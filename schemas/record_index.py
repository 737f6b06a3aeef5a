"""The index of completion records: one file in place of as many as there are units.

    {"format": "humandepth-index", "version": 1, "sha256": of all that follows}
    [[path, bytes, sha256, footer_sha256], ...]       every file
    [unit_id, bytes and time of its record, fingerprint, outcome, attempts, [[table, rows, first row, own file, pack]]]
    ...                                               a line a unit; files by their places in the list, or null

It only repeats what records say. A line counts where its record has the size and the time that it names; other records
are read one by one, and an index that is damaged or missing costs time, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.documents import json_object, json_value
from schemas.work_record import Pack, ShardFacts, WorkRecord

INDEX_PATH = "meta/units.jsonl"
_FORMAT, _VERSION = "humandepth-index", 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexed:
    """A record as the index has it, and the file it was read from."""

    record: WorkRecord
    bytes: int
    changed_ns: int


def index_text(entries: Iterable[Indexed]) -> str:
    """The file's content; the same entries give the same text."""
    files: dict[Pack, int] = {}
    lines = [json.dumps(_line(entry, files), separators=(",", ":")) for entry in entries]
    listed = [[file.path, file.bytes, file.sha256, file.footer_sha256] for file in files]
    body = "".join(f"{line}\n" for line in [json.dumps(listed, separators=(",", ":")), *lines])
    digest = hashlib.sha256(body.encode()).hexdigest()
    return json.dumps({"format": _FORMAT, "version": _VERSION, "sha256": digest}) + "\n" + body


def entries_of(content: bytes) -> Mapping[str, Indexed]:
    """The inverse of `index_text`, by unit. Raises ValueError on anything else."""
    head, _, body = content.partition(b"\n")
    facts = json_object(head)
    if (facts.get("format"), facts.get("version")) != (_FORMAT, _VERSION):
        raise ValueError("it is of another version")
    if hashlib.sha256(body).hexdigest() != facts.get("sha256"):
        raise ValueError("its content is not what was written")
    lines = body.splitlines()
    try:
        files = [
            Pack(path=path, bytes=size, sha256=sha256, footer_sha256=footer)
            for path, size, sha256, footer in json_value(lines[0])
        ]
        entries = (_entry(json.loads(line), files) for line in lines[1:])
        return {entry.record.unit_id: entry for entry in entries}
    except (IndexError, TypeError, KeyError) as error:
        raise ValueError(f"it does not hold what an index holds: {error}") from error


def _line(entry: Indexed, files: dict[Pack, int]) -> list[Any]:
    record = entry.record
    shards = []
    for shard in record.shards:
        own = files.setdefault(shard.own_file, len(files))
        pack = None if shard.pack is None else files.setdefault(shard.pack, len(files))
        shards.append([shard.table, shard.rows, shard.first_row, own, pack])
    return [
        record.unit_id, entry.bytes, entry.changed_ns, record.fingerprint, record.outcome, record.attempts, shards,
    ]  # fmt: skip


def _entry(values: list[Any], files: list[Pack]) -> Indexed:
    unit_id, size, changed_ns, fingerprint, outcome, attempts, shards = values
    record = WorkRecord(
        unit_id=unit_id,
        fingerprint=fingerprint,
        outcome=outcome,
        attempts=attempts,
        shards=tuple(_shard(shard, files) for shard in shards),
    )
    return Indexed(record=record, bytes=size, changed_ns=changed_ns)


def _shard(values: list[Any], files: list[Pack]) -> ShardFacts:
    table, rows, first_row, own, pack = values
    file = files[own]
    return ShardFacts(
        table=table,
        path=file.path,
        rows=rows,
        bytes=file.bytes,
        sha256=file.sha256,
        footer_sha256=file.footer_sha256,
        pack=None if pack is None else files[pack],
        first_row=first_row,
    )
