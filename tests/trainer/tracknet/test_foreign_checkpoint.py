"""Files in SPIN's layout load by name, with a report; anything but tensors and numbers is refused unexecuted."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from schemas.errors import CheckpointError
from tests.trainer.tracknet.made_up import NETWORK
from trainer.cli import main
from trainer.tracknet.checkpoint import load_tracknet
from trainer.tracknet.foreign_checkpoint import load_foreign
from trainer.tracknet.model import TrackNet
from trainer.tracknet.rotations import rotation_from_rotvec

SPIN = replace(NETWORK, bottleneck=True, scaling="imagenet", image_px=64)
"""SPIN's layout with narrow layers, so that files are small."""


def spin_state(seed: int = 0) -> dict[str, torch.Tensor]:
    """Random weights by SPIN's names: the encoder at the top."""
    torch.manual_seed(seed)
    state = TrackNet(SPIN).state_dict()
    return {name.removeprefix("encoder."): torch.randn_like(value) if value.is_floating_point() else value
            for name, value in state.items() if "running_var" not in name} | {
        name.removeprefix("encoder."): value for name, value in state.items() if "running_var" in name
    }  # fmt: skip


def test_a_file_gives_the_network_it_was_saved_from(tmp_path: Path) -> None:
    state = spin_state()
    original = TrackNet(SPIN).eval()
    own = {
        f"encoder.{name}" if name.startswith(("conv1", "bn1", "layer")) else name: value
        for name, value in state.items()
    }
    original.load_state_dict(own)
    torch.save({"model": state, "epoch": 3}, tmp_path / "spin.pt")
    model, report = load_foreign(tmp_path / "spin.pt", SPIN)
    assert (report.missing, report.unexpected) == ((), ())
    assert len(report.loaded) == len(own)
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(model.eval()(images), original(images))


def test_missing_and_unexpected_names_are_reported(tmp_path: Path) -> None:
    state = spin_state()
    del state["decshape.bias"]
    state |= {"fc.weight": torch.zeros(3), "avgpool.scale": torch.zeros(1)}
    torch.save({f"module.{name}": value for name, value in state.items()}, tmp_path / "spin.pt")
    _, report = load_foreign(tmp_path / "spin.pt", SPIN)
    assert report.missing == ("decshape.bias",)
    assert report.unexpected == ("avgpool.scale", "fc.weight")
    assert "1 missing: decshape.bias" in report.lines()


def test_mean_parameters_come_from_their_own_file(tmp_path: Path) -> None:
    state = {name: value for name, value in spin_state().items() if not name.startswith("init_")}
    torch.save({"model": state}, tmp_path / "spin.pt")
    means = {"pose": np.arange(144.0), "shape": np.arange(10.0), "cam": np.array([0.9, 0.1, 0.2])}
    np.savez(tmp_path / "smpl_mean_params.npz", **means)
    model, report = load_foreign(tmp_path / "spin.pt", SPIN, tmp_path / "smpl_mean_params.npz")
    assert report.missing == ()
    torch.testing.assert_close(model.init_cam, torch.tensor([[0.9, 0.1, 0.2]]))
    torch.testing.assert_close(model.init_pose[0], torch.arange(144.0))


@pytest.mark.parametrize("angle", [0.0, 1e-7, 1.0, np.pi])
def test_157_numbers_become_85(tmp_path: Path, angle: float) -> None:
    axis = np.random.default_rng(1).standard_normal((24, 3))
    rotvec = angle * axis / np.linalg.norm(axis, axis=1, keepdims=True)
    matrices = Rotation.from_rotvec(rotvec).as_matrix()
    state = spin_state()
    for name in ("decpose", "decshape", "deccam"):
        state[f"{name}.weight"] = 0 * state[f"{name}.weight"]
        state[f"{name}.bias"] = 0 * state[f"{name}.bias"]
    state["init_pose"] = torch.from_numpy(1.7 * matrices[..., :2].reshape(1, 144)).float()
    torch.save({"model": state}, tmp_path / "spin.pt")
    model, _ = load_foreign(tmp_path / "spin.pt", SPIN)
    (found,) = model.eval()(torch.rand(1, 3, 64, 64)).detach()
    back = rotation_from_rotvec(found[3:75].double().view(24, 3))
    np.testing.assert_allclose(back.numpy(), matrices, atol=1e-6)
    torch.testing.assert_close(found[75:], state["init_shape"][0])


class Touch:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


def test_what_is_not_a_file_of_weights_is_refused(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "spin.pt"
    torch.save({"model": spin_state(), "extra": Touch(mark)}, path)
    with pytest.raises(CheckpointError, match="it holds more than tensors") as refusal:
        load_foreign(path, SPIN)
    assert "weights_only" not in str(refusal.value)
    assert not mark.exists()
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is not opened"):
        load_foreign(path, SPIN)
    torch.save({"model": {"fc1.weight": torch.zeros(3, 3)}}, path)
    with pytest.raises(CheckpointError, match=r"fc1.weight has shape \(3, 3\)"):
        load_foreign(path, SPIN)
    torch.save(
        {"model": {name: value for name, value in spin_state().items() if name.startswith("fc")}}, path
    )
    with pytest.raises(CheckpointError, match="nothing of 'encoder'"):
        load_foreign(path, SPIN)


def test_the_converter_writes_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = spin_state()
    torch.save({"model": state}, tmp_path / "spin.pt")
    changes = [
        f"--set=network.{name}={value}"
        for name, value in (("blocks", "[1,1,1,1]"), ("width", 8), ("hidden", 64), ("image_px", 64))
    ]
    assert (
        main(["tracknet", "convert", str(tmp_path / "spin.pt"), "--out", str(tmp_path / "own"), *changes])
        == 0
    )
    assert "0 missing\n0 unexpected" in capsys.readouterr().out
    assert load_tracknet(tmp_path / "own").settings.network.shape_space == "smpl"
    model = load_tracknet(tmp_path / "own").model()
    torch.testing.assert_close(model.state_dict()["decpose.weight"], state["decpose.weight"])
