"""Samples of datasets: which rows, split how, and each as a batch of one.

Nothing here draws from a hidden generator: every random choice about a sample comes from (seed, epoch, position), so
any number of workers sees the same, and a run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import itemgetter
from os.path import exists
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch.utils.data import Dataset as TorchDataset

from schemas.addresses import is_remote
from schemas.conventions import MAP_PX
from schemas.dataset import Dataset
from schemas.errors import DatasetError, SettingsError
from schemas.selections import Selection, selected_references
from schemas.shard import REMAKE, Shard
from schemas.tables import SAMPLES
from schemas.where import where_expression
from trainer.augment import drawn_shift, flipped, moved
from trainer.batch import Batch, batch_of_row, bodiless_batch
from trainer.colour import ColourDraw
from trainer.config import DataSettings
from trainer.dressed import DressedDepths
from trainer.truth import Truths

CACHED_BYTES = 256 * 2**20
"""Row groups kept in memory by each loading process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRef:
    """Where one row of `samples` lies."""

    sample_id: str
    source_id: str
    track_id: str
    path: str
    """Of its shard; an address such as gs://... where the dataset is remote."""
    row_group: int
    row: int
    dataset: int = 0
    """Which of the datasets of a run."""
    reference_count: int = 0
    mean_baseline_m: float = 0.0
    valid_fraction: float = 0.0
    references: tuple[int, ...] | None = None
    """Frames of the references that a selection leaves; None: all."""


def read_index(
    dataset: Dataset,
    where: str | None = None,
    number: int = 0,
    *,
    selection: str | None = None,
) -> list[SampleRef]:
    """Every sample for which `where` holds and that a selection keeps; scalar columns only.

    In the order of units, whatever files they lie in: putting files together changes no training.
    Row groups that the statistics rule out are not opened. Raises DatasetError when nothing is left.
    """
    left = selected_references(dataset, Selection.load(dataset.name, selection)) if selection else None
    condition, used = where_expression(where, SAMPLES) if where else (None, [])
    stored = ["sample_id", "source_id", "track_id", "reference_count", "mean_baseline_m", "valid_fraction"]
    names = list(dict.fromkeys([*stored, *used]))
    ordered: list[tuple[int, SampleRef]] = []
    shards = dataset.shards("samples")
    starts = dataset.unit_starts("samples")
    for path in shards:
        with Shard(SAMPLES, path) as shard:
            tables = [(group, shard.group(group, names)) for group in shard.groups(condition)]
            firsts = [0, *accumulate(shard.group_rows)]
        units = starts[str(path)]
        for group, table in tables:
            rows = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
            if condition is not None:
                rows = rows.filter(condition)
            for facts in rows.select([*stored, "row"]).to_pylist():
                if left is None or facts["sample_id"] in left:
                    facts["references"] = left[facts["sample_id"]] if left is not None else None
                    unit = units[
                        bisect_right(units, (firsts[group] + facts["row"], len(dataset.records))) - 1
                    ]
                    ref = SampleRef(path=str(path), row_group=group, dataset=number, **facts)
                    ordered.append((unit[1], ref))
    found = [ref for _, ref in sorted(ordered, key=itemgetter(0))]
    if not found:
        why = f"no sample for which {where!r} holds" if where else "no samples"
        why += f" in the selection {selection!r}" if selection else ""
        raise DatasetError(
            f"{dataset.name} holds {why}.", remedy="See what was dropped: python -m pipeline audit."
        )
    return found


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
            "no sample is left to train on: all are held out.", remedy="Name fewer keys in data.held_out."
        )
    return training, [ref for ref in index if _key(ref, settings) in held]


def _key(ref: SampleRef, settings: DataSettings) -> str:
    return ref.source_id if settings.split_by == "source" else ref.track_id


def _place(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64


class Samples(TorchDataset[Batch]):
    """Rows as `Batch`es of one, by (epoch, position). The epoch decides what is drawn about the sample."""

    def __init__(
        self,
        index: Sequence[SampleRef],
        settings: DataSettings,
        *,
        seed: int,
        training: bool,
        photo_px: int = MAP_PX,
        truths: Truths | None = None,
        dressed: DressedDepths | None = None,
        with_references: bool = True,
    ) -> None:
        """`with_references=False` reads no reference, for a run that compares no pictures; all else is the same."""
        self._with_references = with_references
        self._truths, self._dressed = truths, dressed
        self._index, self._settings, self._seed, self._training = list(index), settings, seed, training
        self._photo_px = photo_px
        self._groups: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def refs(self) -> list[SampleRef]:
        """Where the samples lie, by position."""
        return self._index

    @property
    def is_remote(self) -> bool:
        """Whether some lie in a remote dataset."""
        return any(is_remote(ref.path) for ref in self._index)

    def row(self, position: int, choose: Callable[[int], list[int]] | None = None) -> dict[str, Any]:
        """The decoded row of a sample, with the references that `choose` picks out of their number (default: all).

        Raises DatasetError naming file and row when it is damaged.
        """
        ref = self._index[position]
        if (ref.path, ref.row_group) not in self._groups and not is_remote(ref.path) and not exists(ref.path):
            self._find_again(ref)
            ref = self._index[position]
        with naming(ref):
            cells = self._row_group(ref.path, ref.row_group).slice(ref.row, 1).to_pylist()[0]
            references = cells["references"]
            if ref.references is not None:
                references = [item for item in references if item["frame_index"] in ref.references]
            if choose is not None:  # before decoding: the others' maps would cost half of the time
                references = [references[at] for at in choose(len(references))]
            cells["references"] = references
            return SAMPLES.decode_row(cells)

    def _find_again(self, missing: SampleRef) -> None:
        """Where the samples of a dataset lie now: a run or `dataset compact` has put its files together meanwhile."""
        root = Path(missing.path).parents[1]
        now = {ref.sample_id: ref for ref in read_index(Dataset.open(root), number=missing.dataset)}
        self._index = [
            replace(old, path=new.path, row_group=new.row_group, row=new.row)
            if Path(old.path).parents[1] == root and (new := now.get(old.sample_id)) is not None
            else old
            for old in self._index
        ]

    def _row_group(self, path: str, group: int) -> pa.Table:
        key = (path, group)
        if key not in self._groups:
            with Shard(SAMPLES, path, memory_map=True) as shard:
                self._groups[key] = shard.group(group)
            while len(self._groups) > 1 and sum(t.nbytes for t in self._groups.values()) > CACHED_BYTES:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]

    def __getitem__(self, at: tuple[int, int]) -> Batch:
        """The sample as (epoch, position) draws it; one without a body where its row cannot be read."""
        epoch, position = at
        settings, rng = self._settings, np.random.default_rng([self._seed, epoch, position])
        numbers: list[int] = []

        def choose(count: int) -> list[int]:
            drawn = sorted(rng.permutation(count)[: settings.max_references].tolist())
            numbers[:] = drawn if self._with_references else drawn[:0]
            return numbers

        try:
            row = self.row(position, choose)
            colours = ColourDraw.of(rng) if self._training and settings.colour_jitter else None
            backdrop = rng.uniform(size=3) if self._training and settings.background == "replace" else None
            with naming(self._index[position]):
                batch = batch_of_row(
                    row,
                    settings,
                    colours,
                    photo_px=self._photo_px,
                    backdrop=backdrop,
                    needs_references=self._with_references,
                )
                batch = replace(batch, reference_numbers=torch.tensor([numbers], dtype=torch.int64))
            if self._truths is not None:
                batch = self._with_truth(batch, self._truths)
            if self._dressed is not None:
                batch = replace(batch, dressed=torch.from_numpy(self._dressed.maps(batch))[None])
        except DatasetError as error:
            return bodiless_batch(self._index[position].sample_id, str(error), self._photo_px)
        if self._training and settings.flip and rng.uniform() < 0.5:
            batch = flipped(batch)
        if self._training and settings.crop_jitter:
            batch = moved(batch, *drawn_shift(batch, settings.crop_jitter, rng))
        return batch

    def _with_truth(self, batch: Batch, truths: Truths) -> Batch:
        """A batch of one with its true depth; unknown everywhere where there is none of it."""
        depth_m = truths.depth_m(batch.sample_ids[0], batch.K[0].double().numpy(), (MAP_PX, MAP_PX))
        known = np.zeros((MAP_PX, MAP_PX)) if depth_m is None else depth_m
        return replace(batch, true_depth=torch.from_numpy(known.astype(np.float32))[None, None])


@contextmanager
def naming(ref: SampleRef) -> Iterator[None]:
    """Errors about a row's content name its file and place."""
    try:
        yield
    except DatasetError as error:
        raise DatasetError(
            f"{ref.path}: sample {ref.sample_id} (row {ref.row} of row group {ref.row_group}) is damaged: "
            f"{error.message}",
            remedy=REMAKE,
        ) from error
