"""Whose network a file of weights holds, told from the names and shapes of its tensors.

| family | what tells it: a ResNet and | what it computes |
|---|---|---|
| `spin` | fc1 of F + 157 numbers, fc2, dec* | rot6d, no activation after fc1 and fc2, ImageNet's scaling |
| `hmr`  | fc1 of F + 85, fc2, dec* or fc3 | axis-angles, ReLU after fc1 and fc2, x / 127.5 - 1 |

F is the length of the encoder's feature vector. mmhuman3d's HMR and SPIN are of the family `spin` under the prefixes
`backbone.` and `head.`. Every other architecture is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, NoReturn

import torch
from torch import Tensor

from schemas.conventions import BETA_COUNT, JOINT_COUNT
from schemas.errors import CheckpointError
from trainer.tracknet.config import NetworkSettings

Family = Literal["spin", "hmr"]
MAX_WIDTH, MAX_HIDDEN = 512, 8192
"""The published networks have 64 and 1024; a file's numbers alone must not decide how much memory is taken."""
_ENCODER = re.compile(r"(conv1|bn1|layer[1-4])\.")
_PREFIX = re.compile(r"(module|model|network|hmr|backbone|encoder|head|regressor|fc_blocks)\.")
_HMR_LAYERS = {"regressor_fc_0": "fc1", "regressor_fc_1": "fc2", "regressor_fc_2": "fc3"}
_ITS_OWN = "the program it belongs to"
_OTHERS = (
    (r"smpl_head\.transformer\.", "HMR2.0 (4D-Humans, TokenHMR): a ViT with a cross-attention decoder",
     "4D-Humans", "4d-humans"),
    (r"(^|\.)blocks\.\d+\.attn\.", "a vision transformer", _ITS_OWN, "NAME"),
    (r"maf_extractor\.|regressor\.\d+\.fc1\.", "PyMAF: a regressor on a feature pyramid", _ITS_OWN, "NAME"),
    (r"keypoint_deconv|keypoint_attention", "PARE: attention by body parts", _ITS_OWN, "NAME"),
    (r"(^|\.)(transition1|stage[234])\.", "a network with an HRNet encoder, as most of CLIFF's and PARE's are",
     _ITS_OWN, "NAME"),
)  # fmt: skip


def own_names(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under TrackNet's names: prefixes of wrappers dropped, the encoder's below `encoder.`.

    Raises CheckpointError for an architecture that is known and another, and where two tensors get one name.
    """
    for pattern, *other in _OTHERS:
        if any(re.search(pattern, name) for name in tensors):
            _refuse(path, *other)
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = _own_name(name)
        if own in named:
            raise CheckpointError(
                f"{path} has two tensors for {own!r}: it holds more than one network.",
                remedy="Save the state_dict of one of them to a file of its own.",
            )
        named[own] = tensor
    return _with_three_decoders(named)


def family_of(path: Path, tensors: Mapping[str, Tensor]) -> Family:
    """The family of tensors by `own_names`. Raises CheckpointError for every other architecture."""
    names = {"fc1": tensors.get("fc1.weight"), "encoder": tensors.get("encoder.conv1.weight")}
    missing = [name for name, tensor in names.items() if tensor is None or tensor.ndim < 2]
    if missing:
        raise CheckpointError(
            f"{path} holds no usable tensor of {missing[0]!r}: no ResNet with HMR's or SPIN's regressor.",
            remedy="Give a file in SPIN's, HMR's or mmhuman3d's layout.",
        )
    beyond = tensors["fc1.weight"].shape[1] - _features(tensors)
    rot6d, axis_angle = (numbers * JOINT_COUNT + BETA_COUNT + 3 for numbers in (6, 3))
    if beyond == rot6d + 3:
        _refuse(
            path, "CLIFF: its regressor also sees the person's box in the whole picture", "CLIFF", "cliff"
        )
    if beyond not in (rot6d, axis_angle):
        raise CheckpointError(
            f"{path}: fc1 takes {beyond} numbers beside the features, expected {rot6d} (SPIN) or {axis_angle} (HMR).",
            remedy="Its architecture is another one; only those two are known.",
        )
    return "spin" if beyond == rot6d else "hmr"


def network_settings(
    tensors: Mapping[str, Tensor], family: Family, settings: NetworkSettings
) -> NetworkSettings:
    """The shape of the network that tensors by `own_names` belong to, and what its family computes."""
    blocks = tuple(
        len({name.split(".")[2] for name in tensors if name.startswith(f"encoder.layer{stage}.")})
        for stage in range(1, 5)
    )
    width, hidden = len(tensors["encoder.conv1.weight"]), len(tensors["fc1.weight"])
    if width > MAX_WIDTH or hidden > MAX_HIDDEN:
        raise CheckpointError(
            f"a network of width {width} with {hidden} hidden units is larger than any of HMR's kind.",
            remedy=f"Up to {MAX_WIDTH} and {MAX_HIDDEN} are read.",
        )
    decoder = tensors.get("decpose.weight")
    is_rot6d = decoder is not None and len(decoder) == 6 * JOINT_COUNT
    return replace(
        settings,
        blocks=blocks,
        width=width,
        bottleneck="encoder.layer1.0.conv3.weight" in tensors,
        hidden=hidden,
        rotation_form="rot6d" if is_rot6d else "axis_angle",
        regressor_activation="none" if family == "spin" else "relu",
        scaling="imagenet" if family == "spin" else "hmr",
        shape_space="smpl",
    )


def _features(tensors: Mapping[str, Tensor]) -> int:
    width = len(tensors["encoder.conv1.weight"])
    return width * 8 * (4 if "encoder.layer1.0.conv3.weight" in tensors else 1)


def _own_name(name: str) -> str:
    while match := _PREFIX.match(name):
        name = name[match.end() :]
    layer, dot, rest = name.partition(".")
    return f"encoder.{name}" if _ENCODER.match(name) else _HMR_LAYERS.get(layer, layer) + dot + rest


def _with_three_decoders(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published HMR has one last layer for theta = [camera 3, pose 72, shape 10], in that order, and takes theta in
    that order beside the features; here pose, shape and camera have a layer each and come in this order.
    """
    last, first = tensors.get("fc3.weight"), tensors.get("fc1.weight")
    size = 3 * JOINT_COUNT + BETA_COUNT + 3
    if last is None or first is None or len(last) != size or first.ndim != 2 or first.shape[1] <= size:
        return tensors
    parts = {"deccam": slice(0, 3), "decpose": slice(3, 75), "decshape": slice(75, 85)}
    split = {name: tensor for name, tensor in tensors.items() if name not in ("fc3.weight", "fc3.bias")}
    split["fc1.weight"] = torch.cat(
        [first[:, :-size], first[:, 3 - size :], first[:, -size : 3 - size]], dim=1
    )
    for name, rows in parts.items():
        for kind in ("weight", "bias"):
            if f"fc3.{kind}" in tensors:
                split[f"{name}.{kind}"] = tensors[f"fc3.{kind}"][rows]
    mean = split.pop("mean_theta", None)
    if mean is not None and mean.numel() == size:
        theta = mean.reshape(1, size)
        split |= {"init_cam": theta[:, :3], "init_pose": theta[:, 3:75], "init_shape": theta[:, 75:]}
    return split


def _refuse(path: Path, architecture: str, program: str, result_format: str) -> NoReturn:
    raise CheckpointError(
        f"{path} holds {architecture}, which TrackNet does not compute.",
        remedy=f"Run {program} on your films and bring its bodies with `python -m pipeline body convert --format "
        f"{result_format}`, or convert a file of SPIN or HMR.",
    )
