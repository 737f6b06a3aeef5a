"""The check of a new machine: what it makes up is true, it sees what is wrong, and it needs little installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from tools import gpu_check
from trainer.config import LossSettings
from trainer.objective import losses_of

ROOT = Path(__file__).resolve().parents[2]


def test_the_made_up_sphere_fits_best_at_its_true_depth() -> None:
    batch = gpu_check.made_batch(2, 2, torch.device("cpu"))
    base, true = (gpu_check.sphere_depth(256, radius) for radius in (0.57, 0.6))
    offset = torch.from_numpy((true - base) * (base > 0)).float().expand(2, 1, 256, 256)
    settings = LossSettings(gamma_smooth=0.0, gamma_reg=0.0)
    photo = {share: float(losses_of(batch, share * offset, settings).total) for share in (0.0, 0.8, 1.0, 1.2)}
    assert min(photo, key=photo.__getitem__) == 1.0
    assert photo[1.0] < 0.25 * photo[0.0], photo


def test_wrong_numbers_are_failures() -> None:
    good = {
        "speed": {"small": {"step_ms": 1.0}, "paper": {"out_of_memory": "no room"}},
        "agreement": {"small": {"largest_share": 1e-3}},
        "repeatable": {
            "two runs": {"deterministic_identical": True, "usual_identical": False},
            "resumed": {"identical": True},
        },
        "predict": {"against the CPU": {"largest_m": 1e-5}},
        "training": {"against the CPU": {"largest_share": 1e-4}},
    }
    assert gpu_check.failures(good) == []
    for group, key, wrong in (
        ("speed", "small", {"error": "no kernel"}),
        ("agreement", "small", {"largest_share": 0.1}),
        ("repeatable", "two runs", {"deterministic_identical": False}),
        ("repeatable", "resumed", {"identical": False}),
        ("predict", "against the CPU", {"largest_m": 2e-4}),
        ("training", "against the CPU", {"largest_share": 0.01}),
    ):
        assert len(gpu_check.failures(good | {group: good[group] | {key: wrong}})) == 1, group


def test_it_needs_no_more_than_it_says() -> None:
    """Also holds for `fit` away from a terminal: progress bars, curves and meshes are imported where they are made."""
    allowed = {"torch", "numpy", "pyarrow", "cv2", "safetensors"}
    code = "import sys, tools.gpu_check, trainer.train; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    ours = {"matplotlib", "rich", "trimesh", "PIL", "scipy", "pipeline", "apache_beam", "fsspec", "onnx"}
    assert allowed <= loaded, done.stderr
    assert not ours & loaded
