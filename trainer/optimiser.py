"""How gradients become steps: Adam, or for convolutions the orthogonalised momentum of Muon."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trainer.config import TrainSettings
from trainer.model import ReconNet

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of the Newton-Schulz step, steepest at 0: singular values end within .68 and 1.14."""
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
ADAM_RMS = 0.2
"""Root mean square of Adam's steps in units of its learning rate, so that rates of both are of one size."""


def optimiser(model: ReconNet, settings: TrainSettings) -> torch.optim.Adam:
    """The one that `train.optimiser` names."""
    if settings.optimiser == "muon":
        return Muon(model, settings.learning_rate)
    return torch.optim.Adam(model.parameters(), lr=settings.learning_rate)


class Muon(torch.optim.Adam):
    """Convolutions follow their momentum, orthogonalised; biases, norms and the last layer follow Adam.

    A convolution's weights are a matrix W of one row per filter. With its gradient G

        B := mu B + G,   W := W - 0.2 sqrt(max(rows, columns)) lr orthogonalised(G + mu B):

    all directions of a layer move equally far, where Adam follows the few strong ones. Source: Jordan et al., "Muon",
    2024; the scale is that of Liu et al., arXiv:2502.16982. Torch's own takes matrices only, one by one and in
    bfloat16, which many CPUs emulate.
    """

    def __init__(self, model: ReconNet, lr: float) -> None:
        super().__init__(model.parameters(), lr=lr)
        last = {id(parameter) for parameter in model.last.parameters()}
        self.filters = [
            parameter for parameter in model.parameters() if parameter.ndim > 1 and id(parameter) not in last
        ]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step; gradients of the convolutions are used up. There is no closure: a step is one gradient."""
        assert closure is None
        (lr,) = {group["lr"] for group in self.param_groups}
        by_shape: dict[tuple[int, int], list[nn.Parameter]] = defaultdict(list)
        for parameter in self.filters:
            if parameter.grad is not None:
                by_shape[len(parameter), parameter[0].numel()].append(parameter)
        for (rows, columns), parameters in by_shape.items():
            directions = orthogonalised(torch.stack([self._wanted(each).flatten(1) for each in parameters]))
            length = ADAM_RMS * math.sqrt(max(rows, columns)) * lr
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.sub_(direction.view(parameter.shape), alpha=length)
                parameter.grad = None  # or Adam would move it too
        super().step()

    def _wanted(self, parameter: Tensor) -> Tensor:
        """G + mu B of one parameter, B brought up to date."""
        state = self.state[parameter]
        if not state:
            state["step"], state["exp_avg"] = torch.zeros(()), torch.zeros_like(parameter)
        assert parameter.grad is not None
        state["step"] += 1
        state["exp_avg"].mul_(MOMENTUM).add_(parameter.grad)
        wanted: Tensor = parameter.grad + MOMENTUM * state["exp_avg"]
        return wanted


def orthogonalised(matrices: Tensor) -> Tensor:
    """Near U V^T of each matrix U S V^T (N, rows, columns): its singular values are brought to about 1.

    X = M / |M|, then five times  X := a X + (b X X^T + c (X X^T)^2) X.
    """
    a, b, c = QUINTIC
    is_tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if is_tall else matrices
    x = x / x.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)[:, None, None]
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    directions: Tensor = x.mT if is_tall else x
    return directions
