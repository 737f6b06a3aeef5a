"""Each loss: closed values, an independent implementation, gradients, and what masks do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from trainer.config import LossSettings
from trainer.losses import photo_loss, reg_loss, smooth_loss, ssim_cs

SETTINGS = LossSettings()


def pictures(seed: int = 0, hw: tuple[int, int] = (12, 10)) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(size=(2, 3, *hw))), torch.from_numpy(rng.uniform(size=(2, 4, 3, *hw)))


def everywhere(warped: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(warped[:, :, :1])


def test_identical_pictures_cost_nothing() -> None:
    target, warped = pictures()
    same = target[:, None].expand_as(warped)
    assert photo_loss(target, same, everywhere(warped), SETTINGS).abs().max() <= 1e-6
    assert photo_loss(target.float(), same.float(), everywhere(warped).float(), SETTINGS).abs().max() <= 1e-6


def test_ssim_is_an_independent_implementations() -> None:
    """scipy's mean filter over 3x3; inside, where no window touches the border."""
    target, warped = pictures(1)
    a, b = target[:, None].expand_as(warped).numpy(), warped.numpy()

    def mean(values: np.ndarray) -> np.ndarray:
        return uniform_filter(values, size=(1, 1, 1, 3, 3))

    variance_a, variance_b = mean(a * a) - mean(a) ** 2, mean(b * b) - mean(b) ** 2
    covariance = mean(a * b) - mean(a) * mean(b)
    expected = (2 * covariance + 9e-4) / (variance_a + variance_b + 9e-4)
    found = ssim_cs(torch.from_numpy(a.copy()), warped, everywhere(warped), 9e-4).numpy()
    np.testing.assert_allclose(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], atol=1e-6)


def test_ssim_closed_values() -> None:
    """Opposite patches: covariance = -variance, so SSIM_cs = (-2 s + c) / (2 s + c); flat ones: c / c."""
    v, u = torch.meshgrid(torch.arange(9.0), torch.arange(9.0), indexing="ij")
    ramp = (0.1 * u + 0 * v)[None, None, None].double()
    mask = torch.ones_like(ramp)
    variance = 0.01 * 2 / 3  # of three neighbouring steps of .1
    opposite = ssim_cs(ramp, 1 - ramp, mask, 9e-4)[0, 0, 0, 4, 4]
    assert float(opposite) == pytest.approx((-2 * variance + 9e-4) / (2 * variance + 9e-4), abs=1e-6)
    flat = torch.full_like(ramp, 0.3)
    assert ssim_cs(flat, flat + 0.4, mask, 9e-4).sub(1).abs().max() < 1e-9  # luminance has no say


def test_photo_loss_closed_value_of_a_brightness_step() -> None:
    """A constant difference of .2: structure is blind to it, so the loss is (1 - alpha) .2."""
    target, warped = pictures(2)
    brighter = target[:, None].expand_as(warped) + 0.2
    loss = photo_loss(target, brighter, everywhere(warped), SETTINGS)
    np.testing.assert_allclose(loss, (1 - SETTINGS.alpha) * 0.2, atol=1e-9)


def test_what_is_masked_has_no_say() -> None:
    target, warped = pictures(3)
    mask = everywhere(warped)
    mask[..., 6:, :] = 0
    mask[:, 2] = 0
    expected = photo_loss(target, warped, mask, SETTINGS)
    spoiled = warped.clone()
    spoiled[..., 6:, :] = 77
    spoiled[:, 2] = -5
    np.testing.assert_allclose(photo_loss(target, spoiled, mask, SETTINGS), expected, atol=1e-12)
    assert not torch.allclose(photo_loss(target, spoiled, everywhere(warped), SETTINGS), expected)
    assert photo_loss(target, warped, torch.zeros_like(mask), SETTINGS).tolist() == [0, 0]


def test_every_valid_pixel_weighs_the_same_whichever_reference_it_is_of() -> None:
    target, warped = pictures(4)
    mask = everywhere(warped)
    mask[:, 1:, :, :, 3:] = 0
    settings = replace(SETTINGS, alpha=0.0)
    difference = (target[:, None] - warped).abs().mean(2, keepdim=True)
    expected = (difference * mask).sum((1, 2, 3, 4)) / mask.sum((1, 2, 3, 4))
    np.testing.assert_allclose(photo_loss(target, warped, mask, settings), expected, atol=1e-12)


def test_gates_switch_off_what_cannot_be_the_same_surface() -> None:
    gated = replace(SETTINGS, gates=True)
    target = torch.full((1, 3, 8, 8), 0.1).double()
    for difference, expected in ((0.25, 0.15 * 0.25), (0.35, 0.0)):
        warped = torch.full((1, 1, 3, 8, 8), 0.1 + difference).double()
        loss = photo_loss(target, warped, everywhere(warped), gated)
        assert float(loss[0]) == pytest.approx(expected, abs=1e-7)
    target, warped = pictures(5)
    wrong = 1 - target[:, None].expand_as(warped)  # structure term near 1, above its gate of .85
    structure_only = replace(gated, alpha=1.0)
    assert photo_loss(target, wrong, everywhere(warped), structure_only).max() < 0.2
    assert photo_loss(target, wrong, everywhere(warped), replace(structure_only, gates=False)).min() > 0.8


def test_smooth_loss_of_a_ramp() -> None:
    """A slope of g metres a pixel across: g for every pixel but the last column."""
    offset = (torch.arange(8.0).double() * 0.002).expand(1, 1, 5, 8)
    mask = torch.ones(1, 1, 5, 8).double()
    assert float(smooth_loss(offset, mask)[0]) == pytest.approx(0.002 * 7 / 8, abs=1e-12)
    mask[..., 4:] = 0  # a step at the mask's edge is not a gradient
    jump = offset.clone()
    jump[..., 4:] = 9
    assert float(smooth_loss(jump, mask)[0]) == pytest.approx(0.002 * 3 / 4, abs=1e-12)


def test_reg_loss_is_the_mean_offset() -> None:
    offset, mask = torch.tensor([[[[0.01, -0.03], [5.0, 5.0]]]]), torch.tensor([[[[1.0, 1.0], [0.0, 0.0]]]])
    assert float(reg_loss(offset, mask)[0]) == pytest.approx(0.02)


def test_ssim_is_torchmetrics() -> None:
    """Its contrast sensitivity with a uniform 3x3 window; it leaves out the border and takes the mean."""
    functional = pytest.importorskip("torchmetrics.functional.image")
    a, b = (pictures(seed)[1].flatten(0, 1).float() for seed in (7, 8))
    _, theirs = functional.structural_similarity_index_measure(
        a,
        b,
        gaussian_kernel=False,
        kernel_size=3,
        data_range=1.0,
        k2=0.03,
        return_contrast_sensitivity=True,
        reduction="none",
    )
    ours = ssim_cs(a, b, torch.ones_like(a[:, :1]), 9e-4)[..., 1:-1, 1:-1].mean((1, 2, 3))
    np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_the_best_reference_alone_counts_where_that_is_set() -> None:
    target, warped = pictures(4)
    settings = replace(SETTINGS, alpha=0.0, minimum_over_references=True)
    mask = everywhere(warped)
    mask[:, 1:, :, :, 3:] = 0
    mask[:, :, :, 5] = 0
    difference = (target[:, None] - warped).abs().mean(2, keepdim=True)
    least = torch.where(mask > 0, difference, torch.inf).amin(1)
    seen = torch.isfinite(least)
    expected = torch.stack([least[at][seen[at]].mean() for at in range(2)])
    np.testing.assert_allclose(photo_loss(target, warped, mask, settings), expected, atol=1e-12)


def test_a_pyramid_is_the_mean_over_halved_pictures() -> None:
    target, warped = pictures(9, (16, 12))
    mask = everywhere(warped)
    mask[..., :3, :] = 0

    def small(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).mean((-3, -1))

    coarse = photo_loss(small(target), small(warped), (small(mask) == 1).double(), SETTINGS)
    expected = (photo_loss(target, warped, mask, SETTINGS) + coarse) / 2
    settings = replace(SETTINGS, pyramid_levels=2)
    np.testing.assert_allclose(photo_loss(target, warped, mask, settings), expected, atol=1e-12)
    assert photo_loss(target, target[:, None].expand_as(warped), mask, settings).abs().max() <= 1e-6


def test_gradients() -> None:
    target, warped = pictures(6, (6, 5))
    mask = (torch.rand(2, 4, 1, 6, 5, generator=torch.Generator().manual_seed(1)) > 0.3).double()
    variable = warped.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: photo_loss(target, x, mask, SETTINGS), (variable,))
    for change in ({"pyramid_levels": 2}, {"minimum_over_references": True}):
        changed = replace(SETTINGS, **change)  # type: ignore[arg-type]
        assert torch.autograd.gradcheck(lambda x, s=changed: photo_loss(target, x, mask, s), (variable,))
    offset = torch.randn(
        2, 1, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2)
    ).requires_grad_()
    body = mask[:, 0]
    assert torch.autograd.gradcheck(lambda x: smooth_loss(x, body), (offset,))
    assert torch.autograd.gradcheck(lambda x: reg_loss(x, body), (offset,))
