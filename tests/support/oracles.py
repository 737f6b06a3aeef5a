"""Slow, readable or independent answers that fast code is compared with."""

from __future__ import annotations

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from scipy.spatial.transform import Rotation

from pipeline.geometry.rings import Rings


def neighbours_within(faces: np.ndarray, vertex_count: int, steps: int) -> list[set[int]]:
    """The vertices at most `steps` edges away from each vertex, without itself, by walking."""
    adjacent: list[set[int]] = [set() for _ in range(vertex_count)]
    for face in faces.tolist():
        for k in range(3):
            adjacent[face[k]] |= {face[k - 1], face[k - 2]}
    reached = [{v} for v in range(vertex_count)]
    for _ in range(steps):
        reached = [set().union(near, *(adjacent[v] for v in near)) for near in reached]
    return [near - {v} for v, near in enumerate(reached)]


def fit_one_by_one(
    target: np.ndarray, reference: np.ndarray, rings: Rings, vertices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (n, 3, 3) and translations (n, 3) of some vertices by scipy's align_vectors, one call each."""
    rotation = np.empty((len(vertices), 3, 3))
    for at, c in enumerate(vertices):
        ring = rings.indices[rings.indptr[c] : rings.indptr[c + 1]]
        rotation[at] = Rotation.align_vectors(reference[ring] - reference[c], target[ring] - target[c])[
            0
        ].as_matrix()
    return rotation, reference[vertices] - np.einsum("nij,nj->ni", rotation, target[vertices])


def covariances(target: np.ndarray, reference: np.ndarray, rings: Rings) -> np.ndarray:
    """M = sum over the ring of (v_r^i - v_r^c)(v_t^i - v_t^c)^T, (V, 3, 3); the best R has the largest tr(R^T M)."""
    row = np.repeat(np.arange(rings.vertex_count), np.diff(rings.indptr))
    a, b = reference[rings.indices] - reference[row], target[rings.indices] - target[row]
    products = np.einsum("ei,ej->eij", a, b).reshape(-1, 9)
    sums = np.stack(
        [np.bincount(row, products[:, k], minlength=rings.vertex_count) for k in range(9)], axis=1
    )
    return sums.reshape(-1, 3, 3)


def angle_between_deg(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angle (...,) in degrees of one^T other; from |R - R'|_F, which is accurate for tiny angles."""
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(one - other, axis=(-2, -1)) / np.sqrt(8), 0, 1)))


def cast_exactly(
    rays: np.ndarray, vertices: np.ndarray, faces: np.ndarray, near_m: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest face (n,) and depth z (n,) along rays (n, 3) = (x, y, 1) from the camera, every face with every ray.

    Moeller and Trumbore (1997) in float64, both sides, nothing nearer than near_m. Misses are face -1, depth inf.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    edge1, edge2 = b - a, c - a
    q = np.cross(-a, edge1)
    along = (edge2 * q).sum(1)
    face, depth = np.full(len(rays), -1), np.full(len(rays), np.inf)
    for part in np.array_split(np.arange(len(rays)), 1 + len(rays) * len(faces) // 500_000):
        # determinant = e1 . (r x e2), u = -a . (r x e2) / determinant; as triple products r can be factored out
        determinant = rays[part] @ np.cross(edge2, edge1).T
        with np.errstate(divide="ignore", invalid="ignore"):
            u, v, z = (
                rays[part] @ np.cross(edge2, -a).T / determinant,
                rays[part] @ q.T / determinant,
                along / determinant,
            )
            z = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (z >= near_m), z, np.inf)
        depth[part] = z.min(axis=1)
        face[part] = np.where(np.isfinite(depth[part]), z.argmin(axis=1), -1)
    return face, depth


class RayCaster:
    """Embree: exact visibility for large meshes, both sides, float32."""

    def __init__(self, vertices: np.ndarray, faces: np.ndarray) -> None:
        self._scene = rtcore_scene.EmbreeScene(robust=True)
        self._mesh = TriangleMesh(self._scene, vertices.astype(np.float32), faces.astype(np.int32))

    def nearest(self, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Nearest face (n,) and depth z (n,) along rays (n, 3) = (x, y, 1) from the camera; -1 and inf where missed."""
        rays = np.ascontiguousarray(rays, np.float32)
        found = self._scene.run(np.zeros_like(rays), rays, query="INTERSECT", output=1)
        face = found["primID"].astype(np.int64)
        return face, np.where(face >= 0, found["tfar"].astype(np.float64), np.inf)


def sample_bilinearly(image: np.ndarray, px: np.ndarray) -> np.ndarray:
    """Colours (n, C) of an image (H, W, C) at pixels (n, 2) = (u, v), centres at +0.5; the border is repeated."""
    height, width = image.shape[:2]
    u, v = px[:, 0] - 0.5, px[:, 1] - 0.5
    left, top = np.floor(u).astype(int), np.floor(v).astype(int)
    right_share, low_share = (u - left)[:, None], (v - top)[:, None]
    columns, rows = np.clip([left, left + 1], 0, width - 1), np.clip([top, top + 1], 0, height - 1)
    upper = image[rows[0], columns[0]] * (1 - right_share) + image[rows[0], columns[1]] * right_share
    lower = image[rows[1], columns[0]] * (1 - right_share) + image[rows[1], columns[1]] * right_share
    return upper * (1 - low_share) + lower * low_share


def widened(mask: np.ndarray, px: int = 1) -> np.ndarray:
    """A mask (H, W) grown by px pixels, diagonals included."""
    for _ in range(px):
        padded = np.pad(mask, 1)
        rows = padded[:-2] | padded[1:-1] | padded[2:]
        mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return mask
