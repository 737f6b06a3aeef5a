"""Pictures of a run: held-out samples side by side, and the curves of its log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.batch import Batch
from trainer.objective import warped_references

SHOWN_OFFSET_M = 0.05
SHOWN_DIFFERENCE = 0.3


@torch.no_grad()
def validation_panels(model: nn.Module, batches: Sequence[Batch], device: torch.device) -> NDArray[np.uint8]:
    """(256 B, 1280, 3) uint8 RGB; a row each: photo, base depth, offset (blue nearer, red farther, +-5 cm), and the
    colour difference to the references, mean over those valid, with the base depth and with the refined one."""
    model.eval()
    rows = []
    for batch in (loaded.to(device) for loaded in batches):
        offset = model(batch.inputs)
        mask = batch.mask[0, 0].cpu().numpy() > 0
        photo = np.rint(255 * batch.target[0].permute(1, 2, 0).cpu().numpy()).astype(np.uint8)
        depth = batch.base_depth[0, 0].cpu().numpy()
        low, high = np.percentile(depth[mask], [1, 99])
        cells = [
            photo,
            _coloured((depth - low) / max(high - low, 1e-6), mask, cv2.COLORMAP_VIRIDIS),
            _blue_to_red(offset[0, 0].cpu().numpy() / SHOWN_OFFSET_M, mask),
        ]
        for tried in (torch.zeros_like(offset), offset):
            difference, seen = _mean_difference(batch, tried)
            cells.append(_coloured(difference / SHOWN_DIFFERENCE, seen, cv2.COLORMAP_INFERNO))
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows)


def _mean_difference(batch: Batch, offset: Tensor) -> tuple[NDArray[np.floating], NDArray[np.bool_]]:
    warped, counted = warped_references(batch, offset)
    difference = ((batch.target[:, None] - warped).abs().mean(2, keepdim=True) * counted).sum(1)
    count = counted.sum(1)
    return (difference / count.clamp(min=1))[0, 0].cpu().numpy(), count[0, 0].cpu().numpy() > 0


def _coloured(values: NDArray[np.floating], mask: NDArray[np.bool_], colours: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of values in [0, 1]; white outside the mask."""
    levels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
    shown = cv2.applyColorMap(levels, colours)[..., ::-1]
    return np.where(mask[..., None], shown, 255).astype(np.uint8)


def _blue_to_red(values: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of values in [-1, 1]: blue, white at 0, red; grey outside the mask."""
    far, near = np.clip(values, 0, 1), np.clip(-values, 0, 1)
    colours = np.stack([1 - near, 1 - near - far, 1 - far], axis=-1)
    shown: NDArray[np.float64] = np.where(mask[..., None], colours, 0.85)
    return np.rint(255 * shown).astype(np.uint8)


def write_picture(path: Path, image: NDArray[np.uint8]) -> None:
    """(H, W, 3) uint8 RGB as a file."""
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(image[..., ::-1]))
    path.write_bytes(data.tobytes())


def write_curves(path: Path, log: Path) -> None:
    """Training loss and validation error of a log against steps."""
    from matplotlib.figure import Figure

    entries = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [(entry["step"], entry["photo"]) for entry in entries if "photo" in entry]
    held = [(entry["step"], entry["validation"]) for entry in entries if "validation" in entry]
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    if steps:
        left.plot(*zip(*steps), linewidth=0.8)
    left.set(title="training: photo loss", xlabel="step")
    if held:
        at = [step for step, _ in held]
        for name, label in (("base_photo_error", "base depth"), ("photo_error", "refined")):
            right.plot(at, [figures[name] for _, figures in held], marker=".", label=label)
        right.legend()
    right.set(title="held out: photometric error", xlabel="step")
    figure.savefig(path, dpi=100)
