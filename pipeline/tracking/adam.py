"""Adam for the fit: `torch.optim.Adam` bit for bit, without the compiler (820 modules, 71 MB) that class loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


class Adam:
    """m := b1 m + (1 - b1) g, v := b2 v + (1 - b2) g^2, x := x - rate m' / (sqrt(v') + eps).

    m' = m / (1 - b1^n) and v' = v / (1 - b2^n) at step n. Variables come in named groups, each with its own rate. On
    the CPU, without weight decay (Kingma and Ba, 2015).
    """

    def __init__(
        self, groups: Mapping[str, Sequence[Tensor]], betas: tuple[float, float], eps: float = 1e-8
    ) -> None:
        self._groups, self._betas, self._eps, self._steps = groups, betas, eps, 0
        self._moments = {
            name: [(torch.zeros_like(variable), torch.zeros_like(variable)) for variable in variables]
            for name, variables in groups.items()
        }

    @torch.no_grad()
    def step(self, gradients: Mapping[str, Sequence[Tensor]], rates: Mapping[str, float]) -> None:
        """One step of every variable, whose gradients come in the same groups."""
        self._steps += 1
        beta1, beta2 = self._betas
        first, second = 1 - beta1**self._steps, (1 - beta2**self._steps) ** 0.5
        for name, variables in self._groups.items():
            for variable, gradient, (mean, square) in zip(
                variables, gradients[name], self._moments[name], strict=True
            ):
                mean.lerp_(gradient, 1 - beta1)
                square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
                spread = (square.sqrt() / second).add_(self._eps)
                variable.addcdiv_(mean, spread, value=-(rates[name] / first))
