"""Which vertices of a body stand for its skin."""

from __future__ import annotations

import numpy as np

from pipeline.tracking.articulated_body import ArticulatedBody


def spread_vertices(body: ArticulatedBody, count: int, rng: np.random.Generator) -> np.ndarray:
    """Increasing indices of vertices drawn without replacement, each with the surface area around it as its chance.

    Head and hands hold more than half of the vertices and a tenth of the skin. Vertices of no face are never drawn;
    fewer than `count` come where there are fewer.
    """
    corners = body.template[body.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=-1)
    around = np.bincount(body.faces.ravel(), np.repeat(area, 3), minlength=len(body.template))
    count = min(count, int((around > 0).sum()))
    return np.sort(rng.choice(len(around), count, replace=False, p=around / around.sum()))
