"""Checkpoints are read as data: what lies beside the weights does not matter, and nothing in a file is ever run."""

from __future__ import annotations

import argparse
import os
import pickle
import subprocess
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from schemas.errors import CheckpointError
from tests.fuzz.mutants import mutant
from tests.trainer.tracknet.foreign_files import save, spin_state
from trainer.tracknet.foreign_checkpoint import ForeignWeights
from trainer.tracknet.inert_checkpoint import read_checkpoint

MUTANTS = int(os.environ.get("FUZZ_CHECKPOINTS", "200"))


class Config(dict):
    """A config object as yacs' and easydict's are: a dictionary of a class of its own."""


class Recipe:
    """An object with attributes."""

    def __init__(self) -> None:
        self.rate, self.kept = 0.1, Config(a=1)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_lies_beside_the_weights_does_not_matter(tmp_path: Path, zipped: bool) -> None:
    state = spin_state()
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    contents = {
        "model": state | {"init_shape": state["init_shape"].numpy(), "fc1.bias": torch.nn.Parameter(state["fc1.bias"])},
        "optimizer": optimizer.state_dict(), "epoch": np.int64(3), "best": np.float64(0.5), "loss": np.float32(2),
        "dataset_perm": np.arange(7), "hyper_parameters": Config(cfg=Recipe(), lr=1e-4), "path": Path("logs"),
        "args": argparse.Namespace(gpu=0), "callbacks": defaultdict(list, a=[1]), "last": deque([1.0, 2.0]),
        "names": np.array(["a", None], dtype=object), "rng": np.random.RandomState(0).get_state(),
    }  # fmt: skip
    path = save(tmp_path / "spin.pt", contents, zipped=zipped)
    tensors = ForeignWeights.read(path).tensors
    assert tensors.keys() == {
        name if name.startswith(("fc", "dec", "init")) else f"encoder.{name}" for name in state
    }
    torch.testing.assert_close(tensors["init_shape"], state["init_shape"])
    torch.testing.assert_close(tensors["fc1.bias"], state["fc1.bias"])
    found = read_checkpoint(path)
    assert (found["epoch"], found["best"], found["loss"]) == (3, 0.5, 2.0)
    torch.testing.assert_close(found["dataset_perm"], torch.arange(7))
    assert found["hyper_parameters"] == {"cfg": {}, "lr": 1e-4}
    assert found["args"] == {}


def test_arrays_of_every_order_come_back(tmp_path: Path) -> None:
    arrays = {
        "big-endian": np.arange(6, dtype=">f4").reshape(2, 3), "fortran": np.asfortranarray(np.eye(3)[:, :2]),
        "bools": np.array([True, False]), "empty": np.zeros((0, 4)), "none": np.array(1.5),
    }  # fmt: skip
    found = read_checkpoint(save(tmp_path / "arrays.pt", arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name].numpy(), array)


class Calls:
    """Unpickles to a call."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> Any:
        return self.function, self.arguments


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["system", "popen", "eval", "touch", "import"])
def test_nothing_in_a_file_is_ever_run(tmp_path: Path, kind: str, zipped: bool) -> None:
    """Files are refused, or read with the call as an empty dictionary."""
    mark = tmp_path / "mark"
    calls = {
        "system": Calls(os.system, f"touch {mark}"), "popen": Calls(subprocess.call, ["touch", str(mark)]),
        "eval": Calls(eval, f"open({str(mark)!r}, 'w').close()"), "touch": Calls(Path.touch, mark),
        "import": Calls(__import__, "antigravity"),
    }  # fmt: skip
    path = save(tmp_path / "spin.pt", {"model": spin_state(), "extra": calls[kind]}, zipped=zipped)
    if kind in ("system", "touch"):  # a module that torch blocks; a call of what a call gave
        with pytest.raises(CheckpointError, match="more than tensors") as refusal:
            read_checkpoint(path)
        assert "weights_only" not in str(refusal.value)
    else:
        assert read_checkpoint(path)["extra"] == {}
    assert not mark.exists()
    if kind != "import":
        pickle.loads(pickle.dumps(calls[kind]))
        assert mark.exists()  # it is what it claims


def test_names_declared_for_one_file_are_forgotten_after_it(tmp_path: Path) -> None:
    path = save(tmp_path / "file.pt", {"a": Recipe()})
    read_checkpoint(path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_another_protocol_is_no_warning(tmp_path: Path) -> None:
    """Which protocol a damaged byte names depends on where the saved storages lay in memory."""
    path = save(tmp_path / "a.pt", {"a": torch.ones(3)}, zipped=False)
    data = path.read_bytes()
    assert data.count(b"\x80\x02") > 1
    path.write_bytes(data.replace(b"\x80\x02", b"\x80\x00"))
    assert torch.equal(read_checkpoint(path)["a"], torch.ones(3))


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    small = {
        "model": OrderedDict(a=torch.ones(3), b=np.arange(4.0)),
        "epoch": np.int64(1),
        "cfg": Config(x=1),
    }
    files = [save(tmp_path / "a.pt", small, zipped=zipped).read_bytes() for zipped in (True, False)]
    outcomes = {"read": 0, "refused": 0}
    for number in range(MUTANTS):
        _, data = mutant(files, number)
        (tmp_path / "file.pt").write_bytes(data)
        try:
            read_checkpoint(tmp_path / "file.pt")
            outcomes["read"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert all(outcomes.values()), outcomes
