"""How gradients become steps: Adam, or the orthogonalised momentum of Muon."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import TrainSettings
from trainer.model import ReconNet

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz step, steepest at 0: singular values end within 0.7 to 1.2."""
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
BETAS = (0.9, 0.999)
EPS = 1e-8
ADAM_LIKE = 0.2
"""Root mean square of an Adam step in units of its learning rate: makes one rate suit both."""


def optimiser(model: ReconNet, settings: TrainSettings) -> torch.optim.Optimizer:
    """The one that `train.optimiser` names."""
    if settings.optimiser == "muon":
        return Muon(model, model.last, settings.learning_rate)
    return torch.optim.Adam(model.parameters(), lr=settings.learning_rate)


class Muon(torch.optim.Optimizer):
    """Convolutions follow their momentum, orthogonalised; everything else (biases, norms, the last layer) Adam.

    A convolution's filters are the rows of a matrix M (outputs, inputs k^2). Of the momentum
    B := mu B + G the step is  w -= 0.2 sqrt(max(rows, columns)) lr O,  O the orthogonal matrix nearest to
    mu B + G: all directions of a layer move equally far, where Adam follows the few strong ones. Source: Jordan
    et al. 2024 (Muon); the scale is that of Liu et al. 2025, by which Adam's learning rate serves.
    """

    def __init__(self, model: nn.Module, last: nn.Module, lr: float) -> None:
        kept = {id(parameter) for parameter in last.parameters()}
        super().__init__(model.parameters(), {"lr": lr})
        self._orthogonal = {
            id(parameter) for parameter in model.parameters() if parameter.ndim >= 2 and id(parameter) not in kept
        }

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step on the gradients there are."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                if id(parameter) in self._orthogonal:
                    shapes[(len(parameter), parameter[0].numel())].append(parameter)
                else:
                    self._adam(parameter, group["lr"])
            for (rows, columns), parameters in shapes.items():
                wanted = torch.stack([self._momentum(p).flatten(1) for p in parameters])
                steps = orthogonalised(wanted)
                scale = ADAM_LIKE * math.sqrt(max(rows, columns)) * group["lr"]
                for parameter, step in zip(parameters, steps, strict=True):
                    parameter.sub_(step.view(parameter.shape), alpha=scale)

    def _state(self, parameter: Tensor) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        return state

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self._state(parameter)
        state["step"] += 1
        assert parameter.grad is not None
        state["exp_avg"].mul_(MOMENTUM).add_(parameter.grad)
        return parameter.grad + MOMENTUM * state["exp_avg"]

    def _adam(self, parameter: Tensor, lr: float) -> None:
        state = self._state(parameter)
        state["step"] += 1
        assert parameter.grad is not None
        state["exp_avg"].lerp_(parameter.grad, 1 - BETAS[0])
        state["exp_avg_sq"].mul_(BETAS[1]).addcmul_(parameter.grad, parameter.grad, value=1 - BETAS[1])
        taken = state["step"].item()
        deviation = (state["exp_avg_sq"] / (1 - BETAS[1] ** taken)).sqrt_().add_(EPS)
        parameter.addcdiv_(state["exp_avg"], deviation, value=-lr / (1 - BETAS[0] ** taken))


def orthogonalised(matrices: Tensor) -> Tensor:
    """Near U V^T of each matrix U S V^T (N, rows, columns): its singular values brought to about 1.

    X := a X + (b X X^T + c (X X^T)^2) X five times from X = M / |M|.
    """
    a, b, c = QUINTIC
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if is_tall else x
