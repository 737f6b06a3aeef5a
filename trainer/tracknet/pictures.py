"""Pictures with bodies: rows of `portraits` or `samples`, cropped and changed, as what the network is trained on.

Every random choice about a picture comes from (seed, epoch, position), as in `trainer.data`. A body vector belongs to
its crop: with p = (P / 2) (1 + s t) the body's origin in pixels, a crop of another centre and side has
s' = s side / side' and t' = (2 p' / P' - 1) / s'. No camera is needed.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from schemas.conventions import JOINT_COUNT, VECTOR_CAMERA, VECTOR_POSE
from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.portraits import PORTRAITS
from schemas.shard import Shard, naming
from schemas.table import TableSpec
from schemas.tables import SAMPLES
from trainer.colour import ColourDraw
from trainer.tracknet.config import PictureSettings

CACHED_GROUPS = 8
_MIRROR = [0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22]
"""Each joint's mirror image in SMPL's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRef:
    """Where one row lies."""

    sample_id: str
    source_id: str
    table: str
    path: str
    row_group: int
    row: int


def read_pictures(roots: Sequence[str]) -> list[PictureRef]:
    """Every row of Parquet files of `portraits` and of datasets' `samples`. Raises DatasetError."""
    found = []
    for root in roots:
        is_file = Path(root).is_file()
        spec = PORTRAITS if is_file else SAMPLES
        for path in [Path(root)] if is_file else Dataset.open(root).shards("samples"):
            with Shard(spec, path) as shard:
                for group in shard.groups():
                    ids = shard.group(group, ["sample_id", "source_id"]).to_pylist()
                    found += [
                        PictureRef(table=spec.name, path=str(path), row_group=group, row=row, **facts)
                        for row, facts in enumerate(ids)
                    ]
    if not found:
        raise DatasetError(
            f"{', '.join(roots)}: no pictures.", remedy="Make some: python -m pipeline studio portraits."
        )
    return found


class Pictures(TorchDataset[tuple[Tensor, Tensor]]):
    """(image (3, P, P) in [0, 1], vector (85,)) by (epoch, position)."""

    def __init__(
        self,
        refs: Sequence[PictureRef],
        settings: PictureSettings,
        image_px: int,
        *,
        seed: int,
        training: bool,
        backgrounds: Sequence[Path] = (),
    ) -> None:
        self._refs, self._settings, self._image_px = list(refs), settings, image_px
        self._seed, self._training, self._backgrounds = seed, training, list(backgrounds)
        self._groups: OrderedDict[tuple[str, int], pa.Table] = OrderedDict()

    def __len__(self) -> int:
        return len(self._refs)

    def __getitem__(self, at: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, position = at
        rng = np.random.default_rng([self._seed, epoch, position])
        image, mask, vector = self.row(position)
        settings, training = self._settings, self._training
        if training and settings.background == "replace":
            own = rng if settings.background_per == "picture" else self._of_sequence(position)
            if own.uniform() < settings.background_share:
                image = np.where(mask[..., None], image, self._background(own, image.shape[0]))
        crop = person_crop(mask, settings.crop_margin)
        if training:
            crop = jittered(crop, settings, rng)
        image, vector = recropped(image, vector, crop, self._image_px)
        if training:
            if settings.flip and rng.uniform() < 0.5:
                image, vector = np.ascontiguousarray(image[:, ::-1]), mirrored(vector)
            if rng.uniform() < settings.occluder_share:
                image = occluded(image, rng)
        colours: NDArray[np.float32] = np.divide(image, 255, dtype=np.float32)
        if training and settings.colour_jitter:
            colours = ColourDraw.of(rng).applied(colours)
            noise = rng.normal(0, rng.uniform(0, 0.02), colours.shape).astype(np.float32)
            colours = colours + noise
        return torch.from_numpy(colours).permute(2, 0, 1).contiguous(), torch.from_numpy(
            vector.astype(np.float32)
        )

    def row(self, position: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.float64]]:
        """Image (P, P, 3) uint8, mask (P, P) bool, vector (85,) float64. Raises DatasetError for a damaged row."""
        ref = self._refs[position]
        spec, mask_name = _table(ref.table)
        cells = self._row_group(ref, mask_name).slice(ref.row, 1).to_pylist()[0]
        with naming(f"{ref.path}, row {ref.row} of row group {ref.row_group},"):
            row = spec.decode_row(cells)
        mask = np.asarray(row[mask_name]) > 0
        image = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR)
        if image is None or image.shape[:2] != mask.shape:
            raise DatasetError(
                f"{ref.path}: {ref.sample_id}: the image is not {mask.shape}.", remedy="Make the file again."
            )
        vector = np.asarray(row["body_vector"], np.float64)
        if not mask.any() or not np.isfinite(vector).all() or vector[0] <= 0:
            raise DatasetError(
                f"{ref.path}: {ref.sample_id}: its mask is empty, or its body vector is not finite or has no scale.",
                remedy="Leave it out.",
            )
        return np.ascontiguousarray(image[..., ::-1]), mask, vector

    def _row_group(self, ref: PictureRef, mask_name: str) -> pa.Table:
        key = (ref.path, ref.row_group)
        if key not in self._groups:
            with Shard(_table(ref.table)[0], ref.path, memory_map=True) as shard:
                self._groups[key] = shard.group(ref.row_group, ["image", "body_vector", mask_name])
            if len(self._groups) > CACHED_GROUPS:
                self._groups.popitem(last=False)
        self._groups.move_to_end(key)
        return self._groups[key]

    def _of_sequence(self, position: int) -> np.random.Generator:
        """The same draws for every picture of a source, whatever the epoch."""
        source = hashlib.sha256(self._refs[position].source_id.encode()).digest()
        return np.random.default_rng([self._seed, int.from_bytes(source[:8], "big")])

    def _background(self, rng: np.random.Generator, size: int) -> NDArray[np.uint8]:
        """(size, size, 3) uint8: a random part of a random picture, or smooth noise."""
        if self._backgrounds:
            path = self._backgrounds[int(rng.integers(len(self._backgrounds)))]
            data = np.fromfile(path, np.uint8)  # OpenCV crashes on a path that is not UTF-8
            image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if image is None:
                raise DatasetError(
                    f"background {path} cannot be decoded.", remedy="Give a folder of JPEG or PNG files."
                )
            side = int(rng.uniform(0.5, 1.0) * min(image.shape[:2]))
            top, left = (int(rng.integers(length - side + 1)) for length in image.shape[:2])
            part = image[top : top + side, left : left + side, ::-1]
            scaled: NDArray[np.uint8] = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
            return scaled
        picture = np.zeros((size, size, 3))
        for cells in (1, 2, 8, 32):
            grain = rng.uniform(0, 255, (cells, cells, 3)).astype(np.float32)
            picture += cv2.resize(grain, (size, size), interpolation=cv2.INTER_CUBIC).reshape(size, size, 3)
        return np.clip(picture / 4, 0, 255).astype(np.uint8)


def _table(name: str) -> tuple[TableSpec, str]:
    """The table and the column whose positive pixels are the person."""
    return (PORTRAITS, "mask") if name == PORTRAITS.name else (SAMPLES, "input_depth")


def person_crop(mask: NDArray[np.bool_], margin: float) -> NDArray[np.float64]:
    """(3,) centre u, centre v, side in pixels: the square around a mask (P, P)."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    low = np.array([columns[0], rows[0]], float)
    high = np.array([columns[-1] + 1, rows[-1] + 1], float)
    return np.array([*(low + high) / 2, margin * (high - low).max()])


def jittered(
    crop: NDArray[np.float64], settings: PictureSettings, rng: np.random.Generator
) -> NDArray[np.float64]:
    """A crop of another size and place near by."""
    side = crop[2] * np.exp(rng.uniform(-1, 1) * np.log1p(settings.scale_jitter))
    return np.array([*(crop[:2] + side * settings.shift_jitter * rng.uniform(-1, 1, 2)), side])


def recropped(
    image: NDArray[np.uint8], vector: NDArray[np.float64], crop: NDArray[np.float64], side_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Image (side_px, side_px, 3) of a crop of (P, P, 3), and the vector that belongs to it."""
    size, (centre_u, centre_v, side) = len(image), crop
    step = side / side_px
    sigma = 0.5 * np.sqrt(max(step**2 - 1.0, 0.0))
    smooth = cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.1 else image
    offset = [centre_u - side / 2 + 0.5 * step - 0.5, centre_v - side / 2 + 0.5 * step - 0.5]
    picture = cv2.warpAffine(
        smooth,
        np.array([[step, 0, offset[0]], [0, step, offset[1]]]),
        (side_px, side_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )
    scale, place = vector[0], vector[1:3]
    origin = size / 2 * (1 + scale * place)
    moved = vector.copy()
    moved[0] = scale * size / side
    moved[1:3] = (2 * (origin - crop[:2]) / side) / moved[0]
    return picture, moved


def mirrored(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """The body (85,) in a picture mirrored from left to right.

    x -> -x turns axis-angles (x, y, z) into (x, -y, -z), swaps left and right joints, and tx into -tx.
    """
    flipped = vector.copy()
    flipped[VECTOR_CAMERA][1] *= -1
    pose = vector[VECTOR_POSE].reshape(JOINT_COUNT, 3)[_MIRROR] * [1, -1, -1]
    flipped[VECTOR_POSE] = pose.reshape(-1)
    return flipped


def occluded(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A rectangle of one colour over up to a fifth of the picture."""
    size = len(image)
    height, width = (rng.uniform(0.1, 0.45, 2) * size).astype(int)
    top, left = int(rng.integers(size - height + 1)), int(rng.integers(size - width + 1))
    covered = image.copy()
    covered[top : top + height, left : left + width] = rng.uniform(0, 255, 3)
    return covered


def stacked(items: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Images (B, 3, P, P) and vectors (B, 85)."""
    images, vectors = zip(*items, strict=True)
    return torch.stack(images), torch.stack(vectors)
