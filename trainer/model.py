"""ReconNet: from a photo and the base depth to the offset of the surface. A U-Net of residual blocks.

    512 x 512 x 4 -> stem 256 -> 128 -> 64 -> 32 -> 16 -> 8 -> 16 -> 32 -> 64 -> 128 -> 256 x 256 x 1

With `stem_stride=4` the level of 256 is left out, and the offset of 128 x 128 is enlarged bilinearly.

Skip connections are added. The head is a sigmoid scaled to +-max_offset_m, computed in float32 whatever the
precision of the rest: in bfloat16 it would cost half a millimetre. Source: method, section 5.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from schemas.conventions import IMAGE_PX, MAP_PX
from trainer.config import ModelSettings

INPUT_CHANNELS = 4
"""Red, green, blue, centred base depth."""
GROUP_NORM_EPS = 1e-6


class ReconNet(nn.Module):
    """Offset in metres (B, 1, 256, 256) of inputs (B, 4, 512, 512); 0 before any training."""

    def __init__(self, settings: ModelSettings) -> None:
        super().__init__()
        self.settings = settings
        width, stem = settings.width, settings.stem_width
        levels = settings.downs - int(math.log2(settings.stem_stride))
        self.stem = _stem(settings)
        self.downs = nn.ModuleList(
            _down(stem if level == 0 else width, width, settings) for level in range(levels)
        )
        self.skips = nn.ModuleList(
            _residuals(stem if level == 0 else width, width, settings.blocks, settings.groups)
            for level in range(levels)
        )
        self.ups = nn.ModuleList(_up(width, settings) for _ in range(levels))
        self.merges = nn.ModuleList(
            nn.Identity() if level == 0 else _residuals(width, width, settings.blocks, settings.groups)
            for level in range(levels)
        )
        self.head = nn.Sequential(
            _residuals(width, width, settings.head_blocks, settings.groups),
            _norm(width, settings.groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, stem, 1),
            nn.ReLU(inplace=True),
        )
        self.last = nn.Conv2d(stem, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]  # Conv2d's annotation allows None

    def forward(self, inputs: Tensor) -> Tensor:
        """offset = max_offset_m (2 sigmoid(x) - 1), float32."""
        if inputs.shape[1:] != (INPUT_CHANNELS, IMAGE_PX, IMAGE_PX):
            expected = f"(B, {INPUT_CHANNELS}, {IMAGE_PX}, {IMAGE_PX})"
            raise ValueError(f"inputs must have shape {expected}, got {tuple(inputs.shape)}")
        features = [self.stem(inputs)]
        for down in self.downs:
            features.append(down(features[-1]))
        x = features.pop()
        for level in reversed(range(len(self.ups))):
            x = self.merges[level](self.ups[level](x) + self.skips[level](features[level]))
        x = self.head(x)
        # Shapes are checked on the meta device, which knows no autocast.
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):
            logit = self.last(x.float())
            offset = self.settings.max_offset_m * (2 * torch.sigmoid(logit) - 1)
            if offset.shape[-1] < MAP_PX:
                offset = functional.interpolate(offset, MAP_PX, mode="bilinear", align_corners=False)
            return offset


class GroupNorm(nn.GroupNorm):
    """Group norm in its input's own precision.

    Autocast would take it to float32 and keep a copy of its input for that: on a GPU a step in bfloat16 then needs more
    memory than one in float32 and is no faster. Its sums are float32 inside either way.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W), normalised."""
        device = "cpu" if x.is_meta else x.device.type
        if not torch.is_autocast_enabled(device):
            return super().forward(x)
        with torch.autocast(device, enabled=False):
            weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
            return functional.group_norm(x, self.num_groups, weight, bias, self.eps)


class Residual(nn.Module):
    """y = x' + conv1x1(conv3x3(conv1x1(x))), each after group norm and ReLU; x' is x, or 1x1(x) where widths differ."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch = nn.Sequential(
            _norm(inputs, groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, half, 1),
            _norm(half, groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1),
            _norm(half, groups),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, outputs, 1),
        )
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, H, W) of (B, inputs, H, W)."""
        y: Tensor = self.shortcut(x) + self.branch(x)
        return y


@torch.no_grad()
def initialise(model: ReconNet) -> None:
    """Weights w ~ N(0, 2 / n), n the input values that one output value sums over; biases 0; the last layer stays 0.

    A transposed convolution of stride s spreads each value over s^2 outputs, so n is its taps over s^2. Torch's own
    bounds make features shrink at every level, and what comes from coarse levels most of all.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer is not model.last:
            spread = math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1
            inputs = layer.in_channels * math.prod(layer.kernel_size) / spread
            layer.weight.normal_(std=math.sqrt(2 / inputs))
            if layer.bias is not None:
                layer.bias.zero_()


def parameter_count(model: nn.Module) -> int:
    """Numbers that are trained."""
    return sum(parameter.numel() for parameter in model.parameters())


def _stem(settings: ModelSettings) -> nn.Conv2d:
    """The first convolution. That of stride 4 sees 8 pixels, centred where its output is: nothing is shifted."""
    kernel, stride = settings.kernel_px, settings.stem_stride
    side, padding = (kernel, kernel // 2) if stride == 2 else (2 * stride, stride // 2)
    return nn.Conv2d(INPUT_CHANNELS, settings.stem_width, side, stride=stride, padding=padding)


def _residuals(inputs: int, outputs: int, count: int, groups: int) -> nn.Sequential:
    widths = [inputs] + [outputs] * count
    return nn.Sequential(*(Residual(widths[at], widths[at + 1], groups) for at in range(count)))


def _down(inputs: int, width: int, settings: ModelSettings) -> nn.Sequential:
    return nn.Sequential(
        _norm(inputs, settings.groups),
        nn.ReLU(inplace=True),
        nn.Conv2d(inputs, width, settings.kernel_px, stride=2, padding=settings.kernel_px // 2),
        _residuals(width, width, settings.blocks, settings.groups),
    )


def _up(width: int, settings: ModelSettings) -> nn.Sequential:
    return nn.Sequential(
        _norm(width, settings.groups),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(
            width, width, settings.kernel_px, stride=2, padding=settings.kernel_px // 2, output_padding=1
        ),
    )


def _norm(channels: int, groups: int) -> GroupNorm:
    """At least four channels a group, and a number of groups that divides the channels."""
    count = next(count for count in range(min(groups, channels // 4), 0, -1) if channels % count == 0)
    return GroupNorm(count, channels, eps=GROUP_NORM_EPS)
