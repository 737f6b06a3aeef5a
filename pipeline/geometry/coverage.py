"""The compiled kernel behind `tracking.silhouette.covered`: which cells of a grid triangles cover."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.geometry.array_types import Reals
from pipeline.geometry.compiling import inlined, kernel


@inlined
def edge_side(ax: float, ay: float, bx: float, by: float, x: float, y: float) -> float:
    """(b - a) x (p - a): above 0 to the left of the edge where v points down and triangles turn clockwise."""
    return (bx - ax) * (y - ay) - (by - ay) * (x - ax)


@kernel
def fill_covered(vertices: Reals, faces: NDArray[np.integer[Any]], mask: NDArray[np.bool_]) -> None:
    """Sets the cells of mask (H, W) whose centres (+0.5) lie in a triangle of vertices (V, 2), faces (F, 3).

    Triangles with (b - a) x (c - a) <= 0 are left out, and so are those with a corner that is not a number.
    """
    height, width = mask.shape
    for face in range(faces.shape[0]):
        i, j, k = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, bx, by = vertices[i, 0], vertices[i, 1], vertices[j, 0], vertices[j, 1]
        cx, cy = vertices[k, 0], vertices[k, 1]
        if not edge_side(ax, ay, bx, by, cx, cy) > 0:
            continue
        # Clipped before it is rounded: a triangle near the camera may span millions of cells outside the mask.
        left, right = max(min(ax, bx, cx) - 0.5, 0.0), min(max(ax, bx, cx) - 0.5, width - 1.0)
        top, bottom = max(min(ay, by, cy) - 0.5, 0.0), min(max(ay, by, cy) - 0.5, height - 1.0)
        if not (left <= right and top <= bottom):
            continue
        for row in range(math.ceil(top), math.floor(bottom) + 1):
            for column in range(math.ceil(left), math.floor(right) + 1):
                x, y = column + 0.5, row + 0.5
                if (
                    edge_side(ax, ay, bx, by, x, y) >= 0
                    and edge_side(bx, by, cx, cy, x, y) >= 0
                    and edge_side(cx, cy, ax, ay, x, y) >= 0
                ):
                    mask[row, column] = True
