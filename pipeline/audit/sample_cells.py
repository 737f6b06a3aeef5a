"""Single rows of `samples`, for pictures: only their row groups and only the asked columns are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from schemas.dataset import Dataset
from schemas.errors import DatasetError, DecodeError
from schemas.shard import REMAKE, Shard, naming
from schemas.tables import SAMPLES


class SampleCells:
    """Rows of `samples` by their place in the dataset's order. Keeps the last row group in memory."""

    def __init__(self, dataset: Dataset) -> None:
        self._places: list[tuple[Path | str, int]] = []
        starts = [0]
        for path in dataset.shards("samples"):
            with Shard(SAMPLES, path) as shard:
                for group, rows in enumerate(shard.group_rows):
                    self._places.append((path, group))
                    starts.append(starts[-1] + rows)
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
            with Shard(SAMPLES, path, memory_map=True) as shard:
                table = shard.group(number, columns)
            self._held = (group, columns, table)
        cells = self._held[2].slice(row - int(self._starts[group]), 1).to_pylist()[0]
        if references is not None and "references" in cells:
            wanted = set(references)
            cells["references"] = [item for item in cells["references"] if item["frame_index"] in wanted]
        with naming(self._place(row)):
            return SAMPLES.decode_row(cells)

    @contextmanager
    def drawn(self, row: int) -> Iterator[None]:
        """While a picture of a row is decoded and drawn: a cell that is no picture is an error that names the row."""
        try:
            yield
        except (DatasetError, DecodeError) as error:
            raise DatasetError(f"{self._place(row)} is damaged: {error.message}", remedy=REMAKE) from error

    def _place(self, row: int) -> str:
        group = self.group_of(row)
        path, number = self._places[group]
        return f"{path}, row {row - int(self._starts[group])} of row group {number},"
