"""Files of weights in other people's layouts with random numbers, and what those networks compute, written plainly."""

from __future__ import annotations

import io
import pickletools
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

WIDTH, HIDDEN, BLOCKS = 8, 64, (1, 2, 1, 1)
FEATURES = WIDTH * 8 * 4
IMAGENET = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])


def resnet_state(
    generator: torch.Generator, width: int = WIDTH, blocks: tuple[int, ...] = BLOCKS
) -> OrderedDict:
    """Bottleneck ResNet under the common names; numbers that keep features of order one."""
    state: OrderedDict[str, Tensor] = OrderedDict()

    def convolution(name: str, outputs: int, inputs: int, side: int) -> None:
        scale = (2 / (inputs * side * side)) ** 0.5
        state[f"{name}.weight"] = scale * torch.randn(outputs, inputs, side, side, generator=generator)

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(size, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(size, generator=generator)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(size, generator=generator)
        state[f"{name}.running_var"] = 0.5 + torch.rand(size, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("conv1", width, 3, 7)
    norm("bn1", width)
    inputs = width
    for stage, count in enumerate(blocks):
        inner = width * 2**stage
        for block in range(count):
            name = f"layer{stage + 1}.{block}"
            for number, (outputs, incoming, side) in enumerate(
                ((inner, inputs, 1), (inner, inner, 3), (4 * inner, inner, 1)), start=1
            ):
                convolution(f"{name}.conv{number}", outputs, incoming, side)
                norm(f"{name}.bn{number}", outputs)
            if not block:
                convolution(f"{name}.downsample.0", 4 * inner, inputs, 1)
                norm(f"{name}.downsample.1", 4 * inner)
            inputs = 4 * inner
    return state


def linear(generator: torch.Generator, name: str, outputs: int, inputs: int, scale: float = 1.0) -> dict:
    """Weight and bias of a layer."""
    return {
        f"{name}.weight": scale * torch.randn(outputs, inputs, generator=generator) / inputs**0.5,
        f"{name}.bias": 0.1 * scale * torch.randn(outputs, generator=generator),
    }


def spin_state(seed: int = 0, width: int = WIDTH, blocks: tuple[int, ...] = BLOCKS, hidden: int = HIDDEN):
    """SPIN's names, in their order: the encoder at the top, then the regressor and the mean body."""
    generator = torch.Generator().manual_seed(seed)
    state = resnet_state(generator, width, blocks)
    state.update(linear(generator, "fc1", hidden, width * 32 + 144 + 13))
    state.update(linear(generator, "fc2", hidden, hidden))
    for name, size in (("decpose", 144), ("decshape", 10), ("deccam", 3)):
        state.update(linear(generator, name, size, hidden, 0.1))
    upright = torch.tensor([[1.0, 0], [0, -1], [0, 0]]).flatten()
    straight = torch.tensor([[1.0, 0], [0, 1], [0, 0]]).flatten().repeat(23)
    state["init_pose"] = torch.cat([upright, straight])[None]
    state["init_shape"] = 0.1 * torch.randn(1, 10, generator=generator)
    state["init_cam"] = torch.tensor([[0.9, 0, 0]])
    return state


def hmr_state(seed: int = 0) -> OrderedDict:
    """The published HMR's regressor: one last layer, theta = [camera, pose, shape]."""
    generator = torch.Generator().manual_seed(seed)
    state = resnet_state(generator)
    state.update(linear(generator, "fc1", HIDDEN, FEATURES + 85))
    state.update(linear(generator, "fc2", HIDDEN, HIDDEN))
    state.update(linear(generator, "fc3", 85, HIDDEN, 0.1))
    mean = torch.zeros(1, 85)
    mean[0, 0], mean[0, 3] = 0.9, torch.pi
    state["mean_theta"] = mean
    return state


def save(path: Path, contents: Any, *, zipped: bool = True) -> Path:
    """`torch.save`, in the container of today or in that from before torch 1.6, which SPIN's file has."""
    torch.save(contents, path, _use_new_zipfile_serialization=zipped)
    return path


def as_from_a_gpu(path: Path) -> Path:
    """A legacy file as `torch.save` wrote it on a GPU, which published ones come from."""
    data = path.read_bytes()
    for name in (b"FloatStorage", b"LongStorage"):
        data = data.replace(b"ctorch\n" + name, b"ctorch.cuda\n" + name)
    path.write_bytes(data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0"))
    return path


def as_from_python_2(path: Path) -> Path:
    """A legacy file whose texts are Python 2's strings."""
    data = path.read_bytes()
    stream, written, at = io.BytesIO(data), bytearray(), 0
    for _ in range(5):  # magic number, version, machine, contents, keys of the storages
        for instruction, argument, place in pickletools.genops(stream):
            if instruction.name == "BINUNICODE":
                text = str(argument).encode()
                written += data[at:place] + b"U" + bytes([len(text)]) + text
                at = (place or 0) + 5 + len(text)
    path.write_bytes(bytes(written) + data[at:])
    return path


def resnet_features(state: dict, x: Tensor, blocks: tuple[int, ...] = BLOCKS) -> Tensor:
    """(B, F): He et al. 2016 with the stride on the 3x3, layer by layer."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    x = norm(functional.conv2d(x, state["conv1.weight"], stride=2, padding=3), "bn1").clamp(min=0)
    x = functional.max_pool2d(x, 3, 2, padding=1)
    for stage, count in enumerate(blocks):
        for block in range(count):
            name, stride = f"layer{stage + 1}.{block}", 2 if stage and not block else 1
            y = norm(functional.conv2d(x, state[f"{name}.conv1.weight"]), f"{name}.bn1").clamp(min=0)
            y = functional.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
            y = functional.conv2d(norm(y, f"{name}.bn2").clamp(min=0), state[f"{name}.conv3.weight"])
            y = norm(y, f"{name}.bn3")
            if not block:
                x = norm(
                    functional.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride),
                    f"{name}.downsample.1",
                )
            x = (x + y).clamp(min=0)
    return x.mean(dim=(2, 3))


def spin_forward(
    state: dict, images: Tensor, blocks: tuple[int, ...] = BLOCKS
) -> tuple[Tensor, Tensor, Tensor]:
    """SPIN as described: rotations (B, 24, 3, 3), betas (B, 10), camera (B, 3) of colours in [0, 1]; no activation."""
    features = resnet_features(
        state, (images - IMAGENET[0, :, None, None]) / IMAGENET[1, :, None, None], blocks
    )
    count = len(images)
    pose, shape, camera = (state[f"init_{name}"].repeat(count, 1) for name in ("pose", "shape", "cam"))
    for _ in range(3):
        h = torch.cat([features, pose, shape, camera], 1) @ state["fc1.weight"].T + state["fc1.bias"]
        h = h @ state["fc2.weight"].T + state["fc2.bias"]
        pose = pose + h @ state["decpose.weight"].T + state["decpose.bias"]
        shape = shape + h @ state["decshape.weight"].T + state["decshape.bias"]
        camera = camera + h @ state["deccam.weight"].T + state["deccam.bias"]
    columns = pose.reshape(count, 24, 3, 2)
    a, b = columns[..., 0], columns[..., 1]
    x = a / a.norm(dim=-1, keepdim=True)
    y = b - (x * b).sum(-1, keepdim=True) * x
    y = y / y.norm(dim=-1, keepdim=True)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], dim=-1), shape, camera


def hmr_forward(state: dict, images: Tensor) -> Tensor:
    """HMR as published: theta (B, 85) = [camera | pose | shape] of colours in [0, 1], ReLU after fc1 and fc2."""
    features = resnet_features(state, images * 255 / 127.5 - 1)
    theta = state["mean_theta"].repeat(len(images), 1)
    for _ in range(3):
        h = (torch.cat([features, theta], 1) @ state["fc1.weight"].T + state["fc1.bias"]).clamp(min=0)
        h = (h @ state["fc2.weight"].T + state["fc2.bias"]).clamp(min=0)
        theta = theta + h @ state["fc3.weight"].T + state["fc3.bias"]
    return theta
