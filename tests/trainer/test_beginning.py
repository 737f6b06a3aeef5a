"""How the network's weights begin (`train.initial`)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from schemas.settings import with_overrides
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from tests.trainer.test_training import BASE_RADIUS_M, SETTINGS
from trainer.checkpoint import load_checkpoint
from trainer.config import preset
from trainer.model import ReconNet, initialise
from trainer.train import fit


def test_every_level_starts_as_strong_as_the_others() -> None:
    """What comes up from each level keeps the strength of its normalised input; by torch's bounds a fifth is left."""
    torch.manual_seed(5)
    model = ReconNet(preset("small").model)
    seen: list[float] = []
    for up in model.ups:
        up.register_forward_hook(lambda module, given, out: seen.append(float(out.detach().std())))
    model(torch.rand(1, 4, 512, 512))
    assert max(seen) < 0.3
    seen.clear()
    initialise(model)
    assert model(torch.rand(1, 4, 512, 512)).abs().max() == 0  # and still at the base depth
    assert len(seen) == 5
    assert all(0.75 < strength < 1.35 for strength in seen)


@pytest.mark.parametrize("initial", ["he", "torch"])
def test_a_run_begins_as_its_setting_says(initial: str, tmp_path: Path) -> None:
    """After one step of next to nothing: the first convolution has the spread of its 4 x 3 x 3 inputs."""
    rows = [sphere_row(seed, base_radius_m=BASE_RADIUS_M, track=f"clip/p0{seed}") for seed in range(2)]
    root = write_dataset(tmp_path / "dataset", rows)
    changes = [f"train.initial={initial}", "train.max_steps=1", "train.learning_rate=1e-9"]
    fit(str(root), str(tmp_path / "out"), with_overrides(SETTINGS, changes))
    stem = load_checkpoint(tmp_path / "out").model().stem
    expected = math.sqrt(2 / 36) if initial == "he" else 1 / math.sqrt(3 * 36)
    assert float(stem.weight.detach().std()) == pytest.approx(expected, rel=0.15)
