"""Weights of other people's networks: PyTorch files of SPIN, HMR and mmhuman3d, read as data.

{'model': {conv1.weight, bn1.*, layer1.*..layer4.*, fc1.*, fc2.*, decpose.*, decshape.*, deccam.*,
           init_pose (1, 144), init_shape (1, 10), init_cam (1, 3)}, ...}
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schemas.errors import CheckpointError
from trainer.tracknet.config import NetworkSettings
from trainer.tracknet.families import Family, family_of, network_settings, own_names
from trainer.tracknet.inert_checkpoint import REMEDY, read_checkpoint
from trainer.tracknet.model import TrackNet

_WRAPPERS = ("model", "state_dict", "network", "generator")


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignWeights:
    """A file's tensors under TrackNet's names, float32."""

    path: Path
    family: Family
    tensors: dict[str, Tensor]

    @classmethod
    def read(cls, path: str | Path, family: Family | None = None) -> ForeignWeights:
        """The weights of a file; `family` replaces what its names and shapes say. Raises CheckpointError."""
        path = Path(path)
        tensors = own_names(path, _state_dict(path))
        found = family_of(path, tensors)
        return cls(path=path, family=family or found, tensors=tensors)

    def settings(self, settings: NetworkSettings) -> NetworkSettings:
        """The settings of the network that these weights belong to; what the file does not say is taken over."""
        return network_settings(self.tensors, self.family, settings)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What of a file found its place."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    """Names of the network that the file does not have; they keep their first values."""
    unexpected: tuple[str, ...]
    """Names of the file that the network does not have."""

    def lines(self) -> list[str]:
        """For people."""
        lines = [f"{len(self.loaded)} tensors loaded"]
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected)):
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            lines.append(f"{len(names)} {what}" + (f": {shown}" if names else ""))
        return lines


def load_foreign(
    weights: ForeignWeights, settings: NetworkSettings, mean_parameters: str | Path | None = None
) -> tuple[TrackNet, LoadReport]:
    """A network with the weights of a file, and what was missing or unexpected.

    `mean_parameters` is an .npz with pose (144,), shape (10,), cam (3,) for files without init_*. Raises
    CheckpointError for a shape that differs, and where the whole regressor or the whole encoder is missing.
    """
    path, given = weights.path, dict(weights.tensors)
    if mean_parameters is not None:
        given |= _mean_tensors(Path(mean_parameters))
    model = TrackNet(settings)
    own = model.state_dict()
    for name in sorted(own.keys() & given.keys()):
        if own[name].shape != given[name].shape:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(given[name].shape)}, expected {tuple(own[name].shape)}.",
                remedy="Its architecture is another one: see the settings network.*.",
            )
    missing = [name for name in own if name not in given and not name.endswith("num_batches_tracked")]
    for part in ("encoder.", "fc1.", "decpose."):
        names = [name for name in own if name.startswith(part) and not name.endswith("num_batches_tracked")]
        if set(names) <= set(missing):
            raise CheckpointError(f"{path} holds no usable tensor of {part[:-1]!r}.", remedy=REMEDY)
    model.load_state_dict({name: given[name] for name in own if name in given}, strict=False)
    return model, LoadReport(
        loaded=tuple(name for name in own if name in given),
        missing=tuple(missing),
        unexpected=tuple(sorted(given.keys() - own.keys())),
    )


def _state_dict(path: Path) -> dict[str, Tensor]:
    contents: Any = read_checkpoint(path)
    while isinstance(contents, dict):
        inner = next((contents[key] for key in _WRAPPERS if isinstance(contents.get(key), dict)), None)
        if inner is None:
            break
        contents = inner
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path} holds {type(contents).__name__}, not weights.", remedy=REMEDY)
    tensors = {str(name): _float(value) for name, value in contents.items() if _is_plain(value)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors.", remedy=REMEDY)
    return tensors


def _is_plain(value: Any) -> bool:
    """A tensor that is laid out in the file; a view may claim any size."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and value.device.type == "cpu"
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def _float(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def _mean_tensors(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {
                name: torch.from_numpy(archive[key].astype(np.float32).reshape(1, -1))
                for name, key in (("init_pose", "pose"), ("init_shape", "shape"), ("init_cam", "cam"))
            }
    except (OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path} holds no mean parameters: {error}.", remedy="Give an .npz with pose, shape and cam."
        ) from error
