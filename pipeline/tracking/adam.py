"""Adam for the fit: `torch.optim.Adam` to the last rounding, without torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.geometry.array_types import Singles
from pipeline.tracking.step_kernels import step_down


class Adam:
    """m := b1 m + (1 - b1) g, v := b2 v + (1 - b2) g^2, x := x - rate m' / (sqrt(v') + eps).

    m' = m / (1 - b1^n) and v' = v / (1 - b2^n) at step n. Variables are contiguous float32 arrays, changed in place, in
    named groups, each with its own rate. Without weight decay (Kingma and Ba, 2015).
    """

    def __init__(
        self, groups: Mapping[str, Sequence[Singles]], betas: tuple[float, float], eps: float = 1e-8
    ) -> None:
        self._groups, self._betas, self._eps, self._steps = groups, betas, eps, 0
        self._moments = {
            name: [(np.zeros(each.size, np.float32), np.zeros(each.size, np.float32)) for each in variables]
            for name, variables in groups.items()
        }

    def step(self, gradients: Mapping[str, Sequence[Singles]], rates: Mapping[str, float]) -> None:
        """One step of every variable, whose gradients come in the same groups."""
        self._steps += 1
        beta1, beta2 = self._betas
        shares = np.array([1 - beta1, beta2, 1 - beta2], np.float32)
        first, second = 1 - beta1**self._steps, np.float32((1 - beta2**self._steps) ** 0.5)
        for name, variables in self._groups.items():
            rate = np.float32(-(rates[name] / first))
            for variable, gradient, (mean, square) in zip(
                variables, gradients[name], self._moments[name], strict=True
            ):
                step_down(
                    variable.reshape(-1), np.ascontiguousarray(gradient).reshape(-1), mean, square, shares, second,
                    rate, np.float32(self._eps),
                )  # fmt: skip
