"""The fit's own Adam against torch's."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from pipeline.tracking.adam import Adam


@pytest.mark.parametrize("betas", [(0.9, 0.95), (0.8, 0.999)])
def test_every_bit_is_that_of_torch(betas: tuple[float, float]) -> None:
    start = {"a": torch.linspace(-2, 3, 3000).reshape(100, 30), "b": torch.tensor([0.3])}
    rates = {"a": 0.03, "b": 0.005}
    ours = {name: [values.clone().requires_grad_()] for name, values in start.items()}
    theirs = {name: values.clone().requires_grad_() for name, values in start.items()}
    own = Adam(ours, betas)
    other = torch.optim.Adam(
        [{"params": [theirs[name]], "lr": rate} for name, rate in rates.items()], betas=betas
    )

    def energy(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a.sin() * b.exp()).square().sum() + (a - b).abs().sqrt().sum() * 1e-3

    for step in range(200):
        factor = 1 / (1 + step / 50)
        for group, rate in zip(other.param_groups, rates.values()):
            group["lr"] = rate * factor
        other.zero_grad()
        energy(ours["a"][0], ours["b"][0]).backward()
        energy(theirs["a"], theirs["b"]).backward()
        gradients = {
            name: [each.grad for each in some if each.grad is not None] for name, some in ours.items()
        }
        own.step(gradients, {name: rate * factor for name, rate in rates.items()})
        for name in ours:
            ours[name][0].grad = None
        other.step()
    for name in start:
        assert torch.equal(ours[name][0], theirs[name])
        assert not torch.equal(ours[name][0], start[name])


def test_the_fit_does_not_load_a_compiler() -> None:
    code = (
        "import sys, torch; from pipeline.tracking.adam import Adam; x = torch.zeros(3);"
        "o = Adam({'x': [x]}, (.9, .95)); o.step({'x': [torch.ones(3)]}, {'x': .1});"
        "import pipeline.tracking.fit; sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
