"""Files of SPIN, HMR and mmhuman3d compute here what they compute there; other architectures are refused by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from schemas.errors import CheckpointError
from tests.trainer.tracknet.foreign_files import (
    BLOCKS,
    FEATURES,
    HIDDEN,
    WIDTH,
    as_from_a_gpu,
    as_from_python_2,
    hmr_forward,
    hmr_state,
    linear,
    resnet_state,
    save,
    spin_forward,
    spin_state,
)
from trainer.cli import main
from trainer.tracknet.checkpoint import load_tracknet
from trainer.tracknet.config import NetworkSettings
from trainer.tracknet.foreign_checkpoint import ForeignWeights, load_foreign
from trainer.tracknet.model import TrackNet
from trainer.tracknet.rotations import rotation_from_rotvec

BASE = NetworkSettings(image_px=64)


def loaded(path: Path, **changes: Any) -> TrackNet:
    weights = ForeignWeights.read(path)
    return load_foreign(weights, replace(weights.settings(BASE), **changes))[0].eval()


def images(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def assert_same_as_spin(model: TrackNet, state: dict) -> None:
    rotations, shape, camera = spin_forward(state, images())
    found = model(images())
    for got, expected in (
        (rotation_from_rotvec(found[:, 3:75].unflatten(1, (24, 3))), rotations),
        (found[:, 75:], shape),
        (found[:, :3], camera),
    ):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("zipped", [True, False])
def test_spin_computes_what_it_computes_there(tmp_path: Path, zipped: bool) -> None:
    state = spin_state()
    model = loaded(save(tmp_path / "spin.pt", {"model": state, "epoch": 3}, zipped=zipped))
    assert (model.settings.blocks, model.settings.width, model.settings.hidden) == (BLOCKS, WIDTH, HIDDEN)
    assert (model.settings.regressor_activation, model.settings.shape_space) == ("none", "smpl")
    assert_same_as_spin(model, state)
    with torch.no_grad():  # the ReLU it does not have would change its bodies
        other = loaded(tmp_path / "spin.pt", regressor_activation="relu")(images())
        assert (other - model(images())).abs().max() > 0.05


@pytest.mark.parametrize("origin", [as_from_a_gpu, as_from_python_2])
def test_old_files_come_from_gpus_and_from_python_2(tmp_path: Path, origin: Callable[[Path], Path]) -> None:
    state = spin_state()
    path = origin(save(tmp_path / "spin.pt", {"model": state, "epoch": 3}, zipped=False))
    assert path.read_bytes().count(
        {"as_from_a_gpu": b"torch.cuda", "as_from_python_2": b"U\x0cconv1.weight"}[origin.__name__]
    )
    assert_same_as_spin(loaded(path), state)


@torch.no_grad()
def test_hmr_computes_what_it_computes_there(tmp_path: Path) -> None:
    state = hmr_state()
    model = loaded(save(tmp_path / "hmr.pt", state))
    assert (model.settings.regressor_activation, model.settings.scaling) == ("relu", "hmr")
    torch.testing.assert_close(model(images()), hmr_forward(state, images()), atol=1e-5, rtol=0)
    blocks = {f"regressor.fc_blocks.regressor_fc_{number}.": f"fc{number + 1}." for number in range(3)}
    renamed = {
        next((long + name[4:] for long, short in blocks.items() if name.startswith(short)), f"encoder.{name}"): value
        for name, value in state.items() if name != "mean_theta"
    }  # fmt: skip
    renamed["regressor.mean_theta"] = state["mean_theta"]
    again = loaded(save(tmp_path / "renamed.pt", renamed))
    torch.testing.assert_close(again(images()), model(images()))


def test_prefixes_of_other_frameworks_are_dropped(tmp_path: Path) -> None:
    state = spin_state()
    mmhuman = {
        ("backbone." if name.startswith(("conv1", "bn1", "layer")) else "head.") + name: value
        for name, value in state.items()
    }
    wrapped = {f"module.{name}": value for name, value in state.items()}
    for contents in (
        {"meta": {"epoch": 1}, "state_dict": mmhuman},
        wrapped,
        {"model": {"state_dict": state}},
    ):
        assert_same_as_spin(loaded(save(tmp_path / "file.pt", contents)), state)
    save(tmp_path / "two.pt", mmhuman | {f"module.{name}": value for name, value in state.items()})
    with pytest.raises(CheckpointError, match="more than one network"):
        loaded(tmp_path / "two.pt")


def test_missing_and_unexpected_names_are_reported(tmp_path: Path) -> None:
    state = spin_state()
    del state["decshape.bias"]
    state |= {"fc.weight": torch.zeros(3), "avgpool.scale": torch.zeros(1)}
    weights = ForeignWeights.read(save(tmp_path / "spin.pt", state))
    _, report = load_foreign(weights, weights.settings(BASE))
    assert report.missing == ("decshape.bias",)
    assert report.unexpected == ("avgpool.scale", "fc.weight")
    assert "1 missing: decshape.bias" in report.lines()


def test_mean_parameters_come_from_their_own_file(tmp_path: Path) -> None:
    state = {name: value for name, value in spin_state().items() if not name.startswith("init_")}
    weights = ForeignWeights.read(save(tmp_path / "spin.pt", {"model": state}))
    means = {"pose": np.arange(144.0), "shape": np.arange(10.0), "cam": np.array([0.9, 0.1, 0.2])}
    np.savez(tmp_path / "smpl_mean_params.npz", **means)
    model, report = load_foreign(weights, weights.settings(BASE), tmp_path / "smpl_mean_params.npz")
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
    model = loaded(save(tmp_path / "spin.pt", {"model": state}))
    (found,) = model(images(1)).detach()
    back = rotation_from_rotvec(found[3:75].double().view(24, 3))
    np.testing.assert_allclose(back.numpy(), matrices, atol=1e-6)
    torch.testing.assert_close(found[75:], state["init_shape"][0])


def test_what_is_not_a_file_of_weights_is_refused(tmp_path: Path) -> None:
    path, state = tmp_path / "file.pt", spin_state()

    def refused(contents: Any, message: str) -> None:
        save(path, contents)
        with pytest.raises(CheckpointError, match=message):
            loaded(path)

    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="is not opened"):
        loaded(path)
    refused({"model": [1, 2]}, "holds no tensors")
    refused([1, 2], "holds list, not weights")
    refused(
        {name: value for name, value in state.items() if name.startswith("fc")},
        "no usable tensor of 'encoder'",
    )
    refused(resnet_state(torch.Generator()), "no usable tensor of 'fc1'")
    refused(state | {"decpose.weight": torch.zeros(144, 3)}, r"decpose.weight has shape \(144, 3\)")
    refused(state | {"fc1.weight": torch.zeros(HIDDEN, FEATURES + 99)}, "fc1 takes 99 numbers")
    claimed = torch.zeros(1).as_strided((HIDDEN, FEATURES + 157), (0, 0))
    refused(state | {"fc1.weight": claimed}, "no usable tensor of 'fc1'")


def test_other_architectures_are_refused_by_name(tmp_path: Path) -> None:
    """With the remedy; HMR2.0's file holds a config object too."""
    generator, one = torch.Generator().manual_seed(0), torch.zeros(2, 2)
    cliff = spin_state() | linear(generator, "fc1", HIDDEN, FEATURES + 160)
    hmr2 = {
        "backbone.blocks.0.attn.qkv.weight": one, "smpl_head.decpose.weight": one, "smpl_head.init_body_pose": one,
        "smpl_head.transformer.transformer.layers.0.0.fn.to_qkv.weight": one,
    }  # fmt: skip
    for contents, message, name in (
        ({"model": {f"module.{name}": value for name, value in cliff.items()}}, "holds CLIFF", "cliff"),
        (
            {"state_dict": hmr2, "hyper_parameters": OrderedDict(cfg=Path("."))},
            r"holds HMR2.0 \(4D-Humans",
            "4d-humans",
        ),
        ({"model": {"module.encoder.stage2.0.branches.0.0.conv1.weight": one}}, "HRNet", "NAME"),
    ):
        with pytest.raises(CheckpointError, match=message) as refusal:
            loaded(save(tmp_path / "file.pt", contents))
        assert f"body convert --format {name}`" in refusal.value.remedy


def test_the_converter_says_what_it_made_and_can_be_overruled(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = spin_state()
    source = str(save(tmp_path / "spin.pt", {"model": state}, zipped=False))
    own, other = tmp_path / "own", tmp_path / "other"
    assert main(["tracknet", "convert", source, "--out", str(own), "--set=network.image_px=64"]) == 0
    printed = capsys.readouterr().out
    assert "0 missing\n0 unexpected" in printed
    assert "family spin, rot6d, activation of the regressor none, scaling imagenet" in printed
    checkpoint = load_tracknet(own)
    assert checkpoint.settings.network.shape_space == "smpl"
    assert_same_as_spin(checkpoint.model().eval(), state)
    assert main(["tracknet", "convert", source, "--out", str(other), "--family", "hmr"]) == 0
    assert load_tracknet(other).settings.network.regressor_activation == "relu"
    changed = ["--set=network.regressor_activation=relu", "--set=network.hidden=32"]
    assert main(["tracknet", "convert", source, "--out", str(tmp_path / "third"), *changed]) == 1
