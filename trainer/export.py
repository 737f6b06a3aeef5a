"""ReconNet for other programs: ONNX and torch.export, each compared with the network it was made from.

Input `inputs` (B, 4, 512, 512) float32: red, green, blue in [0, 1], zero outside the base mask, and the base depth
minus its median over the mask, 0 outside. Output `offset_m` (B, 1, 256, 256) float32 metres, to be added inside it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from schemas.conventions import IMAGE_PX
from schemas.errors import CheckpointError
from trainer.checkpoint import Checkpoint
from trainer.model import INPUT_CHANNELS, ReconNet

TOLERANCE_M = 1e-4


def export_torch(checkpoint: Checkpoint, path: Path) -> float:
    """Writes a `torch.export` program (.pt2); returns its largest difference from the network, metres."""
    model, inputs = checkpoint.model().eval(), example_inputs()
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (inputs,), dynamic_shapes=({0: batch},))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, path)
    other = example_inputs(batch=1, seed=1)
    return _checked(path, model, other, torch.export.load(path).module()(other))


def export_onnx(checkpoint: Checkpoint, path: Path) -> float:
    """Writes an ONNX file; returns its largest difference from the network in onnxruntime, metres."""
    import onnxruntime

    model, inputs = checkpoint.model().eval(), example_inputs()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        (inputs,),
        str(path),
        dynamo=True,
        external_data=False,
        input_names=["inputs"],
        output_names=["offset_m"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    other = example_inputs(batch=1, seed=1)
    (found,) = session.run(["offset_m"], {"inputs": other.numpy()})
    return _checked(path, model, other, torch.from_numpy(found))


def example_inputs(batch: int = 2, seed: int = 0) -> Tensor:
    """Something of the right shape and size."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(batch, INPUT_CHANNELS, IMAGE_PX, IMAGE_PX, generator=generator)
    inputs[:, 3] = 0.3 * (inputs[:, 3] - 0.5)
    return inputs


@torch.no_grad()
def _checked(path: Path, model: ReconNet, inputs: Tensor, found: Tensor) -> float:
    difference_m = float((model(inputs) - found).abs().max())
    if not difference_m <= TOLERANCE_M:
        raise CheckpointError(
            f"{path} differs from the network by {difference_m:.2g} m, more than {TOLERANCE_M} m.",
            remedy="Try another version of torch, onnxscript or onnxruntime.",
        )
    return difference_m
