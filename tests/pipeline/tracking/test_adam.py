"""The fit's own Adam against torch's."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from pipeline.tracking.adam import Adam


@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.8, 0.999)])
def test_steps_are_those_of_torch_but_for_rounding(betas: tuple[float, float]) -> None:
    """torch takes square roots by a library that errs in the last place; all else agrees to the bit."""
    rng = np.random.default_rng(0)
    start = {"a": rng.uniform(-2, 3, (100, 30)).astype(np.float32), "b": np.array([0.3], np.float32)}
    rates = {"a": 0.03, "b": 0.005}
    ours = {name: [values.copy()] for name, values in start.items()}
    theirs = {name: torch.tensor(values, requires_grad=True) for name, values in start.items()}
    own = Adam(ours, betas)
    other = torch.optim.Adam(
        [{"params": [theirs[name]], "lr": rate} for name, rate in rates.items()], betas=betas
    )
    for step in range(200):
        factor = 1 / (1 + step / 50)
        gradients = {
            name: [(values + rng.normal(size=values.shape)).astype(np.float32)]
            for name, values in start.items()
        }
        for group, (name, rate) in zip(other.param_groups, rates.items()):
            group["lr"], theirs[name].grad = rate * factor, torch.from_numpy(gradients[name][0])
        own.step(gradients, {name: rate * factor for name, rate in rates.items()})
        other.step()
    for name in start:
        np.testing.assert_allclose(ours[name][0], theirs[name].detach().numpy(), atol=2e-6)
        assert not np.array_equal(ours[name][0], start[name])


def test_the_default_tracker_does_not_load_torch() -> None:
    """2.5 s of CPU time and 180 MB of every worker."""
    code = (
        "import sys, pipeline.tracking.tracker, pipeline.method.resources; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
