"""Samples of a dataset as tensors: which rows, in which order, and how a row becomes part of a batch.

Nothing here draws from a hidden generator: the order of an epoch and every random choice about a sample come from
(seed, epoch, position), so any number of workers sees the same, and a run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.dataset as arrow_dataset
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL
from schemas.dataset import Dataset
from schemas.errors import DatasetError, SettingsError
from schemas.tables import SAMPLES
from schemas.where import where_expression
from trainer.augment import ColourDraw
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """B targets with N references each, padded with references that have no valid pixel. Metres, pixels of the maps."""

    inputs: Tensor
    """(B, 4, 512, 512) float32: masked colours in [0, 1], centred base depth."""
    target: Tensor
    """(B, 3, 256, 256) float32 colours in [0, 1]."""
    base_depth: Tensor
    """(B, 1, 256, 256) float32, 0 = background."""
    K: Tensor
    """(B, 3, 3) float32 at map size."""
    references: Tensor
    """(B, N, 3, 256, 256) float32."""
    reference_K: Tensor
    """(B, N, 3, 3)."""
    motion: Tensor
    """(B, N, 6, 256, 256) float32: rotation vector, displacement."""
    valid: Tensor
    """(B, N, 1, 256, 256) float32, 1 where every validity bit is set."""
    sample_ids: tuple[str, ...]

    @property
    def mask(self) -> Tensor:
        """(B, 1, 256, 256) float32: the body pixels."""
        return (self.base_depth > 0).float()

    @property
    def body_window(self) -> tuple[slice, slice]:
        """Rows and columns that hold every body pixel of the batch, and one more on each side where there is one."""
        shown = self.base_depth.amax(dim=(0, 1)) > 0
        windows = []
        for along in (shown.any(1), shown.any(0)):
            at = along.nonzero()
            first, last = (int(at[0]), int(at[-1])) if len(at) else (0, len(along) - 1)
            windows.append(slice(max(first - 1, 0), last + 2))
        return windows[0], windows[1]

    def windowed(self, window: tuple[slice, slice]) -> Batch:
        """The same batch with maps cut to a window; K follows. Losses need nothing else, and cost half as much."""
        rows, columns = window
        K = self.K.clone()
        K[:, 0, 2] -= columns.start
        K[:, 1, 2] -= rows.start
        cut = {
            name: getattr(self, name)[..., rows, columns]
            for name in ("target", "base_depth", "motion", "valid")
        }
        return replace(self, K=K, **cut)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS})


_TENSORS = tuple(field.name for field in fields(Batch) if field.name != "sample_ids")


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

    def __iter__(self):
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

    def row(self, position: int) -> dict[str, Any]:
        """The decoded row of a sample. Raises DatasetError naming file and row when it is damaged."""
        ref = self._index[position]
        try:
            cells = self._row_group(ref.path, ref.row_group).slice(ref.row, 1).to_pylist()[0]
            return SAMPLES.decode_row(cells)
        except (OSError, pa.ArrowInvalid, DatasetError) as error:
            raise DatasetError(
                f"{ref.path}: sample {ref.sample_id} (row {ref.row} of row group {ref.row_group}) is damaged: {error}",
                remedy="Run `python -m pipeline verify` on the dataset, then the pipeline again.",
            ) from error

    def _row_group(self, path: str, group: int) -> pa.Table:
        key = (path, group)
        if key not in self._groups:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                self._groups[key] = file.read_row_group(group)
            while len(self._groups) > CACHED_ROW_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]

    def __getitem__(self, at: tuple[int, int]) -> Batch:
        epoch, position = at
        rng = np.random.default_rng([self._seed, epoch, position])
        row = self.row(position)
        chosen = _chosen_references(len(row["references"]), self._settings.max_references, rng)
        colours = ColourDraw.of(rng) if self._training and self._settings.colour_jitter else None
        return batch_of_row(row, self._settings, chosen=chosen, colours=colours)


def _chosen_references(count: int, most: int, rng: np.random.Generator) -> list[int]:
    return sorted(rng.permutation(count)[:most].tolist())


def batch_of_row(
    row: dict[str, Any],
    settings: DataSettings,
    *,
    chosen: Sequence[int] | None = None,
    colours: ColourDraw | None = None,
) -> Batch:
    """A decoded row of `samples` as a batch of one, with the `chosen` references (default: all)."""
    references = row["references"] if chosen is None else [row["references"][at] for at in chosen]
    image = _recoloured(decode_image(row["image"], IMAGE_PX), colours)
    count = len(references)
    motion = np.stack([reference["motion"] for reference in references]).astype(np.float32)
    valid = np.stack([reference["validity"] == VALID_ALL for reference in references])
    return Batch(
        inputs=network_input(image, row["input_depth"], settings)[None],
        target=_tensor(cv2.resize(image, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA))[None],
        base_depth=torch.from_numpy(row["base_depth"])[None, None],
        K=_map_K(row["K"])[None],
        references=torch.stack(
            [
                _tensor(_recoloured(decode_image(reference["image"], MAP_PX), colours))
                for reference in references
            ]
        )[None],
        reference_K=torch.stack([_map_K(reference["K"]) for reference in references])[None],
        motion=torch.from_numpy(motion).permute(0, 3, 1, 2)[None],
        valid=torch.from_numpy(valid.reshape(count, 1, MAP_PX, MAP_PX)).float()[None],
        sample_ids=(row["sample_id"],),
    )


def network_input(image: np.ndarray, input_depth: np.ndarray, settings: DataSettings) -> Tensor:
    """(4, 512, 512) of colours (512, 512, 3) in [0, 1] and base depth (512, 512) metres (method, section 5).

    Colours outside the base mask are zero unless the background is kept; the depth is centred over the mask.
    """
    mask = input_depth > 0
    if not mask.any():
        raise DatasetError(
            "a base depth map is empty.", remedy="Run `python -m pipeline verify` on the dataset."
        )
    centre = np.median(input_depth[mask]) if settings.centre_by == "median" else input_depth[mask].mean()
    depth = np.where(mask, input_depth - centre, 0).astype(np.float32)
    shown = image if settings.background == "keep" else image * mask[..., None]
    return torch.from_numpy(np.concatenate([shown, depth[..., None]], axis=-1)).permute(2, 0, 1).contiguous()


def collate(parts: Sequence[Batch]) -> Batch:
    """One batch of several; shorter lists of references are padded with ones that have no valid pixel."""
    count = max(part.references.shape[1] for part in parts)

    def joined(name: str) -> Tensor:
        tensors = [getattr(part, name) for part in parts]
        if name in ("references", "reference_K", "motion", "valid"):
            tensors = [_padded(tensor, count, repeat=name == "reference_K") for tensor in tensors]
        return torch.cat(tensors)

    ids = tuple(sample_id for part in parts for sample_id in part.sample_ids)
    return replace(parts[0], sample_ids=ids, **{name: joined(name) for name in _TENSORS})


def _padded(tensor: Tensor, count: int, *, repeat: bool) -> Tensor:
    missing = count - tensor.shape[1]
    if not missing:
        return tensor
    filler = tensor[:, :1] if repeat else torch.zeros_like(tensor[:, :1])
    return torch.cat([tensor, filler.expand(-1, missing, *tensor.shape[2:])], dim=1)


def decode_image(data: bytes, side_px: int) -> np.ndarray:
    """(side_px, side_px, 3) float32 RGB in [0, 1] of a stored crop; half the size is decoded as such (faster)."""
    reduced = side_px * 2 == IMAGE_PX
    flag = cv2.IMREAD_REDUCED_COLOR_2 if reduced else cv2.IMREAD_COLOR
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if image is None or image.shape != (side_px, side_px, 3):
        shape = None if image is None else image.shape
        raise DatasetError(
            f"an image cell holds {shape}, expected {side_px} px square.",
            remedy="Run `python -m pipeline verify`.",
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255


def _recoloured(image: np.ndarray, colours: ColourDraw | None) -> np.ndarray:
    return image if colours is None else colours.applied(image)


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous()


def _map_K(K: np.ndarray) -> Tensor:
    """Intrinsics at image size to map size: two rows scale, nothing is added (centres at +0.5)."""
    scale = np.array([[MAP_PX / IMAGE_PX], [MAP_PX / IMAGE_PX], [1.0]])
    return torch.from_numpy((K * scale).astype(np.float32))
