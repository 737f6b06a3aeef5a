"""TrackNet as the file that the pipeline's `network` tracker runs: ONNX or torch.export, compared with itself.

Input `images` (B, 3, P, P) float32: square crops, red, green, blue in [0, 1]. Output `vectors` (B, 85) float32. ONNX
files carry the facts below as metadata, .pt2 files as an extra file `tracknet.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from schemas.errors import CheckpointError
from trainer.tracknet.checkpoint import TrackNetCheckpoint

TOLERANCE = 1e-3
"""Largest difference of an entry of the vectors."""
MAX_BATCH = 256


def facts_of(checkpoint: TrackNetCheckpoint) -> dict[str, Any]:
    """What a program that runs the file must know."""
    return {
        "format": "humandepth-tracknet-export",
        "format_version": 1,
        "image_px": checkpoint.settings.network.image_px,
        "shape_space": checkpoint.settings.network.shape_space,
        "regressor_activation": checkpoint.settings.network.regressor_activation,
        "crop_margin": checkpoint.settings.pictures.crop_margin,
    }


def export_tracknet_torch(checkpoint: TrackNetCheckpoint, path: Path) -> float:
    """Writes a `torch.export` program (.pt2); returns its largest difference from the network."""
    model, images = checkpoint.model().eval(), example_images(checkpoint)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    program = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(program, path, extra_files={"tracknet.json": json.dumps(facts_of(checkpoint))})
    other = example_images(checkpoint, batch=1, seed=1)
    return _checked(path, model, other, torch.export.load(path).module()(other))


def export_tracknet_onnx(checkpoint: TrackNetCheckpoint, path: Path) -> float:
    """Writes an ONNX file; returns its largest difference from the network in onnxruntime."""
    import onnx
    import onnxruntime

    model, images = checkpoint.model().eval(), example_images(checkpoint)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        model,
        (images,),
        str(path),
        dynamo=True,
        external_data=False,
        input_names=["images"],
        output_names=["vectors"],
        dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=MAX_BATCH)},),
        verbose=False,
    )
    written = onnx.load(str(path))
    onnx.helper.set_model_props(written, {"humandepth": json.dumps(facts_of(checkpoint))})
    onnx.save(written, str(path))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    other = example_images(checkpoint, batch=1, seed=1)
    (found,) = session.run(["vectors"], {"images": other.numpy()})
    return _checked(path, model, other, torch.from_numpy(found))


def example_images(checkpoint: TrackNetCheckpoint, batch: int = 2, seed: int = 0) -> Tensor:
    """Something of the right shape and size."""
    size = checkpoint.settings.network.image_px
    return torch.rand(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def _checked(path: Path, model: torch.nn.Module, images: Tensor, found: Tensor) -> float:
    difference = float((model(images) - found).abs().max())
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"{path} differs from the network by {difference:.2g}, more than {TOLERANCE}.",
            remedy="Try another version of torch, onnxscript or onnxruntime.",
        )
    return difference
