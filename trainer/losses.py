"""The losses, one small function each. Every term is a mean over the pixels that count, per sample (B,).

Shapes: B targets, N references, C = 3 colours in [0, 1], H W pixels. Masks are float, 1 where a pixel counts.
Source: method, section 6.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainer.config import LossSettings

WINDOW_PX = 3
GATE_WINDOW_PX = 4
SSIM_GATE_DIFFERENCE = 0.4
SSIM_GATE_TERM = 0.85
COLOUR_GATE_DIFFERENCE = 0.3


def photo_loss(target: Tensor, warped: Tensor, mask: Tensor, settings: LossSettings) -> Tensor:
    """(B,) sum_r sum_px (alpha (1 - SSIM_cs)/2 + (1 - alpha) |I_t - I_r|) M_r / sum_r sum_px M_r.

    target (B, 3, H, W), warped references (B, N, 3, H, W), mask (B, N, 1, H, W). Samples without a valid pixel give 0.
    With `pyramid_levels` the mean over pictures halved 0, 1, ... times; with `minimum_over_references` each pixel
    counts once, with the reference that fits best: sum_px min_r (...) / |{px valid in any r}|.
    """
    total = torch.zeros(len(target), dtype=target.dtype, device=target.device)
    for level in range(settings.pyramid_levels):
        if level:
            target, warped, mask = halved(target, warped, mask)
        per_pixel = photo_terms(target, warped, mask, settings)
        if settings.minimum_over_references:
            total = total + _masked_mean(*best_reference(per_pixel, mask))
        else:
            total = total + _masked_mean(per_pixel, mask)
    return total / settings.pyramid_levels


def photo_terms(target: Tensor, warped: Tensor, mask: Tensor, settings: LossSettings) -> Tensor:
    """(B, N, 1, H, W) alpha (1 - SSIM_cs)/2 + (1 - alpha) |I_t - I_r|, each a mean over colours, gated where set."""
    target = target[:, None].expand_as(warped)
    structure = (1 - ssim_cs(target, warped, mask, settings.ssim_constant)) / 2
    colour = (target - warped).abs()
    structure, colour = structure.mean(2, keepdim=True), colour.mean(2, keepdim=True)
    if settings.gates:
        difference = _local_difference(target, warped)
        with torch.no_grad():
            keeps_structure = (difference < SSIM_GATE_DIFFERENCE) & (structure < SSIM_GATE_TERM)
            keeps_colour = difference < COLOUR_GATE_DIFFERENCE
        structure, colour = structure * keeps_structure, colour * keeps_colour
    return settings.alpha * structure + (1 - settings.alpha) * colour


def best_reference(per_pixel: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 1, H, W) the smallest valid value over the references (dimension 1), and the pixels that have one."""
    least = per_pixel.masked_fill(mask == 0, torch.inf).amin(1)
    seen = mask.amax(1)
    return torch.where(seen > 0, least, torch.zeros_like(least)), seen


def halved(target: Tensor, warped: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures at half the size, means of 2x2 squares, and the squares whose four pixels count."""

    def mean(values: Tensor) -> Tensor:
        pooled: Tensor = functional.avg_pool2d(values.flatten(0, 1), 2).unflatten(0, values.shape[:2])
        return pooled

    return functional.avg_pool2d(target, 2), mean(warped), (mean(mask) == 1).to(mask.dtype)


def ssim_cs(a: Tensor, b: Tensor, mask: Tensor, constant: float) -> Tensor:
    """SSIM without its luminance factor: (2 s_ab + c) / (s_a^2 + s_b^2 + c), shape of a; 1 for identical pictures.

    Means over a 3x3 window in which only masked pixels count, so that what lies outside the mask (where a warped
    picture holds nothing) has no say. a, b (..., C, H, W), mask (..., 1, H, W). 1 where a window is empty.
    """
    share = 1 / _window_sum(mask).clamp(min=1)
    mean_a, mean_b = _window_sum(a * mask) * share, _window_sum(b * mask) * share
    variance_a = (_window_sum(a * a * mask) * share - mean_a * mean_a).clamp(min=0)
    variance_b = (_window_sum(b * b * mask) * share - mean_b * mean_b).clamp(min=0)
    covariance = _window_sum(a * b * mask) * share - mean_a * mean_b
    return (2 * covariance + constant) / (variance_a + variance_b + constant)


def smooth_loss(offset: Tensor, mask: Tensor) -> Tensor:
    """(B,) sum |grad D - grad D_base| per mask pixel, metres per pixel; differences between neighbours in the mask.

    D - D_base is the offset (B, 1, H, W), so the difference of gradients is the gradient of the offset.
    """
    across = (offset[..., 1:] - offset[..., :-1]).abs() * mask[..., 1:] * mask[..., :-1]
    down = (offset[..., 1:, :] - offset[..., :-1, :]).abs() * mask[..., 1:, :] * mask[..., :-1, :]
    return (across.flatten(1).sum(1) + down.flatten(1).sum(1)) / mask.flatten(1).sum(1).clamp(min=1)


def reg_loss(offset: Tensor, mask: Tensor) -> Tensor:
    """(B,) mean |D - D_base| over the mask, metres."""
    return _masked_mean(offset.abs(), mask)


def truth_loss(offset: Tensor, base: Tensor, truth: Tensor) -> Tensor:
    """(B,) min_c mean |D - D_true - c| over the pixels that both know, metres: what `depth_errors` measures.

    D = base + offset; all (B, 1, H, W), 0 in `base` and `truth` = unknown. Where a body stands says nothing about its
    shape. Samples without a known pixel give 0.
    """
    known = (base > 0) & (truth > 0)
    return _mean_beyond_constant(base + offset - truth, known.to(offset.dtype))


def dressed_loss(offset: Tensor, base: Tensor, dressed: Tensor) -> Tensor:
    """(B,) min_c sum w |D - D_dressed - c| / sum w over the pixels that both show, metres; w = 1 / sigma^2.

    D = base + offset, (B, 1, H, W); dressed (B, 2, H, W) is the depth of the track's dressed shape and the standard
    deviation sigma of its offset, 0 = unknown. Refinement cannot tell the offset's mean from a body that stands nearer
    or turns faster, so c is free. A sample without a known pixel gives 0.
    """
    depth, sigma = dressed[:, :1], dressed[:, 1:]
    known = (base > 0) & (depth > 0) & (sigma > 0)
    weight = torch.where(known, sigma, torch.inf) ** -2
    return _mean_beyond_constant(base + offset - depth, weight)


def _mean_beyond_constant(error: Tensor, weight: Tensor) -> Tensor:
    """(B,) min_c sum w |e - c| / sum w of maps (B, 1, H, W): c is the weighted median; 0 where no pixel weighs."""
    total = weight.flatten(1).sum(1).clamp(min=torch.finfo(weight.dtype).tiny)
    with torch.no_grad():
        ordered, order = error.flatten(1).sort(1)
        below = weight.flatten(1).gather(1, order).double().cumsum(1)
        at = torch.searchsorted(below, below[:, -1:] / 2).clamp(max=below.shape[1] - 1)
        median = ordered.gather(1, at)[:, :, None, None]
    return ((error - median).abs() * weight).flatten(1).sum(1) / total


def _masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    return (values * mask).flatten(1).sum(1) / mask.flatten(1).sum(1).clamp(min=1)


def _window_sum(values: Tensor) -> Tensor:
    """Sums over 3x3 windows, zeros outside the picture."""
    flat = values.flatten(0, -4) if values.dim() > 4 else values
    pooled = functional.avg_pool2d(flat, WINDOW_PX, stride=1, padding=WINDOW_PX // 2) * WINDOW_PX**2
    return pooled.view(values.shape)


def _local_difference(target: Tensor, warped: Tensor) -> Tensor:
    """(B, N, 1, H, W): mean colour difference of 4x4 averages (the window reaches 1 up and left, 2 down and right)."""
    with torch.no_grad():
        signed = (target - warped).flatten(0, 1)
        padded = functional.pad(signed, (1, 2, 1, 2), mode="replicate")
        averaged = functional.avg_pool2d(padded, GATE_WINDOW_PX, stride=1)
        difference: Tensor = averaged.abs().mean(1, keepdim=True).unflatten(0, target.shape[:2])
        return difference
