"""Samples of a dataset: which rows, in which order, split how.

Nothing here draws from a hidden generator: the order of an epoch and every random choice about a sample come from
(seed, epoch, position), so any number of workers sees the same, and a run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as arrow_dataset
import pyarrow.parquet as pq
from torch.utils.data import Dataset as TorchDataset

from schemas.dataset import Dataset
from schemas.errors import DatasetError, SettingsError
from schemas.tables import SAMPLES
from schemas.where import where_expression
from trainer.augment import ColourDraw
from trainer.batch import Batch, batch_of_row
from trainer.config import DataSettings

CACHED_ROW_GROUPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRef:
    """Where one row of `samples` lies."""

    sample_id: str
    source_id: str
    track_id: str
    path: str
    row_group: int
    row: int


def read_index(dataset: Dataset, where: str | None = None) -> list[SampleRef]:
    """Every sample for which `where` holds, in the dataset's order; reads scalar columns only.

    Row groups that the statistics rule out are not opened. Raises DatasetError when nothing is left.
    """
    condition, used = where_expression(where, SAMPLES) if where else (None, [])
    names = list(dict.fromkeys(["sample_id", "source_id", "track_id", *used]))
    found: list[SampleRef] = []
    for path in dataset.shards("samples"):
        SAMPLES.check_file(path)
        for group in _row_groups(path, condition):
            with pq.ParquetFile(path) as file:
                table = file.read_row_group(group, columns=names)
            rows = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
            if condition is not None:
                rows = rows.filter(condition)
            columns = ("sample_id", "source_id", "track_id", "row")
            for sample_id, source_id, track_id, row in zip(*(rows[name].to_pylist() for name in columns)):
                found.append(
                    SampleRef(
                        sample_id=sample_id,
                        source_id=source_id,
                        track_id=track_id,
                        path=str(path),
                        row_group=group,
                        row=row,
                    )
                )
    if not found:
        why = f"no sample for which {where!r} holds" if where else "no samples"
        raise DatasetError(
            f"{dataset.root} holds {why}.", remedy="See what was dropped: python -m pipeline audit."
        )
    return found


def _row_groups(path: Path, condition: Any) -> list[int]:
    with pq.ParquetFile(path) as file:
        if condition is None:
            return list(range(file.num_row_groups))
    (fragment,) = arrow_dataset.dataset(str(path), format="parquet").get_fragments()
    return [part.row_groups[0].id for part in fragment.split_by_row_group(condition)]


def split(index: Sequence[SampleRef], settings: DataSettings) -> tuple[list[SampleRef], list[SampleRef]]:
    """Training and validation samples; a source (or track) is never in both.

    A key is held out when the first 8 bytes of its SHA-256 are below `validation_share` of their range: growing the
    dataset never moves a key. At least one is held out where there are several, and at least one trains.
    """
    keys = sorted({_key(ref, settings) for ref in index})
    held = set(settings.held_out)
    if held - set(keys):
        raise SettingsError(
            f"setting 'data.held_out' names {sorted(held - set(keys))}, which the dataset does not hold.",
            remedy=f"Known: {', '.join(keys[:20])}.",
        )
    if not held and settings.validation_share > 0 and len(keys) > 1:
        places = {key: _place(key) for key in keys}
        by_place = sorted(keys, key=places.__getitem__)
        held = {key for key in keys if places[key] < settings.validation_share} or {by_place[0]}
        held -= {by_place[-1]} if len(held) == len(keys) else set()
    training = [ref for ref in index if _key(ref, settings) not in held]
    if not training:
        raise SettingsError(
            "every sample is held out for validation.", remedy="Name fewer keys in data.held_out."
        )
    return training, [ref for ref in index if _key(ref, settings) in held]


def _key(ref: SampleRef, settings: DataSettings) -> str:
    return ref.source_id if settings.split_by == "source" else ref.track_id


def _place(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """(count,) the order in which an epoch visits its samples."""
    return np.random.default_rng([seed, epoch]).permutation(count)


class BatchOrder:
    """Batches of (epoch, sample) pairs from any step on; what a DataLoader takes as `batch_sampler`."""

    def __init__(self, count: int, batch_size: int, seed: int, *, first_step: int, last_step: int) -> None:
        self._count, self._batch_size, self._seed = count, min(batch_size, count), seed
        self._first_step, self._last_step = first_step, last_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        epoch, order = -1, np.empty(0, np.int64)
        for step in range(self._first_step, self._last_step):
            batch = []
            for position in range(step * self._batch_size, (step + 1) * self._batch_size):
                if position // self._count != epoch:
                    epoch = position // self._count
                    order = epoch_order(self._count, self._seed, epoch)
                batch.append((epoch, int(order[position % self._count])))
            yield batch

    def __len__(self) -> int:
        return self._last_step - self._first_step


class Samples(TorchDataset):
    """Rows as `Batch`es of one, by (epoch, position). The epoch decides what is drawn about the sample."""

    def __init__(
        self, index: Sequence[SampleRef], settings: DataSettings, *, seed: int, training: bool
    ) -> None:
        self._index, self._settings, self._seed, self._training = list(index), settings, seed, training
        self._groups: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return len(self._index)

    def row(self, position: int, choose: Callable[[int], list[int]] | None = None) -> dict[str, Any]:
        """The decoded row of a sample, with the references that `choose` picks out of their number (default: all).

        Raises DatasetError naming file and row when it is damaged.
        """
        ref = self._index[position]
        try:
            cells = self._row_group(ref.path, ref.row_group).slice(ref.row, 1).to_pylist()[0]
            if choose is not None:  # before decoding: the others' maps would cost half of the time
                references = cells["references"]
                cells["references"] = [references[at] for at in choose(len(references))]
            return SAMPLES.decode_row(cells)
        except (OSError, pa.ArrowInvalid, DatasetError) as error:
            raise DatasetError(
                f"{ref.path}: sample {ref.sample_id} (row {ref.row} of row group {ref.row_group}) is damaged: {error}",
                remedy="Run `python -m pipeline verify` on the dataset, then the pipeline again.",
            ) from error

    def _row_group(self, path: str, group: int) -> pa.Table:
        key = (path, group)
        if key not in self._groups:
            with pq.ParquetFile(path, memory_map=True, page_checksum_verification=True) as file:
                self._groups[key] = file.read_row_group(group)
            while len(self._groups) > CACHED_ROW_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]

    def __getitem__(self, at: tuple[int, int]) -> Batch:
        epoch, position = at
        rng = np.random.default_rng([self._seed, epoch, position])
        row = self.row(
            position, lambda count: sorted(rng.permutation(count)[: self._settings.max_references].tolist())
        )
        colours = ColourDraw.of(rng) if self._training and self._settings.colour_jitter else None
        return batch_of_row(row, self._settings, colours)
