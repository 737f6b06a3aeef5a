"""Prepared samples in the memory of the device that trains: a batch is a few gathers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from material import ClipWork
from torch import Tensor
from torch.nn import functional

from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL, VALID_ON_BODY
from schemas.truth import Truth
from trainer.batch import Batch, scaled_K


@dataclass(eq=False)
class Pictures:
    """Crops of all clips, one after the other."""

    large: Tensor
    """(F, 3, 512, 512) uint8."""
    small: Tensor
    """(F, 3, 256, 256) uint8, means of 2 x 2 pixels."""
    first: dict[str, int]
    """Where a film's crops begin."""

    @classmethod
    def load(cls, works: Sequence[ClipWork], device: torch.device) -> Pictures:
        """Reads what `prepare` wrote."""
        large, small, first, count = [], [], {}, 0
        for work in works:
            images = torch.from_numpy(np.load(work.images_path)).to(device).permute(0, 3, 1, 2).contiguous()
            first[work.film.stem] = count
            count += len(images)
            large.append(images)
            small.append(functional.avg_pool2d(images.float(), 2).round().to(torch.uint8))
        return cls(large=torch.cat(large), small=torch.cat(small), first=first)


@dataclass(eq=False)
class Resident:
    """Samples of one variant. N references each; a sample with fewer repeats none and counts no pixel of the rest."""

    pictures: Pictures
    sample_ids: list[str]
    image_at: Tensor
    references_at: Tensor
    K: Tensor
    reference_K: Tensor
    base_depth: Tensor
    """(S, 256, 256) float32."""
    input_depth: Tensor
    """(S, 512, 512) float32."""
    motion: Tensor
    """(S, N, 6, 256, 256) float16."""
    validity: Tensor
    """(S, N, 256, 256) uint8."""
    truths: dict[int, Truth] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sample_ids)

    @classmethod
    def load(
        cls, works: Sequence[ClipWork], pictures: Pictures, device: torch.device, references: int
    ) -> Resident:
        """Reads what `prepare` wrote. No sample has more than `references` references."""
        clips = [(work.film.stem, dict(np.load(work.samples_path, allow_pickle=False))) for work in works]
        count = sum(len(clip["sample_id"]) for _, clip in clips)
        found = cls(
            pictures=pictures,
            sample_ids=[str(name) for _, clip in clips for name in clip["sample_id"]],
            image_at=torch.zeros(count, dtype=torch.long, device=device),
            references_at=torch.zeros(count, references, dtype=torch.long, device=device),
            K=torch.zeros(count, 3, 3, dtype=torch.float64, device=device),
            reference_K=torch.zeros(count, references, 3, 3, dtype=torch.float64, device=device),
            base_depth=torch.zeros(count, MAP_PX * MAP_PX, device=device),
            input_depth=torch.zeros(count, IMAGE_PX * IMAGE_PX, device=device),
            motion=torch.zeros(count, references, 6, MAP_PX * MAP_PX, dtype=torch.float16, device=device),
            validity=torch.zeros(count, references, MAP_PX * MAP_PX, dtype=torch.uint8, device=device),
        )
        first = 0
        for name, clip in clips:
            found._put(first, pictures.first[name], clip)
            first += len(clip["sample_id"])
        found.base_depth = found.base_depth.view(count, MAP_PX, MAP_PX)
        found.input_depth = found.input_depth.view(count, IMAGE_PX, IMAGE_PX)
        found.motion = found.motion.view(count, references, 6, MAP_PX, MAP_PX)
        found.validity = found.validity.view(count, references, MAP_PX, MAP_PX)
        return found

    def _put(self, first: int, first_picture: int, clip: dict[str, np.ndarray]) -> None:
        """Puts the samples of a clip at `first` and after it."""

        def tensor(name: str) -> Tensor:
            return torch.from_numpy(clip[name]).to(self.K.device)

        own = slice(first, first + len(clip["sample_id"]))
        given = clip["references_at"].shape[1]
        self.image_at[own] = tensor("image_at") + first_picture
        self.K[own] = tensor("K")
        self.references_at[own] = tensor("references_at")[:, :1] + first_picture
        self.references_at[own, :given] = tensor("references_at") + first_picture
        self.reference_K[own] = tensor("reference_K")[:, :1]
        self.reference_K[own, :given] = tensor("reference_K")
        self.base_depth[tensor("owner") + first, tensor("pixel")] = tensor("base_depth")
        self.input_depth[tensor("input_owner") + first, tensor("input_pixel")] = tensor("input_depth")
        owner, place, pixel = tensor("pair_owner") + first, tensor("pair_place"), tensor("pair_pixel")
        self.motion[owner, place, :, pixel] = tensor("motion")
        self.validity[owner, place, pixel] = tensor("validity")
        for at in range(len(clip["sample_id"]) if "true_depth" in clip else 0):
            self.truths[first + at] = Truth(
                depth_m=clip["true_depth"][at],
                K=scaled_K(clip["K"][at], MAP_PX).double().numpy(),
                body_depth_m=clip["true_body"][at],
                part=clip["part"][at],
                pose=str(clip["pose"][at]),
            )

    def batch(
        self,
        positions: Sequence[int],
        *,
        photo_px: int = MAP_PX,
        references: int | None = None,
        centre_by: str = "median",
        is_masked: bool = True,
    ) -> Batch:
        """The samples at these positions as `trainer.batch.collate` would put them together.

        `references`: only the first so many. `is_masked` False counts every body pixel in every reference.
        """
        at = torch.as_tensor(positions, device=self.base_depth.device)
        depth, base = self.input_depth[at][:, None], self.base_depth[at][:, None]
        colours = self.pictures.large[self.image_at[at]].float() / 255
        pictures = self.pictures.large if photo_px == IMAGE_PX else self.pictures.small
        chosen = slice(0, references)
        bits = self.validity[at, chosen]
        counted = (bits == VALID_ALL) if is_masked else (bits & VALID_ON_BODY) > 0
        scale = torch.tensor([0.5, 0.5, 1.0], dtype=torch.float64, device=at.device)[:, None]
        return Batch(
            inputs=torch.cat([colours * (depth > 0), _centred(depth, centre_by)], dim=1),
            target=pictures[self.image_at[at]].float() / 255,
            photo_depth=depth if photo_px == IMAGE_PX else base,
            base_depth=base,
            K=(self.K[at] * scale).float(),
            references=pictures[self.references_at[at, chosen]].float() / 255,
            reference_K=(self.reference_K[at, chosen] * (1.0 if photo_px == IMAGE_PX else scale)).float(),
            motion=self.motion[at, chosen].float(),
            valid=counted[:, :, None].float(),
            reference_numbers=torch.arange(counted.shape[1], device=at.device).expand(len(at), -1),
            sample_ids=tuple(self.sample_ids[position] for position in positions),
        )


def _centred(depth: Tensor, centre_by: str) -> Tensor:
    """Depths (B, 1, 512, 512) minus their median or mean over the body, 0 outside."""
    on_body = depth > 0
    known = torch.where(on_body, depth, torch.nan).flatten(1)
    centre = known.nanmedian(dim=1).values if centre_by == "median" else known.nanmean(dim=1)
    return torch.where(on_body, depth - centre[:, None, None, None], 0.0)
