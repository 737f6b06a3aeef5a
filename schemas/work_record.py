"""Completion records: what a finished unit of work was made from, and the files it left."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from schemas.documents import abbreviated, json_object, json_sha256, text_of, whole_number
from schemas.shard import footer_sha256
from schemas.tables import TABLES

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A file that holds the shards of several units, one after the other."""

    path: str
    """Relative to the dataset's root."""
    bytes: int
    sha256: str
    footer_sha256: str = ""
    """Of the Parquet footer alone, which a reader can afford to hash; empty in records of older versions."""

    @classmethod
    def of(cls, local: Path, relative: str) -> Pack:
        """The facts of a complete local file that is to lie at `relative`."""
        with open(local, "rb") as file:
            return cls(
                path=relative,
                bytes=local.stat().st_size,
                sha256=file_sha256(local),
                footer_sha256=footer_sha256(file),
            )

    @classmethod
    def from_values(cls, values: Any) -> Pack:
        """From a record's JSON. Raises ValueError on anything else."""
        return cls(**_file_facts(_mapping(values, "a file")))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """A finished unit's rows of one table: the file it wrote, and where that lies since `compact`."""

    table: str
    path: str
    """Relative to the dataset's root, always with forward slashes."""
    rows: int
    bytes: int
    sha256: str
    footer_sha256: str = ""
    pack: Pack | None = None
    """The file the rows lie in now, if no longer in one of their own."""
    first_row: int = 0
    """Where in the pack they begin."""

    @classmethod
    def of(cls, table: str, rows: int, file: Pack) -> ShardFacts:
        """Of a unit that has a file of its own."""
        return cls(table=table, rows=rows, **asdict(file))

    @property
    def file(self) -> Pack:
        """The file on disk: the pack, or the unit's own."""
        return self.pack or self.own_file

    @property
    def own_file(self) -> Pack:
        """The file that the unit wrote, whether it is still there or not."""
        return Pack(path=self.path, bytes=self.bytes, sha256=self.sha256, footer_sha256=self.footer_sha256)

    @classmethod
    def from_values(cls, values: Any) -> ShardFacts:
        """From a record's JSON. Raises ValueError on anything else."""
        values = dict(_mapping(values, "a shard"))
        pack, table = values.pop("pack", None), values.pop("table", None)
        rows, first_row = values.pop("rows", None), values.pop("first_row", 0)
        facts = cls(
            table=text_of(table, "table"),
            pack=None if pack is None else Pack.from_values(pack),
            rows=whole_number(rows, "rows"),
            first_row=whole_number(first_row, "first_row"),
            **_file_facts(values),
        )
        for path in (facts.path, facts.file.path):
            if path.split("/")[0] != facts.table:
                raise ValueError(f"{abbreviated(path)} is not a file of table {abbreviated(facts.table)}")
        return facts


@dataclass(frozen=True, slots=True, kw_only=True)
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

    def has_rows_of(self, other: WorkRecord) -> bool:
        """Whether it records the same rows of the same work, wherever they lie."""
        return self.fingerprint == other.fingerprint and self._rows() == other._rows()

    def _rows(self) -> list[tuple[str, str]]:
        return [(shard.path, shard.sha256) for shard in self.shards]

    def to_json(self) -> str:
        """Deterministic JSON, with its own hash."""
        values = asdict(self)
        return json.dumps(values | {"sha256": json_sha256(values)}, sort_keys=True, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> WorkRecord:
        """The inverse of `to_json`; raises ValueError, and nothing else, on anything else."""
        values = json_object(text)
        expected = values.pop("sha256", None)  # older records have none
        if expected is not None and expected != json_sha256(values):
            raise ValueError("its content is not what was written: the hash in it differs")
        shards = values.pop("shards", None)
        if not isinstance(shards, list):
            raise ValueError(f"shards is {abbreviated(shards)}, expected a list")
        attempts = whole_number(values.pop("attempts", 1), "attempts")
        names = ("unit_id", "fingerprint", "outcome")
        texts = {name: text_of(values.pop(name, None), name) for name in names}
        if values:
            raise ValueError(f"unknown names {abbreviated(', '.join(values))}")
        if not texts["unit_id"] or "/" in texts["unit_id"] or "\0" in texts["unit_id"]:  # names its files
            raise ValueError(f"unit_id is {abbreviated(texts['unit_id'])}")
        return cls(shards=tuple(map(ShardFacts.from_values, shards)), attempts=attempts, **texts)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file, streamed."""
    with open(path, "rb") as file:
        return sha256_of(file)


def sha256_of(file: Any) -> str:
    """SHA-256 of an open binary file, Python's or Arrow's, from where it stands to its end."""
    return hashlib.file_digest(file, "sha256").hexdigest()


def checked_path(value: Any) -> str:
    """A path TABLE/NAME.parquet below a dataset's root. Raises ValueError for any other: it is opened, and deleted."""
    path = text_of(value, "path")
    table, _, name = path.partition("/")
    if table not in TABLES or not name.endswith(".parquet") or "/" in name or "\0" in name:
        raise ValueError(f"{abbreviated(path)} is not the path of a shard")
    return path


def _file_facts(values: Mapping[str, Any]) -> dict[str, Any]:
    unknown = values.keys() - {"path", "bytes", "sha256", "footer_sha256"}
    if unknown:
        raise ValueError(f"unknown names {abbreviated(', '.join(sorted(unknown)))}")
    hashes = {name: text_of(values.get(name, ""), name) for name in ("sha256", "footer_sha256")}
    for name, value in hashes.items():
        if not _SHA256.fullmatch(value) and (value or name == "sha256"):
            raise ValueError(f"{name} is {abbreviated(value)}, expected 64 hexadecimal digits")
    return {
        "path": checked_path(values.get("path")),
        "bytes": whole_number(values.get("bytes"), "bytes"),
    } | hashes


def _mapping(values: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise ValueError(f"{what} is {abbreviated(values)}, expected an object")
    return values
