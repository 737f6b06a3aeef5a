"""How much of a base depth's error is gone, on the pixels that the supervision sees (method, section 10)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.metrics import best_offset


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """How much nearer to the truth a depth is than its base, on the pixels that the supervision sees."""

    base_mm: float
    """Mean |base - truth| after one offset."""
    found_mm: float
    """Mean |found - truth| after one offset."""

    @property
    def share(self) -> float:
        """1 - found / base: negative where the depth has become worse."""
        return 1 - self.found_mm / self.base_mm


def recovery(
    found: NDArray[np.floating],
    base: NDArray[np.floating],
    truth: NDArray[np.floating],
    seen: NDArray[np.bool_],
    max_offset_m: float = 0.1,
) -> Recovery:
    """Errors (method, section 10) of maps (H, W) in metres over pixels that are seen and known in all three.

    Pixels whose base errs by more than `max_offset_m` after one offset are left out: no offset could mend them.
    """
    counted = seen & (found > 0) & (base > 0) & (truth > 0)
    if counted.any():
        gap = base.astype(np.float64) - truth
        counted &= np.abs(gap - best_offset(base[counted], truth[counted])) < max_offset_m
    if not counted.any():
        return Recovery(base_mm=float("nan"), found_mm=float("nan"))
    errors = []
    for depth in (base, found):
        values, true = depth[counted].astype(np.float64), truth[counted].astype(np.float64)
        errors.append(1000 * float(np.abs(values - true - best_offset(values, true)).mean()))
    return Recovery(base_mm=errors[0], found_mm=errors[1])


def mean_recovery(recoveries: Sequence[Recovery]) -> Recovery:
    """Every sample weighs the same; samples without a counted pixel are left out."""
    known = [each for each in recoveries if math.isfinite(each.base_mm)]
    if not known:
        return Recovery(base_mm=float("nan"), found_mm=float("nan"))
    return Recovery(
        base_mm=float(np.mean([each.base_mm for each in known])),
        found_mm=float(np.mean([each.found_mm for each in known])),
    )
