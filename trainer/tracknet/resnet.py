"""Residual networks (He et al. 2016), without a head: pictures to one feature vector.

Names of weights are those of the common ResNet-50 files (`conv1`, `bn1`, `layer1.0.conv1`, `layer1.0.downsample.0`...).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the input."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H / stride, W / stride)."""
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        z: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return z


class Bottleneck(nn.Module):
    """1x1 to the width, 3x3 (which carries the stride), 1x1 to four times the width, beside the input."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(inputs, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 width, H / stride, W / stride)."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        z: Tensor = self.relu(y + (x if self.downsample is None else self.downsample(x)))
        return z


class ResNet(nn.Module):
    """Stem of stride 4, four stages, mean over the picture."""

    def __init__(self, blocks: tuple[int, ...], width: int, *, bottleneck: bool) -> None:
        super().__init__()
        kind: Callable[[int, int, int], BasicBlock | Bottleneck] = Bottleneck if bottleneck else BasicBlock
        expansion = Bottleneck.expansion if bottleneck else BasicBlock.expansion
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = width
        for number, count in enumerate(blocks):
            stage, channels = [], width * 2**number
            for block in range(count):
                stage.append(kind(inputs, channels, 2 if number and not block else 1))
                inputs = channels * expansion
            self.add_module(f"layer{number + 1}", nn.Sequential(*stage))
        self.features = inputs
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, features)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, 5):
            x = self.get_submodule(f"layer{number}")(x)
        return x.mean(dim=(2, 3))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
