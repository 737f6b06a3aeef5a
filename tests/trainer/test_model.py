"""ReconNet: sizes, shapes, bounds, and that every part takes part."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from schemas.errors import SettingsError
from trainer.config import ModelSettings, preset
from trainer.model import GroupNorm, ReconNet, parameter_count


@pytest.mark.parametrize(
    ("name", "parameters", "coarsest"),
    [
        ("paper", 31_052_737, 8),
        ("released", 24_556_481, 16),
        ("small", 142_737, 8),
        ("fine", 549_489, 8),
        ("supervised", 122_593, 8),
    ],
)
def test_presets(name: str, parameters: int, coarsest: int) -> None:
    """On the meta device: shapes without numbers, so that 31 million parameters cost nothing."""
    with torch.device("meta"):
        model = ReconNet(preset(name).model)
    assert parameter_count(model) == parameters
    shapes: list[tuple[int, ...]] = []
    for down in model.downs:
        down.register_forward_hook(lambda module, given, out: shapes.append(tuple(out.shape)))
    out = model(torch.empty(2, 4, 512, 512, device="meta"))
    assert out.shape == (2, 1, 256, 256)
    assert out.dtype == torch.float32
    width = preset(name).model.width
    finest = 512 // preset(name).model.stem_stride
    sides = [finest // 2**level for level in range(1, 1 + len(model.downs))]
    assert shapes == [(2, width, side, side) for side in sides]
    assert sides[-1] == coarsest


@pytest.fixture(scope="module")
def small() -> ReconNet:
    torch.manual_seed(0)
    return ReconNet(preset("small").model)


def test_starts_at_the_base_depth(small: ReconNet) -> None:
    assert small(torch.rand(1, 4, 512, 512)).abs().max() == 0


def test_never_leaves_its_bounds() -> None:
    torch.manual_seed(1)
    model = ReconNet(preset("small").model)
    torch.nn.init.normal_(model.last.weight, std=50)
    out = model(10 * torch.randn(1, 4, 512, 512))
    assert out.abs().max() <= 0.1
    assert out.max() > 0.099
    assert out.min() < -0.099


def test_head_is_float32_under_mixed_precision(small: ReconNet) -> None:
    seen: list[torch.dtype] = []
    handle = small.last.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert small(torch.rand(1, 4, 512, 512)).dtype == torch.float32
    handle.remove()
    assert seen == [torch.float32]


def test_group_norm_keeps_the_precision_of_its_input() -> None:
    """float32 sums inside: as near to the norm in float32 as rounding its output and weights to 8 bits allows."""
    torch.manual_seed(3)
    norm = GroupNorm(4, 32)
    torch.nn.init.normal_(norm.weight, mean=1, std=0.2)
    x = (3 + 5 * torch.randn(2, 32, 64, 64)).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = norm(x)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), norm(x.float()), atol=0.03, rtol=0.01)
    assert torch.equal(norm(x.float()), torch.nn.GroupNorm.forward(norm, x.float()))


def test_group_norm_is_kept_from_autocast(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU autocast would take it to float32; on a CPU it would not, so what is looked at is the switch."""
    real, switches = torch.nn.functional.group_norm, []

    def noted(*given):
        switches.append(torch.is_autocast_enabled("cpu"))
        return real(*given)

    monkeypatch.setattr("trainer.model.functional.group_norm", noted)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        GroupNorm(4, 32)(torch.randn(1, 32, 8, 8).bfloat16())
    assert switches == [False]


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(2)
    model = ReconNet(ModelSettings(downs=3, width=8, stem_width=8, groups=2, blocks=1, head_blocks=1))
    torch.nn.init.normal_(model.last.weight)
    model(torch.rand(1, 4, 512, 512)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_a_stem_of_stride_four_leaves_the_finest_level_out_and_shifts_nothing() -> None:
    torch.manual_seed(4)
    settings = replace(preset("small").model, stem_stride=4)
    model = ReconNet(settings)
    torch.nn.init.normal_(model.last.weight)
    seen: list[torch.Tensor] = []
    for part in (model.downs[-1], model.last):
        part.register_forward_hook(lambda module, given, out: seen.append(out.detach()))
    offset = model(torch.rand(1, 4, 512, 512))
    coarsest, logit = seen
    assert coarsest.shape[-1] == 8  # `downs` counts the halvings, however many the stem makes
    coarse = settings.max_offset_m * (2 * torch.sigmoid(logit) - 1)
    assert coarse.shape == (1, 1, 128, 128)
    torch.testing.assert_close(offset, torch.nn.functional.interpolate(coarse, 256, mode="bilinear"))
    torch.nn.init.constant_(model.stem.weight, 1.0)
    shown = torch.rand(1, 4, 512, 512)
    mirrored = model.stem(shown.flip(-1)).flip(-1)  # its windows lie as the pixels do, seen from either side
    torch.testing.assert_close(model.stem(shown), mirrored)
    with pytest.raises(SettingsError, match=r"model\.stem_stride"):
        ModelSettings(stem_stride=4, downs=2)


def test_other_sizes_are_refused(small: ReconNet) -> None:
    with pytest.raises(ValueError, match="512"):
        small(torch.rand(1, 4, 256, 256))
    with pytest.raises(SettingsError, match=r"model\.width"):
        ModelSettings(width=30)
