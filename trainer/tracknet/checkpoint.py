"""TrackNet's checkpoints: a folder with safetensors and JSON, written beside their final names and renamed.

weights-<step>.safetensors     the network
optimizer-<step>.safetensors   Adam's moments; absent where weights were only converted
tracknet.json                  format, settings, step, validation, the other files' SHA-256; replaced last
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from schemas.errors import CheckpointError, HumandepthError
from schemas.settings import as_dict, from_dict
from trainer.checkpoint import load_into
from trainer.tracknet.config import TrackNetSettings
from trainer.tracknet.model import TrackNet

FORMAT, FORMAT_VERSION = "humandepth-tracknet", 1
FACTS_NAME = "tracknet.json"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_AGAIN = "Give the folder that `python -m trainer tracknet fit` or `tracknet convert` made."


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackNetCheckpoint:
    """A network and how it came about."""

    folder: Path
    settings: TrackNetSettings
    step: int
    validation: dict[str, float]

    def model(self) -> TrackNet:
        """The network with its weights."""
        model = TrackNet(self.settings.network)
        load_into(model, self.folder / f"weights-{self.step:07d}.safetensors")
        return model

    def restore_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Puts the moments back; parameters that were frozen have none."""
        path = self.folder / f"optimizer-{self.step:07d}.safetensors"
        try:
            state = load_file(path)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}.", remedy=_AGAIN) from error
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, parameter in enumerate(parameters):
            values = {name: state.get(f"{number}.{name}") for name in _MOMENTS}
            first = values["exp_avg"]
            if first is None or first.shape != parameter.shape:
                raise CheckpointError(f"{path} does not fit the network.", remedy=_AGAIN)
            optimizer.state[parameter] = values


def save_tracknet(
    folder: Path,
    model: TrackNet,
    optimizer: torch.optim.Optimizer | None,
    settings: TrackNetSettings,
    step: int,
    validation: dict[str, float],
) -> None:
    """Writes or replaces the checkpoint in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {f"weights-{step:07d}.safetensors": _as_file(model.state_dict())}
    if optimizer is not None:
        moments = {
            f"{number}.{name}": torch.as_tensor(state[name])
            for number, state in optimizer.state_dict()["state"].items()
            for name in _MOMENTS
        }
        files[f"optimizer-{step:07d}.safetensors"] = _as_file(moments)
    facts = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "step": step,
        "validation": validation,
        "settings": as_dict(settings),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    for name, data in (files | {FACTS_NAME: (json.dumps(facts, indent=1) + "\n").encode()}).items():
        temporary = folder / f".{name}.{os.getpid()}.tmp"
        temporary.write_bytes(data)
        os.replace(temporary, folder / name)
    for path in folder.glob("*.safetensors"):
        if path.name not in files and path.name.startswith(("weights-", "optimizer-")):
            path.unlink()


def load_tracknet(folder: str | Path) -> TrackNetCheckpoint:
    """Opens a checkpoint and checks that it is whole. Raises CheckpointError naming what is wrong."""
    folder = Path(folder)
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS_NAME).read_text())
        if (facts["format"], facts["format_version"]) != (FORMAT, FORMAT_VERSION):
            raise CheckpointError(
                f"{folder} has format {facts['format']!r} version {facts['format_version']!r}, "
                f"expected {FORMAT!r} version {FORMAT_VERSION}.",
                remedy="Use the humandepth version that wrote it.",
            )
        for name, expected in facts["sha256"].items():
            if (
                Path(name).name != name
                or hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected
            ):
                raise CheckpointError(
                    f"{folder / name} is not the file that {FACTS_NAME} names.",
                    remedy="Train or copy it again.",
                )
        return TrackNetCheckpoint(
            folder=folder,
            settings=from_dict(TrackNetSettings, facts["settings"]),
            step=int(facts["step"]),
            validation={str(name): float(value) for name, value in facts["validation"].items()},
        )
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {missing}.", remedy=_AGAIN) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, HumandepthError) as error:
        raise CheckpointError(f"{folder} is not a checkpoint: {error}.", remedy=_AGAIN) from error


def _as_file(tensors: dict[str, Tensor]) -> bytes:
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
