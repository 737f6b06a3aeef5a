"""A track's dressed shape: how far the surface that all its frames share lies off the body's skin, and how sure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pipeline.body.model import BodyModel
from pipeline.refine.surface_points import NORMAL_WEIGHT_M, SurfacePoints
from pipeline.rendering.base_mesh import outward_normals

NEAREST_POINTS = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DressedShape:
    """An offset along the normals, slow over the surface, averaged over every error that differs between frames."""

    points: SurfacePoints
    offset_m: np.ndarray
    """(K,) at the nodes, metres outwards."""
    sigma_m: np.ndarray
    """(K,) standard deviations; the prior's where no picture says anything."""

    def at_vertices(self, body: BodyModel) -> tuple[np.ndarray, np.ndarray]:
        """Offset and standard deviation (V,) of every vertex of the body: means over the nearest points.

        Near means in place and in direction, on the mean shape: the two sides of a limb do not mix.
        """
        point, normal = self.points.rest(body.template, body.faces)
        normals = outward_normals(body.template, body.faces)
        tree = cKDTree(np.concatenate([point, 0.5 * NORMAL_WEIGHT_M * normal], axis=1))
        places = np.concatenate([body.template, 0.5 * NORMAL_WEIGHT_M * normals], axis=1)
        _, nearest = tree.query(places, k=NEAREST_POINTS)
        of_points = [
            (self.points.node_weight * values[self.points.node]).sum(axis=1)
            for values in (self.offset_m, self.sigma_m)
        ]
        return of_points[0][nearest].mean(axis=1), of_points[1][nearest].mean(axis=1)


def dressed(vertices: np.ndarray, offset_m: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 3) posed vertices moved outwards along their normals by offsets (V,): a second base mesh, metres."""
    return np.asarray(vertices + offset_m[:, None] * outward_normals(vertices, faces))
