"""Documents of a dataset: whatever is wrong with one is an error that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.dataset import INFO_PATH, Dataset, tombstone_path, tombstoned_sources
from schemas.documents import abbreviated, json_value, read_document
from schemas.errors import DatasetError, SettingsError
from schemas.selections import Selection, selection_path
from schemas.tables import PAIRS
from schemas.where import where_expression
from schemas.work_record import Pack, ShardFacts, WorkRecord
from tests.support.datasets import write_dataset
from tests.support.sample_rows import sample_row

SHARD = ShardFacts(
    table="samples", path="samples/u.parquet", rows=3, bytes=100, sha256="0" * 64,
    pack=Pack(path="samples/pack-1.parquet", bytes=1000, sha256="1" * 64),
)  # fmt: skip
RECORD = WorkRecord(unit_id="u", fingerprint="f", outcome="kept", shards=(SHARD,))
DAMAGED_TEXTS = [
    b"",
    b"{",
    b"\xff\xfe{}",
    b"[]",
    b"null",
    b'{"a":' * 200_000,
    b"9" * 5000,
    b'{"a": ' + b"9" * 5000 + b"}",
]


def changed(path: tuple, value: Any) -> str:
    """The record's JSON with another value, and without the hash that would show it."""
    values = json.loads(RECORD.to_json())
    del values["sha256"]
    owner = values
    for key in path[:-1]:
        owner = owner[key]
    owner[path[-1]] = value
    return json.dumps(values)


def test_a_record_is_read_back_and_its_hash_shows_a_change() -> None:
    text = RECORD.to_json()
    assert WorkRecord.from_json(text) == RECORD
    assert WorkRecord.from_json(text.encode()) == RECORD
    with pytest.raises(ValueError, match="the hash in it differs"):
        WorkRecord.from_json(text.replace('"rows": 3', '"rows": 4'))
    values = json.loads(text)
    del values["sha256"]  # as older versions wrote it
    assert WorkRecord.from_json(json.dumps(values)) == RECORD


@pytest.mark.parametrize("value", [None, True, -1, 1.5, 10**30, "3", [], {}])
@pytest.mark.parametrize(
    "path", [("shards", 0, "rows"), ("shards", 0, "bytes"), ("shards", 0, "pack", "bytes"), ("attempts",)]
)
def test_counts_of_a_record_are_whole_numbers(path: tuple, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{path[-1]} is .*, expected a whole number"):
        WorkRecord.from_json(changed(path, value))


@pytest.mark.parametrize(
    "value",
    [
        "../../etc/passwd.parquet",
        "/etc/x.parquet",
        "samples/../x.parquet",
        "samples/x",
        "frames/u.parquet",
        "nowhere/u.parquet",
        "samples/a\0.parquet",
        3,
    ],
)
@pytest.mark.parametrize("path", [("shards", 0, "path"), ("shards", 0, "pack", "path")])
def test_a_record_never_names_a_file_outside_its_table(path: tuple, value: Any) -> None:
    with pytest.raises(ValueError, match=r"not the path of a shard|not a file of table|expected a text"):
        WorkRecord.from_json(changed(path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("unit_id",), "a/../b"),
        (("unit_id",), ""),
        (("fingerprint",), 1),
        (("shards",), {}),
        (("shards",), [3]),
        (("shards", 0, "sha256"), "ff"),
        (("shards", 0, "table"), None),
        (("more",), 1),
        (("shards", 0, "more"), 1),
    ],
)
def test_other_faults_of_a_record_are_value_errors(path: tuple, value: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        WorkRecord.from_json(changed(path, value))


@pytest.mark.parametrize("text", DAMAGED_TEXTS)
def test_a_damaged_document_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(DatasetError, match=r"x.json cannot be read"):
        read_document(tmp_path / "x.json", remedy="Mend it.")


@pytest.mark.parametrize("text", DAMAGED_TEXTS)
def test_damaged_records_info_selections_and_tombstones_are_named(tmp_path: Path, text: bytes) -> None:
    root = write_dataset(tmp_path / "dataset", [sample_row(0, references=1)])
    Selection(name="wide", pairs="kept").save(root)
    (root / selection_path("wide")).write_bytes(text)
    with pytest.raises(DatasetError, match=r"wide.json cannot be read"):
        Selection.load(root, "wide")
    tombstone = root / tombstone_path("gone")
    tombstone.parent.mkdir()
    tombstone.write_bytes(text)
    with pytest.raises(DatasetError, match=tombstone.name):
        tombstoned_sources(root)
    (record,) = (root / "meta/records").glob("*.json")
    record.write_bytes(text)
    with pytest.raises(
        DatasetError, match=rf"{record.name} is damaged.*Delete it and run the pipeline again"
    ):
        Dataset.open(root)
    (root / INFO_PATH).write_bytes(text)
    with pytest.raises(DatasetError, match=INFO_PATH):
        Dataset.open(root)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"name": 3},
        {"name": "a", "pairs": 3},
        {"name": "a", "pairs": "nowhere > 1"},
        {"name": "a", "pairs": "kept", "x": 1},
        {"name": "../a", "pairs": "kept"},
    ],
)
def test_a_selection_of_wrong_values_is_named(tmp_path: Path, values: dict) -> None:
    path = tmp_path / selection_path("wide")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"format": "humandepth-selection", "version": 1} | values))
    with pytest.raises(DatasetError, match=r"wide.json cannot be read"):
        Selection.load(tmp_path, "wide")


@pytest.mark.parametrize(
    "text",
    [
        "not " * 3000 + "kept", "(" * 500 + "kept" + ")" * 500, "kept" + " and kept" * 50_000,
        "mean_baseline_m > " + "9" * 400, "mean_baseline_m > " + "-" * 5000 + "1", "track_id in [1, 'a', {}]",
    ],
    ids=["nots", "parentheses", "ands", "huge", "signs", "mixed"],
)  # fmt: skip
def test_filters_that_would_end_the_process_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"nested too deeply|more than|cannot be|parsed") as caught:
        where_expression(text, PAIRS)
    assert len(str(caught.value)) < 600


def test_values_in_messages_are_short() -> None:
    assert abbreviated("a") == "'a'"
    assert len(abbreviated("a" * 10_000)) < 300
    assert abbreviated(10**5000) == "a huge int"
    assert json_value("[1]") == [1]
