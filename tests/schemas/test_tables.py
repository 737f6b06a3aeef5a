"""Tables on disk: rows come back, other files are refused, the blobs are stored as measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from schemas.errors import DatasetError
from schemas.shard import read_rows, row_count
from schemas.tables import FAILURES, FRAMES, SAMPLES, TABLES
from tests.support.sample_rows import sample_row


def rows_equal(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return bool(np.array_equal(left, right))
    if isinstance(left, list):
        return len(left) == len(right) and all(map(rows_equal, left, right))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(rows_equal(left[key], right[key]) for key in left)
    return bool(left == right)


def test_samples_round_trip_through_a_file(tmp_path: Path) -> None:
    rows = [sample_row(seed, references=1 + seed % 3) for seed in range(5)]
    assert SAMPLES.write(rows, tmp_path / "s.parquet") == 5
    for row, back in zip(rows, read_rows(SAMPLES, tmp_path / "s.parquet"), strict=True):
        decoded = SAMPLES.decode_row(SAMPLES.encode_row(row))
        assert rows_equal(decoded, back)
        assert np.abs(back["base_depth"] - row["base_depth"]).max() < 1e-4
        assert back["references"][0]["image"] == row["references"][0]["image"]


def test_equal_rows_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        SAMPLES.write([sample_row(1, references=2)], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_blobs_have_no_statistics_and_row_groups_are_cut_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schemas.table.ROW_GROUP_BYTES", 60_000)
    SAMPLES.write((sample_row(seed, references=1) for seed in range(6)), tmp_path / "s.parquet")
    meta = pq.read_metadata(tmp_path / "s.parquet")
    assert meta.num_row_groups > 1
    for column in (meta.row_group(0).column(i) for i in range(meta.num_columns)):
        is_blob = column.path_in_schema.split(".")[-1] in (
            "image",
            "motion",
            "validity",
            "base_depth",
            "input_depth",
        )
        assert (column.statistics is None) == is_blob, column.path_in_schema
        assert (column.compression == "UNCOMPRESSED") == is_blob, column.path_in_schema


def test_missing_and_unknown_columns_are_bugs_not_nulls() -> None:
    row = sample_row(0, references=1)
    del row["pts_s"]
    with pytest.raises(ValueError, match=r"missing \['pts_s'\]"):
        SAMPLES.encode_row(row)
    with pytest.raises(ValueError, match="unknown"):
        SAMPLES.encode_row(sample_row(0, references=1) | {"extra": 1})


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not parquet")
    with pytest.raises(DatasetError, match="not a readable Parquet"):
        list(read_rows(SAMPLES, tmp_path / "text"))
    FAILURES.write([], tmp_path / "failures")
    with pytest.raises(DatasetError, match="holds table 'failures'"):
        row_count(SAMPLES, tmp_path / "failures")
    row_count(FAILURES, tmp_path / "failures")


def test_a_flipped_bit_in_a_page_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "s.parquet"
    SAMPLES.write([sample_row(0, references=1)], path)
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(bytes(data))
    with pytest.raises((OSError, DatasetError)):
        list(read_rows(SAMPLES, path))


def test_every_column_says_what_it_is() -> None:
    for table in TABLES.values():
        for column in table.columns:
            assert column.doc, f"{table.name}.{column.name}"
            assert (
                column.unit
                or column.dtype not in ("float64", "float32", "float16")
                or column.name
                in (
                    "K",
                    "body_vector",
                    "tracked_vector",
                )
            ), f"{table.name}.{column.name} has no unit"
    assert FRAMES.column("K").unit == "px"
