"""A batch: what one training step sees, and how a decoded row of `samples` becomes part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL
from schemas.errors import DatasetError
from trainer.colour import ColourDraw
from trainer.config import DataSettings


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """B targets with N references each, padded with references that have no valid pixel. Metres.

    Maps have 256 pixels a side; pictures that are compared have P, 256 or 512 (`losses.photo_px`).
    """

    inputs: Tensor
    """(B, 4, 512, 512) float32: masked colours in [0, 1], centred base depth."""
    target: Tensor
    """(B, 3, P, P) float32 colours in [0, 1]."""
    photo_depth: Tensor
    """(B, 1, P, P) float32, the base depth at the pictures' size."""
    base_depth: Tensor
    """(B, 1, 256, 256) float32, 0 = background."""
    K: Tensor
    """(B, 3, 3) float32 at map size."""
    references: Tensor
    """(B, N, 3, P, P) float32."""
    reference_K: Tensor
    """(B, N, 3, 3) at P."""
    motion: Tensor
    """(B, N, 6, 256, 256) float32: rotation vector, displacement."""
    valid: Tensor
    """(B, N, 1, 256, 256) float32, 1 where every validity bit is set."""
    reference_numbers: Tensor
    """(B, N) int64: which of the sample's stored references these are; -1 for padding."""
    sample_ids: tuple[str, ...]
    true_depth: Tensor | None = None
    """(B, 1, 256, 256) float32 metres, 0 = unknown; only where a run is supervised (`losses.gamma_truth`)."""
    dressed: Tensor | None = None
    """(B, 2, 256, 256) float32 metres: depth of the track's dressed shape, and its offset's standard deviation; 0 =
    unknown. Only where a run has them (`data.dressed`)."""
    bad_rows: tuple[str, ...] = ()
    """What was wrong with rows that could not be read. Each is a sample without a body, which costs nothing."""

    @property
    def photo_scale(self) -> int:
        """P / 256."""
        return self.photo_depth.shape[-1] // self.base_depth.shape[-1]

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

    @property
    def known_maps(self) -> tuple[str, ...]:
        """Names of the maps beside the sample's own, at map size, that this batch has."""
        return tuple(name for name in KNOWN_MAPS if getattr(self, name) is not None)

    def windowed(self, window: tuple[slice, slice]) -> Batch:
        """The same batch with maps cut to a window; K follows. Losses need nothing else, and cost half as much."""
        K = self.K.clone()
        K[:, 0, 2] -= window[1].start
        K[:, 1, 2] -= window[0].start
        cut = {name: getattr(self, name)[..., *window] for name in ("base_depth", "motion", "valid")}
        cut |= {name: getattr(self, name)[..., *window] for name in self.known_maps}
        finer = tuple(slice(part.start * self.photo_scale, part.stop * self.photo_scale) for part in window)
        cut |= {name: getattr(self, name)[..., *finer] for name in ("target", "photo_depth")}
        return replace(self, K=K, **cut)

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return self.mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The same batch with every tensor changed."""
        tensors = {name: getattr(self, name) for name in _TENSORS}
        changed: dict[str, Any] = {name: change(each) for name, each in tensors.items() if each is not None}
        return replace(self, **changed)


KNOWN_MAPS = ("true_depth", "dressed")
"""What a network may be taught beside the pictures."""
_TENSORS = tuple(field.name for field in fields(Batch) if field.name not in ("sample_ids", "bad_rows"))


def batch_of_row(
    row: dict[str, Any],
    settings: DataSettings,
    colours: ColourDraw | None = None,
    *,
    photo_px: int = MAP_PX,
    backdrop: NDArray[np.floating] | None = None,
    needs_references: bool = True,
) -> Batch:
    """A decoded row of `samples` as a batch of one. `backdrop` (3,) is the colour that replaces the background."""
    references = row["references"]
    if not references and needs_references:
        raise DatasetError(
            "it has no reference.", remedy="Run `python -m pipeline dataset verify` on the dataset."
        )
    is_finer = photo_px == IMAGE_PX
    image = np.empty((3, IMAGE_PX, IMAGE_PX), np.float32)
    fill_planes(image, row["image"], colours)
    # Shrunk as the references are, by the decoder: by area instead, equal pictures would differ.
    seen = torch.from_numpy(image) if is_finer else torch.empty(3, MAP_PX, MAP_PX)
    if not is_finer:
        fill_planes(seen.numpy(), row["image"], colours)
    pictures = torch.empty(1, len(references), 3, photo_px, photo_px)
    reference_K = torch.empty(1, len(references), 3, 3)
    valid = torch.empty(1, len(references), 1, MAP_PX, MAP_PX)
    motion = torch.empty(1, len(references), 6, MAP_PX, MAP_PX)
    for at, reference in enumerate(references):  # planes already: nothing is moved, only made float32
        motion[0, at] = torch.from_numpy(reference["motion"].transpose(2, 0, 1))
        fill_planes(pictures[0, at].numpy(), reference["image"], colours)
        reference_K[0, at] = scaled_K(reference["K"], photo_px)
        valid[0, at, 0] = torch.from_numpy(reference["validity"] == VALID_ALL)
    return Batch(
        inputs=network_input(image, row["input_depth"], settings, backdrop)[None],
        target=seen[None],
        photo_depth=_depth(row["input_depth" if is_finer else "base_depth"]),
        base_depth=_depth(row["base_depth"]),
        K=scaled_K(row["K"], MAP_PX)[None],
        references=pictures,
        reference_K=reference_K,
        motion=motion,
        valid=valid,
        reference_numbers=torch.arange(len(references))[None],
        sample_ids=(row["sample_id"],),
    )


def bodiless_batch(sample_id: str, why: str, photo_px: int = MAP_PX) -> Batch:
    """A batch of one for a row that cannot be read: no body, no valid pixel, so every loss and gradient of it is 0."""
    K = scaled_K(np.eye(3), MAP_PX)[None]
    pictures = torch.zeros(1, 3, photo_px, photo_px)
    maps = torch.zeros(1, 1, MAP_PX, MAP_PX)
    return Batch(
        inputs=torch.zeros(1, 4, IMAGE_PX, IMAGE_PX),
        target=pictures,
        photo_depth=pictures[:, :1],
        base_depth=maps,
        K=K,
        references=pictures[:, None],
        reference_K=K[:, None],
        motion=maps[:, None].expand(-1, -1, 6, -1, -1),
        valid=maps[:, None],
        reference_numbers=torch.full((1, 1), -1),
        sample_ids=(sample_id,),
        bad_rows=(why,),
    )


def network_input(
    image: NDArray[np.float32],
    input_depth: NDArray[np.floating],
    settings: DataSettings,
    backdrop: NDArray[np.floating] | None = None,
) -> Tensor:
    """(4, 512, 512) of colours (3, 512, 512) in [0, 1] and base depth (512, 512) metres (method, section 5).

    Colours outside the base mask are zero unless the background is kept, or replaced by one colour (grey where none is
    given); the depth is centred over the mask.
    """
    mask = input_depth > 0
    if not mask.any():
        raise DatasetError(
            "a base depth map is empty.", remedy="Run `python -m pipeline dataset verify` on the dataset."
        )
    centre = np.median(input_depth[mask]) if settings.centre_by == "median" else input_depth[mask].mean()
    inputs = np.zeros((4, IMAGE_PX, IMAGE_PX), np.float32)
    if settings.background == "zero":
        np.multiply(image, mask, out=inputs[:3])
    else:
        inputs[:3] = image
    if settings.background == "replace":
        inputs[:3, ~mask] = np.reshape(0.5 if backdrop is None else backdrop, (-1, 1))
    np.subtract(input_depth, centre, out=inputs[3], where=mask, casting="same_kind")
    return torch.from_numpy(inputs)


def collate(parts: Sequence[Batch]) -> Batch:
    """One batch of several; shorter lists of references are padded with ones that have no valid pixel."""
    count = max(part.references.shape[1] for part in parts)

    def joined(name: str) -> Tensor:
        tensors = [getattr(part, name) for part in parts]
        if name in ("references", "reference_K", "motion", "valid", "reference_numbers"):
            tensors = [_padded(tensor, count, name) for tensor in tensors]
        return torch.cat(tensors)

    for name in KNOWN_MAPS:
        known = next((getattr(part, name) for part in parts if getattr(part, name) is not None), None)
        if known is not None:
            parts = [_with_unknown(part, name, known) for part in parts]
    ids = tuple(sample_id for part in parts for sample_id in part.sample_ids)
    bad = tuple(why for part in parts for why in part.bad_rows)
    tensors = {name: joined(name) for name in _TENSORS if getattr(parts[0], name) is not None}
    return replace(parts[0], sample_ids=ids, bad_rows=bad, **tensors)


def _with_unknown(part: Batch, name: str, like: Tensor) -> Batch:
    """The same batch with a map of zeros where it lacks this one."""
    if getattr(part, name) is not None:
        return part
    unknown = torch.zeros_like(part.base_depth).expand(-1, like.shape[1], -1, -1)
    known: dict[str, Any] = {name: unknown}
    return replace(part, **known)


def _padded(tensor: Tensor, count: int, name: str) -> Tensor:
    missing = count - tensor.shape[1]
    if not missing:
        return tensor
    first = tensor[:, :1]
    fillers = {"reference_K": first, "reference_numbers": torch.full_like(first, -1)}
    filler = fillers.get(name, torch.zeros_like(first))
    return torch.cat([tensor, filler.expand(-1, missing, *tensor.shape[2:])], dim=1)


def decode_image(data: bytes, side_px: int) -> NDArray[np.float32]:
    """(side_px, side_px, 3) float32 RGB in [0, 1] of a stored crop; half the size is decoded as such (faster)."""
    rgb = cv2.cvtColor(_decoded(data, side_px), cv2.COLOR_BGR2RGB)
    colours: NDArray[np.float32] = rgb.astype(np.float32) / 255
    return colours


def fill_planes(planes: NDArray[np.float32], data: bytes, colours: ColourDraw | None = None) -> None:
    """Writes `decode_image` of a stored crop, recoloured, as planes (3, P, P): each pixel is made and moved once."""
    side_px = planes.shape[1]
    if colours is not None:
        planes[:] = colours.applied(decode_image(data, side_px)).transpose(2, 0, 1)
        return
    for plane, channel in zip(planes, reversed(cv2.split(_decoded(data, side_px)))):
        np.divide(channel, np.float32(255), out=plane)


def _decoded(data: bytes, side_px: int) -> NDArray[np.uint8]:
    """(side_px, side_px, 3) BGR."""
    reduced = side_px * 2 == IMAGE_PX
    flag = cv2.IMREAD_REDUCED_COLOR_2 if reduced else cv2.IMREAD_COLOR
    image: NDArray[np.uint8] | None = cv2.imdecode(np.frombuffer(data, np.uint8), flag) if data else None
    if image is None or image.shape != (side_px, side_px, 3):
        shape = None if image is None else image.shape
        raise DatasetError(
            f"an image cell holds {shape}, expected {side_px} px square.",
            remedy="Run `python -m pipeline dataset verify`.",
        )
    return image


def _depth(depth_m: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(depth_m.astype(np.float32))[None, None]


def scaled_K(K: NDArray[np.floating], side_px: int) -> Tensor:
    """Intrinsics at image size to another: two rows scale, nothing is added (centres at +0.5)."""
    scale = side_px / IMAGE_PX
    return torch.from_numpy((K * np.array([[scale], [scale], [1.0]])).astype(np.float32))
