"""What a training had to say about the data: its `report.parquet`, beside what the dataset says of the same groups."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.audit.sources import SourceRow
from schemas.errors import DatasetError
from schemas.shard import ARROW_ERRORS, short

REPORT_NAME = "report.parquet"
_COLUMNS = pa.schema(
    [
        pa.field("by", pa.string(), nullable=False),
        pa.field("group", pa.string(), nullable=False),
        pa.field("samples", pa.int64(), nullable=False),
        pa.field("seen", pa.int64(), nullable=False),
        pa.field("photo", pa.float64(), nullable=False),
        pa.field("gradient_norm", pa.float64(), nullable=False),
    ]
)
_KINDS = ("source_id", "mean_baseline_m", "valid_fraction", "track_id")


@dataclass(frozen=True, kw_only=True)
class TrainingRow:
    """One source, track, or quarter of the samples by a statistic of their pairs, as a training saw it."""

    by: str
    """`source_id`, `track_id`, `mean_baseline_m` or `valid_fraction`."""
    group: str
    """The source or track, or the range of the statistic."""
    samples: int
    seen: int
    """How often one of them was in a step."""
    photo: float
    """Mean photometric loss."""
    gradient_norm: float
    """Mean |d loss / d offset| of a sample: how hard it pulls."""
    median_baseline_m: float | None
    """Of a source's kept pairs in this dataset."""


def training_rows(path: str, sources: list[SourceRow]) -> list[TrainingRow]:
    """Groups that were seen, kind by kind, those with the largest photometric loss first.

    `path` is a checkpoint folder or the `report.parquet` in it. Raises DatasetError when it is neither.
    """
    file = Path(path) / REPORT_NAME if Path(path).is_dir() else Path(path)
    rows = _rows_of(file)
    baselines = {row.source_id: row.median_baseline_m for row in sources}
    found = [
        TrainingRow(
            **row, median_baseline_m=baselines.get(row["group"]) if row["by"] == "source_id" else None
        )
        for row in rows
        if row["seen"] and row["by"] in _KINDS
    ]
    return sorted(found, key=lambda row: (_KINDS.index(row.by), -row.photo, row.group))


def _rows_of(file: Path) -> list[dict[str, Any]]:
    if file.suffix != ".parquet" or not file.is_file():
        raise _refusal(file, "there is no such report")
    try:
        with pq.ParquetFile(file, page_checksum_verification=True) as opened:
            read = opened.read()
        read.validate(full=True)
        if set(_COLUMNS.names) <= set(read.column_names):
            return list(read.select(_COLUMNS.names).cast(_COLUMNS).to_pylist())
    except ARROW_ERRORS as error:
        raise _refusal(file, short(error)) from error
    raise _refusal(file, f"its columns are not {', '.join(_COLUMNS.names)}")


def _refusal(file: Path, why: str) -> DatasetError:
    return DatasetError(
        f"training report {file} cannot be read ({why}).",
        remedy="Give the checkpoint folder that `python -m trainer fit --out` made.",
    )
