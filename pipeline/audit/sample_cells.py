"""Single rows of `samples`, for pictures: only their row groups and only the asked columns are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from schemas.dataset import Dataset
from schemas.tables import SAMPLES


class SampleCells:
    """Rows of `samples` by their place in the dataset's order. Keeps the last row group in memory."""

    def __init__(self, dataset: Dataset) -> None:
        self._places: list[tuple[Path, int]] = []
        starts = [0]
        for path in dataset.shards("samples"):
            with pq.ParquetFile(path) as file:
                for group in range(file.num_row_groups):
                    self._places.append((path, group))
                    starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
        self._starts = np.array(starts)
        self._held: tuple[int, tuple[str, ...] | None, Any] = (-1, None, None)

    def group_of(self, row: int) -> int:
        """The row group a row lies in: rows that are asked for in this order are read once."""
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    def row(
        self,
        row: int,
        *,
        columns: tuple[str, ...] | None = None,
        references: Iterable[int] | None = None,
    ) -> dict[str, Any]:
        """A decoded row; of its references only those of the given frames (all by default)."""
        group = self.group_of(row)
        if self._held[:2] != (group, columns):
            path, number = self._places[group]
            with pq.ParquetFile(path, memory_map=True) as file:
                table = file.read_row_group(number, columns=list(columns) if columns else None)
            self._held = (group, columns, table)
        cells = self._held[2].slice(row - int(self._starts[group]), 1).to_pylist()[0]
        if references is not None and "references" in cells:
            wanted = set(references)
            cells["references"] = [item for item in cells["references"] if item["frame_index"] in wanted]
        return SAMPLES.decode_row(cells)
