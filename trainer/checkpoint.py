"""Checkpoints: a folder with weights as safetensors and everything else as JSON. Nothing is ever unpickled.

    weights-<step>.safetensors     ReconNet, what predicts: the averaged weights where an average is kept
    trained-<step>.safetensors     then also the weights that are trained on
    optimizer-<step>.safetensors   the optimiser's moments, to go on exactly
    corrections-<step>.safetensors where motion is corrected (`corrections.learn`): the corrections and their moments
    checkpoint.json                format, settings, step, the last and best validation, the other files' SHA-256

Files are written beside their final names and renamed; the JSON is replaced last, and only then are the files of the
checkpoint before removed: whenever a run is stopped, the folder holds one whole checkpoint.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from schemas.errors import CheckpointError, HumandepthError
from schemas.recipe import Recipe
from schemas.settings import as_dict, from_dict
from trainer.config import Settings
from trainer.model import ReconNet
from trainer.optimiser import Muon

FORMAT_VERSION = 3
"""Older ones are still read: version 1 knew no average and no best validation, version 2 had `data.view`."""
READABLE_VERSIONS = (1, 2, 3)
FACTS_NAME = "checkpoint.json"
_MOMENTS = ("exp_avg", "exp_avg_sq")
"""Mean of gradients and of their squares; of what Muon moves the first alone."""
_OURS = ("weights-", "trained-", "optimizer-", "corrections-")
_AGAIN = "Give the folder that `python -m trainer fit --out` made."


@dataclass(frozen=True, kw_only=True)
class Progress:
    """What early stopping looks at."""

    best_photo_error: float | None = None
    validations_since: int = 0
    """Validations since the best one."""

    def after(self, photo_error: float) -> Progress:
        """With one more validation."""
        if self.best_photo_error is None or photo_error < self.best_photo_error:
            return Progress(best_photo_error=photo_error)
        return Progress(best_photo_error=self.best_photo_error, validations_since=self.validations_since + 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """A trained network and how it came about."""

    folder: Path
    settings: Settings
    step: int
    validation: dict[str, float]
    """The last validation's figures; empty where there was none."""
    progress: Progress
    recipe: Recipe | None = None
    """How the base depth was made that it was trained on, where its dataset said so."""

    def model(self) -> ReconNet:
        """The network with its weights. Raises CheckpointError when they belong to another architecture."""
        return self._read("weights")

    def trained_model(self) -> ReconNet:
        """The network as the optimiser left it: to go on with."""
        return self._read("trained" if self._path("trained").exists() else "weights")

    def _read(self, what: str) -> ReconNet:
        model = ReconNet(self.settings.model)
        load_into(model, self._path(what))
        return model

    def _path(self, what: str) -> Path:
        return self.folder / _file_name(what, self.step)

    def corrections(self) -> dict[str, Tensor]:
        """What `CorrectionTable.restore` takes. Raises CheckpointError where the run had none."""
        if not self._path("corrections").exists():
            raise CheckpointError(
                f"{self.folder} was trained without corrections.",
                remedy="Resume with corrections.learn=false, or begin anew with --from.",
            )
        return _read_tensors(self._path("corrections"))

    def restore_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Puts the moments back on the devices of their parameters; the count of steps stays on the CPU."""
        state = _read_tensors(self._path("optimizer"))
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        filters = {id(parameter) for parameter in optimizer.filters} if isinstance(optimizer, Muon) else set()
        for number, parameter in enumerate(parameters):
            names = _MOMENTS[:1] if id(parameter) in filters else _MOMENTS
            stored = {name: state[f"{number}.{name}"] for name in _MOMENTS if f"{number}.{name}" in state}
            if {*stored} != {*names} or any(moment.shape != parameter.shape for moment in stored.values()):
                raise CheckpointError(
                    f"{self._path('optimizer')} does not fit the network at parameter {number}.",
                    remedy=f"Give the train.optimiser it was trained with. {_AGAIN}",
                )
            moments = {name: moment.to(parameter.device) for name, moment in stored.items()}
            optimizer.state[parameter] = {"step": state[f"{number}.step"], **moments}


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    settings: Settings,
    step: int,
    validation: dict[str, float],
    *,
    average: nn.Module | None = None,
    progress: Progress | None = None,
    corrections: dict[str, Tensor] | None = None,
    extent: dict[str, Any] | None = None,
    recipe: Recipe | None = None,
    learned: dict[str, Any] | None = None,
) -> None:
    """Writes or replaces the checkpoint in a folder.

    `average` is the network with averaged weights, `corrections` what `CorrectionTable.tensors` gives, `extent` how
    much of its plan the run has done, `recipe` how the base depth it was trained on was made, `learned` what the run
    found beyond a constant (`Learned.as_dict`), at its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        _file_name("weights", step): _as_file((average or model).state_dict()),
        _file_name("optimizer", step): _as_file(_moments(optimizer)),
    }
    if average is not None:
        files[_file_name("trained", step)] = _as_file(model.state_dict())
    if corrections is not None:
        files[_file_name("corrections", step)] = _as_file(corrections)
    facts = {
        "format": "humandepth-reconnet",
        "format_version": FORMAT_VERSION,
        "step": step,
        "extent": extent or {},
        "recipe": recipe.as_dict() if recipe is not None else None,
        "validation": validation,
        "progress": asdict(progress or Progress()),
        "learned": learned,
        "settings": as_dict(settings),
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    for name, data in files.items():
        _replace(folder / name, data)
    _replace(folder / FACTS_NAME, (json.dumps(facts, indent=1) + "\n").encode())
    for path in folder.glob("*.safetensors"):
        if path.name not in files and path.name.startswith(_OURS):
            path.unlink()


def load_checkpoint(folder: str | Path) -> Checkpoint:
    """Opens a checkpoint and checks that it is whole. Raises CheckpointError naming what is wrong."""
    folder = Path(folder)
    try:
        facts = json.loads((folder / FACTS_NAME).read_text())
        if facts["format"] != "humandepth-reconnet" or facts["format_version"] not in READABLE_VERSIONS:
            raise CheckpointError(
                f"{folder} has format {facts['format']!r} version {facts['format_version']!r}, "
                f"expected 'humandepth-reconnet' version {' or '.join(map(str, READABLE_VERSIONS))}.",
                remedy="Use the humandepth version that wrote it.",
            )
        step = int(facts["step"])
        expected_files = {_file_name(what, step) for what in ("weights", "optimizer")} | set(facts["sha256"])
        for name in sorted(expected_files):
            expected = facts["sha256"][name]
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != expected:
                raise CheckpointError(
                    f"{folder / name} is not the file that {FACTS_NAME} names.",
                    remedy="Train or copy it again.",
                )
        return Checkpoint(
            folder=folder,
            settings=from_dict(Settings, _renamed(facts["settings"])),
            step=step,
            validation={str(name): float(value) for name, value in facts["validation"].items()},
            progress=from_dict(Progress, facts.get("progress", {})),
            recipe=Recipe.of(**facts["recipe"]) if facts.get("recipe") else None,
        )
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        missing = Path(error.filename).name
        raise CheckpointError(f"{folder} is not a checkpoint: it has no {missing}.", remedy=_AGAIN) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, HumandepthError) as error:
        raise CheckpointError(f"{folder} is not a checkpoint: {_reason(error)}.", remedy=_AGAIN) from error


def _renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by today's names: what is `data.selection` now was `data.view` up to version 2."""
    data = dict(settings.get("data", {}))
    if "view" in data:
        data["selection"] = data.pop("view")
    return {**settings, "data": data}


def load_into(model: nn.Module, path: Path) -> None:
    """Reads weights into a model; every name and shape must agree."""
    tensors = _read_tensors(path)
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if expected != found:
        differing = sorted(
            name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)
        )
        name = differing[0]
        raise CheckpointError(
            f"{path} holds another architecture: {len(differing)} of {len(expected)} tensors differ, "
            f"{name} is {found.get(name)}, expected {expected.get(name)}.",
            remedy="Give a checkpoint made with the same model settings.",
        )
    model.load_state_dict(tensors)


def _file_name(what: str, step: int) -> str:
    return f"{what}-{step:07d}.safetensors"


def _moments(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for number, state in optimizer.state_dict()["state"].items():
        for name in ("step", *_MOMENTS):
            if name in state:
                tensors[f"{number}.{name}"] = torch.as_tensor(state[name])
    return tensors


def _as_file(tensors: dict[str, Tensor]) -> bytes:
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be read: {_reason(error)}.", remedy=_AGAIN) from error


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: Exception) -> str:
    return str(error).rstrip(".") or repr(error)
