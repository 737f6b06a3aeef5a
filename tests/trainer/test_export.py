"""Exported networks say what the network says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from schemas.errors import CheckpointError
from trainer.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from trainer.cli import main
from trainer.config import ModelSettings, Settings
from trainer.export import _checked, example_inputs
from trainer.model import ReconNet

TINY = ModelSettings(downs=3, width=8, stem_width=8, kernel_px=3, groups=2, blocks=1, head_blocks=1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    torch.manual_seed(5)
    model = ReconNet(TINY)
    torch.nn.init.normal_(model.last.weight, std=0.5)
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, model, torch.optim.Adam(model.parameters()), Settings(model=TINY), 1, {})
    return load_checkpoint(folder)


def test_torch_export_agrees(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.pt2"
    assert main(["export", "--checkpoint", str(checkpoint.folder), "--out", str(path)]) == 0
    assert "at most" in capsys.readouterr().out
    inputs = example_inputs(batch=3, seed=7)
    with torch.no_grad():
        found, expected = torch.export.load(path).module()(inputs), checkpoint.model().eval()(inputs)
    assert expected.abs().max() > 0.01
    assert (found - expected).abs().max() <= 1e-4


def test_onnx_agrees(checkpoint: Checkpoint, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    path = tmp_path / "net.onnx"
    assert main(["export", "--checkpoint", str(checkpoint.folder), "--out", str(path)]) == 0
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = example_inputs(batch=3, seed=7)
    (found,) = session.run(["offset_m"], {"inputs": inputs.numpy()})
    with torch.no_grad():
        expected = checkpoint.model().eval()(inputs)
    assert abs(found - expected.numpy()).max() <= 1e-4


def test_what_differs_or_has_another_ending_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    inputs, model = example_inputs(batch=1), checkpoint.model().eval()
    with torch.no_grad():
        shifted = model(inputs) + 2e-4
    with pytest.raises(CheckpointError, match="differs"):
        _checked(tmp_path / "x.onnx", model, inputs, shifted)
    with pytest.raises(CheckpointError, match="differs"):
        _checked(tmp_path / "x.onnx", model, inputs, shifted * torch.nan)
    assert main(["export", "--checkpoint", str(checkpoint.folder), "--out", "net.bin"]) == 2
    assert ".pt2" in capsys.readouterr().err
