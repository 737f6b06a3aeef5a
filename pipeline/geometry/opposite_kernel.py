"""The compiled kernel behind `opposite_field`: motions of a pair from those of the pair the other way round."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Floats
from pipeline.geometry.compiling import kernel


@kernel
def turn_round(
    opposite: Floats, target: Floats, reference: Floats, vertices: NDArray[np.int64], rotation: Floats,
    translation: Floats,
) -> None:  # fmt: skip
    """Fills rotation (V, 3, 3) and translation (V, 3) of some vertices (n,): R = O^T, t = v_r^c - R v_t^c.

    opposite (V, 3, 3) target from reference; target, reference (V, 3) metres.
    """
    for n in range(vertices.shape[0]):
        c = vertices[n]
        x, y, z = target[c, 0], target[c, 1], target[c, 2]
        for i in range(3):
            a, b, d = opposite[c, 0, i], opposite[c, 1, i], opposite[c, 2, i]
            rotation[c, i, 0], rotation[c, i, 1], rotation[c, i, 2] = a, b, d
            translation[c, i] = reference[c, i] - (a * x + b * y + d * z)
