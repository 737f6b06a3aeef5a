"""A dressed person: garments as real geometry on the body, with hems, folds that move with the pose, and hair."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from pipeline.body.model import BodyModel
from pipeline.body.skinning import chain_joints, skin_vertices
from pipeline.geometry.array_types import Floats
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.rendering.base_mesh import outward_normals
from pipeline.studio.fabric import Fabric, WaveNoise

SKIN, TOP, TROUSERS, SHOES, HAIR = range(5)
LAG_S = 0.08
"""Time by which a loose garment follows the body."""
MAX_SWING_M = 0.03
SLIDE_HZ = (1.0, 2.0)
SLIDE_WAVELENGTH_M = 0.3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DressedMesh:
    """A body's mesh, subdivided and dressed, at rest. V' vertices after subdivision."""

    faces: np.ndarray
    """(F', 3) int32."""
    rest: np.ndarray
    """(V', 3) the naked body's surface, metres."""
    normals: np.ndarray
    """(V', 3) its unit normals."""
    weights: np.ndarray
    """(V', 24) skinning."""
    garment: np.ndarray
    """(V',) SKIN ... HAIR."""


class Actor:
    """One person: shape, clothes and hair drawn once; posed at any time."""

    def __init__(
        self, body: BodyModel, rng: np.random.Generator, *, subdivisions: int, is_loose: bool
    ) -> None:
        self.body, self.is_loose = body, is_loose
        self.betas = np.clip(rng.standard_normal(10), -2, 2) * 0.8
        self.mesh = _dress(body, self.betas, rng, subdivisions, smoothed=is_loose)
        self.fabrics = [
            Fabric.of(rng, skin=True), Fabric.of(rng), Fabric.of(rng), Fabric.of(rng), Fabric.of(rng, hair=True)
        ]  # fmt: skip
        thickness = np.array(
            [0.0, rng.uniform(0.006, 0.03), rng.uniform(0.006, 0.025), 0.012, rng.uniform(0.01, 0.04)]
        )
        fold = np.array([0.0, rng.uniform(0.1, 0.35), rng.uniform(0.1, 0.3), 0.0, 0.1])
        rest = self.mesh.rest
        uneven = 1 + 0.25 * WaveNoise(rng, 0.3)(rest)
        self._thickness = thickness[self.mesh.garment] * np.clip(uneven, 0.4, 1.8)
        self._fold = (fold * thickness)[self.mesh.garment]
        self._folds = np.stack([WaveNoise(rng, length)(rest) for length in (0.07, 0.07)])
        self._looseness = np.where(np.isin(self.mesh.garment, (TOP, TROUSERS)), self._thickness / 0.02, 0.0)

    def surface(self, pose: Floats, before: Floats | None = None, slide: Floats | None = None) -> Floats:
        """(V', 3) the dressed surface at a pose (24, 3), about the body's origin, metres.

        Offset along the normals: thickness + fold (cos(a) n_1 + sin(a) n_2), where the phase a of a vertex is three
        times the bend of the joints it hangs on: folds move as the pose does. `before` is the pose LAG_S earlier;
        where it is given, loose garments lag: they are pulled back by up to MAX_SWING_M. `slide` (V', 3) moves the
        surface at rest, see `Sliding`.
        """
        bend = self.mesh.weights[:, 1:] @ np.linalg.norm(pose[1:], axis=1)
        fold = np.cos(3 * bend) * self._folds[0] + np.sin(3 * bend) * self._folds[1]
        offset = np.maximum(self._thickness + self._fold * fold, 0.15 * self._thickness)
        dressed = self.mesh.rest + offset[:, None] * self.mesh.normals
        if slide is not None:
            dressed = dressed + slide
        placed = self._skin(dressed, pose)
        if before is None:
            return placed
        pull = self._looseness[:, None] * 0.5 * (self._skin(dressed, before) - placed)
        length = np.linalg.norm(pull, axis=1, keepdims=True)
        return np.asarray(placed + pull * np.minimum(1, MAX_SWING_M / np.maximum(length, 1e-9)))

    def body_vertices(self, pose: np.ndarray) -> np.ndarray:
        """(V, 3) the naked body of the model at a pose, about its origin: what a perfect tracker would find."""
        return self.body.vertices(pose, self.betas, np.zeros(3))

    def _skin(self, points: Floats, pose: Floats) -> Floats:
        joints = self.body.joint_template + self.body.joint_shapedirs @ self.betas
        transforms = chain_joints(rotation_from_rotvec(pose)[None], joints[None], self.body.parents)
        return np.asarray(skin_vertices(points[None], self.mesh.weights, transforms)[0])


class Sliding:
    """Garments that slip over the body by themselves: a movement along the surface, smooth in space and time."""

    def __init__(self, mesh: DressedMesh, rng: np.random.Generator, slide_m: float) -> None:
        """`slide_m`: root mean square length of the movement on garments."""
        self._rate = 2 * np.pi * float(rng.uniform(*SLIDE_HZ))
        worn = np.isin(mesh.garment, (TOP, TROUSERS))[:, None]
        self._fields = []
        for _ in range(2):
            axes = [WaveNoise(rng, SLIDE_WAVELENGTH_M)(mesh.rest) for _ in range(3)]
            field = np.stack(axes, axis=1).astype(np.float64)
            along = field - (field * mesh.normals).sum(axis=1, keepdims=True) * mesh.normals
            self._fields.append(slide_m / np.sqrt(2) * worn * along)

    def at(self, time_s: float) -> Floats:
        """(V', 3) metres at rest: cos(w t) F_1 + sin(w t) F_2, two tangents to the surface of each vertex."""
        phase = self._rate * time_s
        return np.asarray(np.cos(phase) * self._fields[0] + np.sin(phase) * self._fields[1])


def _dress(
    body: BodyModel, betas: np.ndarray, rng: np.random.Generator, subdivisions: int, *, smoothed: bool
) -> DressedMesh:
    rest = body.template + body.shapedirs @ betas
    weights = body.weights
    if smoothed:  # another body's skinning: weights spread over the one-ring a few times
        mean = _ring_mean(body.faces, len(rest))
        for _ in range(4):
            weights = 0.5 * weights + 0.5 * (mean @ weights)
    faces, packed = body.faces, np.concatenate([rest, weights], axis=1)
    for _ in range(subdivisions):
        faces, packed = subdivided(faces, packed)
    rest, weights = packed[:, :3], packed[:, 3:]
    return DressedMesh(
        faces=faces,
        rest=rest,
        normals=outward_normals(rest, faces),
        weights=weights,
        garment=_garments(rest, weights, rng),
    )


def subdivided(faces: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every face cut into four at the middles of its edges: faces (4 F, 3), values (V + E, C)."""
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    edges, number = np.unique(sides, axis=0, return_inverse=True)
    middle = number.reshape(3, -1) + len(values)
    a, b, c = faces.T
    ab, bc, ca = middle
    cut = [np.stack(part, axis=1) for part in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    return np.concatenate(cut).astype(np.int32), np.concatenate([values, values[edges].mean(axis=1)])


def _garments(rest: np.ndarray, weights: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(V',) what covers each vertex, by the joint it hangs on most and by heights that are drawn once."""
    part = weights.argmax(axis=1)
    height = rest[:, 1]
    garment = np.full(len(rest), SKIN)
    waist = rng.uniform(-0.02, 0.08)
    sleeves = [(), (16, 17), (16, 17, 18, 19)][int(rng.integers(3))]
    hem = rng.choice([-0.85, -0.45, -0.35])  # long, to the knee, short
    torso = np.isin(part, (0, 1, 2, 3, 6, 9, 13, 14))
    garment[np.isin(part, (0, 1, 2, 4, 5, 7, 8)) & (height > hem) & (height < waist + 0.05)] = TROUSERS
    garment[(torso & (height > waist - rng.uniform(0.02, 0.15))) | np.isin(part, np.array(sleeves, int))] = (
        TOP
    )
    garment[np.isin(part, (7, 8, 10, 11)) & (height < -0.88)] = SHOES
    head = part == 15
    if head.any():
        low, high = height[head].min(), height[head].max()
        behind = rest[:, 2] < np.quantile(rest[head, 2], 0.55)
        garment[
            head & ((height > low + 0.8 * (high - low)) | (behind & (height > low + 0.45 * (high - low))))
        ] = HAIR
    return garment


def _ring_mean(faces: np.ndarray, count: int) -> sparse.csr_matrix:
    start = faces.ravel()
    end = np.roll(faces, -1, axis=1).ravel()
    ring = sparse.csr_matrix((np.ones(len(start)), (start, end)), (count, count))
    ring = ((ring + ring.T) > 0).astype(np.float64)
    return sparse.diags(1 / np.maximum(np.asarray(ring.sum(axis=1)).ravel(), 1)) @ ring
