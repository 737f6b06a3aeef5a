"""Damage that is found while rows are read is a DatasetError that names the file, the row group and the remedy."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.shard import Shard, footer_sha256, naming, read_rows
from schemas.tables import FAILURES, SAMPLES
from tests.support.datasets import write_dataset
from tests.support.sample_rows import sample_row

FAILURE = {
    "source_id": "source", "clip_id": "clip", "unit_id": "unit", "uri": "clip.mp4", "stage": "track",
    "reason": "r", "message": "m", "remedy": "d", "retryable": False, "attempts": 1,
}  # fmt: skip


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "damaged-samples.parquet"
    SAMPLES.write([sample_row(seed, references=2) for seed in range(2)], path)
    return path


def rewritten(path: Path, name: str, cells: list) -> Path:
    """The file with other cells in a column, as a broken writer would leave it: every checksum is right."""
    table = pq.read_table(path)
    at = table.schema.get_field_index(name)
    array = pa.array(cells, table.schema.field(at).type)
    pq.write_table(table.set_column(at, table.schema.field(at), array), path, write_page_checksum=True)
    return path


@pytest.mark.parametrize("cell", [b"", b"abc", struct.pack("<Iq", 2**32 - 1, 0) + b"\x28\xb5\x2f\xfd"])
def test_a_map_cell_that_cannot_be_decoded_names_its_row(samples: Path, cell: bytes) -> None:
    good = pq.read_table(samples)["base_depth"].to_pylist()
    rewritten(samples, "base_depth", [good[0], cell])
    rows = read_rows(SAMPLES, samples)
    next(rows)
    with pytest.raises(DatasetError, match=r"damaged-samples.parquet, row 1 of row group 0, .*'base_depth'"):
        next(rows)


def test_a_map_cell_of_another_size_is_refused_before_memory_is_taken(samples: Path) -> None:
    good = pq.read_table(samples)["base_depth"].to_pylist()
    rewritten(samples, "base_depth", [struct.pack("<Iq", 2**31, 0) + good[0][12:], good[1]])
    with pytest.raises(DatasetError, match="claims 2147483648 bytes"):
        next(read_rows(SAMPLES, samples))


def test_a_text_that_is_not_utf8_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    FAILURES.write([FAILURE], path)
    table = pq.read_table(path)
    at = table.schema.get_field_index("message")
    raw = pa.array([b"caf\xe9"], pa.binary()).view(pa.string())
    pq.write_table(table.set_column(at, table.schema.field(at), raw), path)
    with pytest.raises(DatasetError, match=r"texts.parquet, row group 0, is damaged: .*UTF8") as caught:
        list(read_rows(FAILURES, path))
    assert "Run the pipeline again" in caught.value.remedy
    with Shard(FAILURES, path) as shard, pytest.raises(DatasetError, match=r"texts.parquet is damaged"):
        shard.table(["message"], dictionaries=["message"])


def test_an_empty_cell_inside_a_list_names_its_column(samples: Path) -> None:
    K = pq.read_table(samples)["K"].to_pylist()
    rewritten(samples, "K", [K[0], [None, *K[1][1:]]])
    with pytest.raises(DatasetError, match=r"row group 0, is damaged: column 'K' has empty cells"):
        list(read_rows(SAMPLES, samples))


def test_every_flipped_byte_of_a_small_file_is_the_same_rows_or_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "failures.parquet"
    FAILURES.write([FAILURE, FAILURE | {"message": "another"}], path)
    data, rows = path.read_bytes(), list(read_rows(FAILURES, path))
    seen = set()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            seen.add("same" if list(read_rows(FAILURES, path)) == rows else "other rows")
        except DatasetError as error:
            seen.add("named" if str(path) in error.message and error.remedy else str(error))
    assert seen == {"same", "named"}


def test_a_lying_statistic_is_seen_where_a_record_names_the_footer(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "dataset", [sample_row(seed, references=1) for seed in range(3)])
    (path,) = Dataset.open(root).shards("samples")
    data = bytearray(path.read_bytes())
    footer_at = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    raw = np.float64(0.8).tobytes()  # the mean baseline of every row: its smallest and largest value
    for at in range(footer_at, len(data) - 8):
        if data[at : at + 8] == raw:
            data[at : at + 8] = np.float64(0.01).tobytes()
    path.write_bytes(data)
    with Shard(SAMPLES, path) as shard:  # alone it cannot be told: rows are missed without a word
        assert shard.groups() == [0]
        assert shard.groups(pc.field("mean_baseline_m") > 0.5) == []
        assert len(shard.table(["mean_baseline_m"])) == 3
    with pytest.raises(DatasetError, match="its footer is not the one that was written"):
        Dataset.open(root).shards("samples")


def test_the_footer_of_a_file_that_is_none_is_empty(tmp_path: Path) -> None:
    for content in (b"", b"PAR1", b"\xff\xff\xff\xffPAR1", b"0123456789"):
        (tmp_path / "file").write_bytes(content)
        with open(tmp_path / "file", "rb") as file:
            assert footer_sha256(file) == ""


def test_a_bug_is_no_damage() -> None:
    with pytest.raises(KeyError), naming("file"):
        raise KeyError("a bug")
