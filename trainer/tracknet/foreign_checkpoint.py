"""Weights of other people's networks: PyTorch files in SPIN's layout, opened with safe types alone.

{'model': {conv1.weight, bn1.*, layer1.*..layer4.*, fc1.*, fc2.*, decpose.*, decshape.*, deccam.*,
           init_pose (1, 144), init_shape (1, 10), init_cam (1, 3)}, ...}
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from schemas.errors import CheckpointError
from trainer.tracknet.config import NetworkSettings
from trainer.tracknet.model import TrackNet

_ENCODER = ("conv1.", "bn1.", "layer1.", "layer2.", "layer3.", "layer4.")
_REMEDY = "Give a PyTorch file in SPIN's layout: {'model': state_dict}, or the state_dict itself."


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
    path: str | Path, settings: NetworkSettings, mean_parameters: str | Path | None = None
) -> tuple[TrackNet, LoadReport]:
    """A network with the weights of a file, and what was missing or unexpected.

    `mean_parameters` is an .npz with pose (144,), shape (10,), cam (3,) for files without init_*. Raises
    CheckpointError for a file that holds more than tensors and numbers, for a shape that differs, and where the whole
    regressor or the whole encoder is missing.
    """
    path = Path(path)
    given = {_own_name(name): tensor for name, tensor in _state_dict(path).items()}
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
            raise CheckpointError(f"{path} holds nothing of {part[:-1]!r}.", remedy=_REMEDY)
    model.load_state_dict({name: given[name] for name in own if name in given}, strict=False)
    return model, LoadReport(
        loaded=tuple(name for name in own if name in given),
        missing=tuple(missing),
        unexpected=tuple(sorted(given.keys() - own.keys())),
    )


def _own_name(name: str) -> str:
    """The encoder's weights lie at the top of SPIN's files, and below `module.` in those of several GPUs."""
    name = name.removeprefix("module.").removeprefix("regressor.")
    return f"encoder.{name}" if name.startswith(_ENCODER) else name


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        contents: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        # torch's own text would advise to run what is in the file
        is_foreign = isinstance(error, pickle.UnpicklingError)
        text = (str(error).splitlines() or [type(error).__name__])[0]
        reason = "it holds more than tensors and plain numbers" if is_foreign else text
        raise CheckpointError(f"{path} is not opened: {reason}.", remedy=_REMEDY) from None
    for key in ("model", "state_dict"):
        if isinstance(contents, dict) and isinstance(contents.get(key), dict):
            contents = contents[key]
            break
    if not isinstance(contents, dict):
        raise CheckpointError(f"{path} holds {type(contents).__name__}, no weights.", remedy=_REMEDY)
    tensors = {str(name): value.float() for name, value in contents.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path} holds no tensors.", remedy=_REMEDY)
    return tensors


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
