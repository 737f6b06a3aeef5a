"""A batch: what one training step sees, and how a decoded row of `samples` becomes part of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL
from schemas.errors import DatasetError
from trainer.augment import ColourDraw
from trainer.config import DataSettings


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


def batch_of_row(row: dict[str, Any], settings: DataSettings, colours: ColourDraw | None = None) -> Batch:
    """A decoded row of `samples` as a batch of one."""
    references = row["references"]
    image = _recoloured(decode_image(row["image"], IMAGE_PX), colours)
    count = len(references)
    motion = np.stack([reference["motion"] for reference in references]).astype(np.float32)
    valid = np.stack([reference["validity"] == VALID_ALL for reference in references])
    return Batch(
        inputs=network_input(image, row["input_depth"], settings)[None],
        target=_tensor(cv2.resize(image, (MAP_PX, MAP_PX), interpolation=cv2.INTER_AREA))[None],
        base_depth=torch.from_numpy(row["base_depth"].astype(np.float32))[None, None],
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
