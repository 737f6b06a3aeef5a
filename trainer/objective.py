"""What a network is trained for and judged by: the warp and the losses put together over a batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.batch import Batch
from trainer.config import LossSettings
from trainer.losses import dressed_loss, photo_loss, reg_loss, smooth_loss, truth_loss
from trainer.metrics import MIN_PIXELS, DepthErrors, depth_errors, mean_errors
from trainer.truth import Truths
from trainer.warp import pixel_rays, project, reference_points, sample_at


@dataclass(frozen=True, kw_only=True, eq=False)
class Losses:
    """The terms of a batch."""

    total: Tensor
    """() the mean over the samples: what is differentiated."""
    photo: Tensor
    """(B,) like the next two; no gradient."""
    smooth: Tensor
    reg: Tensor
    truth: Tensor | None = None
    """Likewise, where known depth supervises."""
    dressed: Tensor | None = None
    """Likewise, where the tracks' dressed shapes teach."""

    def means(self) -> dict[str, float]:
        """Plain numbers for logs."""
        terms = {
            name: getattr(self, name) for name in ("total", "photo", "smooth", "reg", "truth", "dressed")
        }
        return {name: float(term.detach().mean()) for name, term in terms.items() if term is not None}


@dataclass(frozen=True, kw_only=True)
class SampleErrors:
    """One held-out sample: mean |I_t - I_r warped| summed over its references that have a pixel that counts."""

    sample_id: str
    references: int
    """How many those are."""
    base: float
    """With the base depth."""
    refined: float
    constant: float
    """With the sample's mean offset in place of its offset."""
    offset_spread_m: float
    """Mean |offset - its mean| over the mask."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Held-out samples: mean |I_t - I_r warped| with the base depth and with the refined one, over the same pixels.

    Bodies that are measured to turn too far are explained by a surface nearer to their axis, so a constant lowers the
    error too. What it does alone is the control: only beyond that has anything of the surface's shape been learned.
    """

    samples: int
    base_photo_error: float
    photo_error: float
    constant_photo_error: float
    """With each sample's mean offset in place of its offset."""
    mean_offset_m: float
    """Mean |offset|: how much the network changes."""
    depth_errors: DepthErrors | None = None
    """Means over the samples whose truth is known, of the refined depth."""
    base_depth_errors: DepthErrors | None = None
    base_dressed_error_m: float | None = None
    """`dressed_loss` of the base depth, the mean over the samples whose dressed depth is known."""
    dressed_error_m: float | None = None
    """The same of the refined depth."""
    by_sample: tuple[SampleErrors, ...] = ()

    @property
    def dressed_share(self) -> float:
        """Share of what dressed shapes add to the base depth, beyond a constant, that the network finds."""
        base, found = self.base_dressed_error_m or 0.0, self.dressed_error_m or 0.0
        return 1 - found / base if base else 0.0

    @property
    def reduction(self) -> float:
        """Share of the base depth's photometric error that is gone."""
        return 1 - self.photo_error / self.base_photo_error if self.base_photo_error else 0.0

    @property
    def constant_reduction(self) -> float:
        """The share that the mean offset alone takes away."""
        return 1 - self.constant_photo_error / self.base_photo_error if self.base_photo_error else 0.0

    def as_dict(self) -> dict[str, float]:
        """Plain numbers for logs and checkpoints."""
        known = {"": self.depth_errors, "base_": self.base_depth_errors}
        depth = {
            f"{which}depth_{name}": value
            for which, errors in known.items()
            if errors is not None
            for name, value in asdict(errors).items()
        }
        if self.base_dressed_error_m is not None and self.dressed_error_m is not None:
            depth |= {
                "base_dressed_error_m": self.base_dressed_error_m,
                "dressed_error_m": self.dressed_error_m,
                "dressed_share": self.dressed_share,
            }
        return depth | {
            "samples": float(self.samples),
            "base_photo_error": self.base_photo_error,
            "photo_error": self.photo_error,
            "constant_photo_error": self.constant_photo_error,
            "reduction": self.reduction,
            "constant_reduction": self.constant_reduction,
            "mean_offset_m": self.mean_offset_m,
        }


def losses_of(
    batch: Batch, offset: Tensor, settings: LossSettings, *, expected: Tensor | None = None
) -> Losses:
    """L = gamma_photo L_photo + gamma_smooth L_smooth + gamma_reg L_reg of an offset (B, 1, H, W) in metres.

    And gamma_truth L_truth where the batch has true depth, gamma_dressed L_dressed where it has that of dressed shapes.
    Where an offset is expected, smoothness and the pull to zero hold for what differs from it.
    A term of weight 0 is not computed: `photo` is 0 then.
    """
    unexpected = offset if expected is None else offset - expected
    smooth, reg = smooth_loss(unexpected, batch.mask), reg_loss(unexpected, batch.mask)
    photo, truth, dressed = torch.zeros_like(reg), None, None
    if settings.gamma_photo:
        warped, counted = warped_references(batch, offset)
        photo = photo_loss(batch.target, warped, counted, settings)
    total = settings.gamma_photo * photo + settings.gamma_smooth * smooth + settings.gamma_reg * reg
    if settings.gamma_truth and batch.true_depth is not None:
        truth = truth_loss(offset, batch.base_depth, batch.true_depth)
        total = total + settings.gamma_truth * truth
    if settings.gamma_dressed and batch.dressed is not None:
        dressed = dressed_loss(offset, batch.base_depth, batch.dressed)
        total = total + settings.gamma_dressed * dressed
    return Losses(
        total=total.mean(),
        photo=photo.detach(),
        smooth=smooth.detach(),
        reg=reg.detach(),
        truth=truth.detach() if truth is not None else None,
        dressed=dressed.detach() if dressed is not None else None,
    )


def warped_references(batch: Batch, offset: Tensor) -> tuple[Tensor, Tensor]:
    """References seen from the target, (B, N, 3, P, P), and the pixels that count, (B, N, 1, P, P)."""
    scale, depth, K = batch.photo_scale, batch.photo_depth, batch.K
    motion, valid = batch.motion, batch.valid
    if scale > 1:
        offset, motion, valid = finer_maps(offset, motion, valid, batch.mask, depth)
        K = K * torch.tensor([scale, scale, 1.0], dtype=K.dtype, device=K.device)[:, None]
    rays = pixel_rays(K, (depth.shape[-2], depth.shape[-1]))
    points = reference_points(offset, depth, rays, motion)
    px, in_front = project(points, batch.reference_K)
    colours, inside = sample_at(batch.references, px)
    return colours, valid * (in_front & inside)[:, :, None]


def finer_maps(
    offset: Tensor, motion: Tensor, valid: Tensor, mask: Tensor, depth: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Offset, motion and validity at the size of `depth` (B, 1, P, P), the base depth rendered at that size.

    The offset bilinearly; the motion bilinearly over the pixels of the mask alone, up(m M) / up(M), so that nothing of
    the background's zeros comes in; a fine pixel is valid where its coarse one is and it shows the body itself.
    """
    size, count = depth.shape[-2:], motion.shape[1]

    def bilinear(values: Tensor) -> Tensor:
        return functional.interpolate(values, size, mode="bilinear", align_corners=False)

    share = bilinear(mask)
    smooth_motion = bilinear((motion * mask[:, None]).flatten(0, 1)).unflatten(0, (-1, count))
    near = functional.interpolate(valid.flatten(0, 1), size, mode="nearest").unflatten(0, (-1, count))
    return bilinear(offset), smooth_motion / share.clamp(min=1e-6)[:, None], near * (depth > 0)[:, None]


@torch.no_grad()
def validate(
    model: nn.Module, batches: Iterable[Batch], device: torch.device, truths: Truths | None = None
) -> Validation:
    """Errors over held-out samples: every sample weighs the same, and so does every reference.

    The depth's own errors come with it where `truths` knows a sample, those of dressed depth where a batch has it.
    """
    model.eval()
    found: list[SampleErrors] = []
    offsets: list[float] = []
    depths: list[tuple[DepthErrors, DepthErrors]] = []
    dressed: list[tuple[float, float]] = []
    for batch in (loaded.to(device) for loaded in batches):
        offset = model(batch.inputs)
        found += sample_errors(batch, offset)
        has_body = batch.mask.flatten(1).any(1)
        offsets += reg_loss(offset, batch.mask)[has_body].tolist()
        depths += _depth_errors(batch, offset, truths) if truths is not None else []
        dressed += _dressed_errors(batch, offset)
    references = sum(each.references for each in found)
    base_error, error, constant_error = (
        sum(getattr(each, name) for each in found) / references if references else float("nan")
        for name in ("base", "refined", "constant")
    )
    return Validation(
        samples=len(offsets),
        base_photo_error=base_error,
        photo_error=error,
        constant_photo_error=constant_error,
        mean_offset_m=float(torch.tensor(offsets).mean()),
        depth_errors=mean_errors([refined for refined, _ in depths]) if depths else None,
        base_depth_errors=mean_errors([base for _, base in depths]) if depths else None,
        base_dressed_error_m=float(np.mean([base for base, _ in dressed])) if dressed else None,
        dressed_error_m=float(np.mean([found for _, found in dressed])) if dressed else None,
        by_sample=tuple(found),
    )


def sample_errors(batch: Batch, offset: Tensor) -> list[SampleErrors]:
    """Of every sample of a batch, with an offset (B, 1, 256, 256) in metres: all three over the same pixels."""
    mask = batch.mask
    pixels = mask.sum((1, 2, 3), keepdim=True).clamp(min=1)
    mean = (offset * mask).sum((1, 2, 3), keepdim=True) / pixels
    tried = (torch.zeros_like(offset), offset, mean.expand_as(offset))
    warped = [warped_references(batch, each) for each in tried]
    counted = torch.stack([each for _, each in warped]).amin(0)
    has_pixels = counted.flatten(2).sum(-1) > 0
    base, refined, constant = (
        (_photo_errors(batch.target, colours, counted) * has_pixels).sum(1).tolist() for colours, _ in warped
    )
    spread = (((offset - mean).abs() * mask).sum((1, 2, 3)) / pixels[:, 0, 0, 0]).tolist()
    return [
        SampleErrors(
            sample_id=sample_id,
            references=int(has_pixels[at].sum()),
            base=base[at],
            refined=refined[at],
            constant=constant[at],
            offset_spread_m=spread[at],
        )
        for at, sample_id in enumerate(batch.sample_ids)
    ]


def _depth_errors(batch: Batch, offset: Tensor, truths: Truths) -> list[tuple[DepthErrors, DepthErrors]]:
    """Of the refined and the base depth, for samples whose truth is known and shares enough pixels."""
    found = []
    for sample_id, base, added, K in zip(batch.sample_ids, batch.base_depth, offset, batch.K, strict=True):
        base_m, K_at_map = base[0].cpu().numpy(), K.cpu().numpy()
        truth = truths.depth_m(sample_id, K_at_map, base_m.shape)
        if truth is not None and ((base_m > 0) & (truth > 0)).sum() >= MIN_PIXELS:
            refined_m = np.where(base_m > 0, base_m + added[0].cpu().numpy(), 0)
            found.append((depth_errors(refined_m, truth, K_at_map), depth_errors(base_m, truth, K_at_map)))
    return found


def _dressed_errors(batch: Batch, offset: Tensor) -> list[tuple[float, float]]:
    """`dressed_loss` of the base depth and of the refined one, of the samples that have dressed depth."""
    if batch.dressed is None:
        return []
    known = ((batch.dressed[:, :1] > 0) & (batch.base_depth > 0)).flatten(1).any(1)
    losses = [
        dressed_loss(each, batch.base_depth, batch.dressed)[known].tolist() for each in (0 * offset, offset)
    ]
    return list(zip(*losses, strict=True))


def _photo_errors(target: Tensor, warped: Tensor, counted: Tensor) -> Tensor:
    """(B, N) mean |I_t - I_r| of every reference; 0 where it has no pixel that counts."""
    difference = (target[:, None] - warped).abs().mean(2, keepdim=True) * counted
    pixels = counted.flatten(2).sum(-1)
    return difference.flatten(2).sum(-1) / pixels.clamp(min=1)
