"""Damaged copies of a dataset's files: every mutant is made from its number alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from schemas.tables import TABLES


@dataclass(frozen=True, kw_only=True)
class Damage:
    """One file of a dataset, and what became of it."""

    number: int
    path: str
    """Relative to the dataset's root."""
    did: str
    data: bytes
    record_agrees: bool
    """Whether the completion record is to name the damaged file as it is: as if its writer were broken."""

    @property
    def is_table(self) -> bool:
        """Whether it is a Parquet file rather than a JSON document."""
        return self.path.endswith(".parquet")


def damaged_file(root: Path, number: int) -> Damage:
    """A mutant of one of the dataset's tables (three of four) or of its JSON documents."""
    rng = np.random.default_rng([6667, number])
    tables = [
        name for name in TABLES if (root / name).is_dir()
    ]  # bodies that were not refined have no `surfaces`
    kind = tables[number % len(tables)] if number % 4 else "meta"
    files = sorted(path for path in (root / kind).rglob("*") if path.suffix in (".parquet", ".json"))
    path = files[int(rng.integers(len(files)))]
    data = path.read_bytes()
    while True:
        if path.suffix == ".json":
            did, mutant = _damaged_document(data, rng)
        else:
            did, mutant = _damaged_table(path, data, rng)
        if mutant != data:
            break
    return Damage(
        number=number,
        path=path.relative_to(root).as_posix(),
        did=did,
        data=mutant,
        record_agrees=path.suffix == ".parquet" and number % 8 >= 5,
    )


def _damaged_table(path: Path, data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    name, change = _TABLE_CHANGES[int(rng.integers(len(_TABLE_CHANGES)))]
    changed = bytearray(data)
    place = change(changed, path, rng)
    return f"{name} at {place} of {len(data)} bytes", bytes(changed)


def _at(data: Sequence[int], rng: np.random.Generator) -> tuple[int, int]:
    """A place, and a length of up to an eighth of the file, most of them short."""
    longest = max(2, len(data) // 8)
    return int(rng.integers(len(data))), int(longest ** rng.uniform()) or 1


def _flip(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    """A bit; one time in two up to 200 of them."""
    places = rng.integers(0, len(data), int(rng.integers(1, 200)) if rng.uniform() < 0.5 else 1)
    for place in places:
        data[int(place)] ^= 1 << int(rng.integers(8))
    return int(places[0])


def _cut(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    at = int(rng.integers(len(data)))
    del data[at:]
    return at


def _remove(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    at, length = _at(data, rng)
    del data[at : at + length]
    return at


def _zero(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    at, length = _at(data, rng)
    data[at : at + length] = bytes(len(data[at : at + length]))
    return at


def _swap(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    (at, length), other = _at(data, rng), int(rng.integers(len(data)))
    data[at : at + length], data[other : other + length] = (
        data[other : other + length],
        data[at : at + length],
    )
    return at


def _duplicate(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    """Bytes from elsewhere in the file over others: the length stays."""
    (at, length), other = _at(data, rng), int(rng.integers(len(data)))
    length = min(length, len(data) - max(at, other))
    data[at : at + length] = data[other : other + length]
    return at


def _footer_length(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    value = int(rng.choice([0, 1, len(data), 2**31, 2**32 - 1, int(rng.integers(2**32))]))
    data[-8:-4] = value.to_bytes(4, "little")
    return len(data) - 8


def _footer(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    """A few bytes of the Thrift metadata: schema, places, statistics, key-value texts."""
    length = int.from_bytes(data[-8:-4], "little")
    at = len(data) - 8 - int(rng.integers(1, length + 1))
    for place in range(at, min(at + int(rng.integers(1, 9)), len(data) - 8)):
        data[place] = int(rng.integers(256))
    return at


def _page_header(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    """A few bytes of the header of a page: sizes, counts, encodings, the checksum."""
    meta = pq.read_metadata(path)
    column = meta.row_group(int(rng.integers(meta.num_row_groups))).column(
        int(rng.integers(meta.num_columns))
    )
    starts = [column.data_page_offset, column.dictionary_page_offset]
    at = int(rng.choice([start for start in starts if start])) + int(rng.integers(24))
    for place in range(at, min(at + int(rng.integers(1, 5)), len(data))):
        data[place] = int(rng.integers(256))
    return at


def _statistics(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    """The smallest or largest value of a column, as the footer states it."""
    meta = pq.read_metadata(path)
    footer_at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    columns = [meta.row_group(0).column(at) for at in range(meta.num_columns)]
    known = [column for column in columns if column.statistics is not None and column.statistics.has_min_max]
    column = known[int(rng.integers(len(known)))]
    physical, value = column.physical_type, column.statistics.max
    kinds = {"DOUBLE": "<f8", "INT64": "<i8", "FLOAT": "<f4"}
    raw = np.array(value, kinds[physical]).tobytes() if physical in kinds else str(value).encode()
    at = bytes(data).find(raw, footer_at)
    at = footer_at if at < 0 else at + int(rng.integers(max(1, len(raw))))
    data[at] ^= 1 << int(rng.integers(8))
    return at


def _text(data: bytearray, path: Path, rng: np.random.Generator) -> int:
    """A byte that is no UTF-8 in a text of the metadata or of a row."""
    words = [word for word in (b"humandepth", b"source", b"frame", b"clip", b"ARROW:schema") if word in data]
    word = words[int(rng.integers(len(words)))]
    places = []
    at = bytes(data).find(word)
    while at >= 0:
        places.append(at)
        at = bytes(data).find(word, at + 1)
    at = places[int(rng.integers(len(places)))] + int(rng.integers(len(word)))
    data[at] = int(rng.choice([0xFF, 0xC0, 0x80, 0xED]))
    return at


_TABLE_CHANGES: tuple[tuple[str, Callable[[bytearray, Path, np.random.Generator], int]], ...] = tuple(
    (change.__name__.strip("_"), change)
    for change in (
        _flip, _cut, _remove, _zero, _swap, _duplicate, _footer_length, _footer, _page_header, _page_header,
        _statistics, _text,
    )
)  # fmt: skip


def _damaged_document(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    kind = ("cut", "flip", "not UTF-8", "value", "value", "key", "nested", "empty")[int(rng.integers(8))]
    at = int(rng.integers(len(data)))
    if kind == "cut":
        return f"cut at {at}", data[:at]
    if kind == "flip":
        return f"flip at {at}", data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
    if kind == "not UTF-8":
        return f"not UTF-8 at {at}", data[:at] + b"\xff\xfe" + data[at:]
    if kind == "nested":
        deep = int(rng.choice([200, 20_000, 2_000_000]))
        return f"nested {deep}", b'{"a":' * deep + b"1" + b"}" * deep
    if kind == "empty":
        return "empty", (b"", b"null", b"[]", b"{}", b"1e999", b'"text"')[int(rng.integers(6))]
    values = json.loads(data)
    owner, key = _place(values, rng)
    if kind == "key":
        owner.pop(key)
        return f"without {key!r}", json.dumps(values).encode()
    strange = [
        None,
        True,
        -1,
        10**30,
        1e308,
        "",
        "\ud800",
        "../../x",
        [],
        {},
        [[[]]],
        {"a": None},
        "9" * 5000,
    ]
    value = strange[int(rng.integers(len(strange)))]
    owner[key] = value
    text = json.dumps(values)
    if rng.uniform() < 0.1:
        text = text.replace("1", "9" * 5000, 1)  # more digits than Python turns into a number
    return f"{key!r} = {value!r:.20}", text.encode()


def _place(values: Any, rng: np.random.Generator) -> tuple[Any, Any]:
    """A random place inside a document: what holds it, and its key or index."""
    places: list[tuple[Any, Any]] = []
    level = [values]
    while level:
        owner = level.pop()
        keys = owner.keys() if isinstance(owner, dict) else range(len(owner))
        places += [(owner, key) for key in keys]
        level += [owner[key] for key in keys if isinstance(owner[key], dict | list)]
    return places[int(rng.integers(len(places)))] if places else ({"": None}, "")
