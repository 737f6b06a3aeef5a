"""How one would do it with libraries: numpy, scipy, embree, pyrender. Written to be fast, not to be beaten."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.geometry.rings import Rings


class SparseSvd:
    """Neighbourhood sums as one sparse product, then a batched SVD."""

    def __init__(self, rings: Rings) -> None:
        count = rings.vertex_count
        self._sum = sparse.csr_matrix(
            (np.ones(rings.indices.size), rings.indices, rings.indptr), (count, count)
        )
        self._degree = np.diff(rings.indptr)[:, None, None].astype(float)

    def fit(self, target: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """sum (a_i - a)(b_i - b)^T = sum a_i b_i^T - (sum a_i) b^T - a (sum b_i)^T + n a b^T, about the means."""
        a, b = reference - reference.mean(0), target - target.mean(0)
        products = (a[:, :, None] * b[:, None, :]).reshape(-1, 9)
        sums = self._sum @ np.concatenate([products, a, b], axis=1)
        M = (
            sums[:, :9].reshape(-1, 3, 3)
            - sums[:, 9:12, None] * b[:, None, :]
            - a[:, :, None] * sums[:, None, 12:]
            + self._degree * a[:, :, None] * b[:, None, :]
        )
        U, _, Vt = np.linalg.svd(M)
        U[:, :, 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
        rotation = U @ Vt
        return rotation, reference - np.matmul(rotation, target[:, :, None])[:, :, 0]


@dataclass(frozen=True, eq=False)
class LibraryRaster:
    """What embree gives: face, weights and depth per pixel."""

    face: np.ndarray
    weights: np.ndarray
    depth: np.ndarray


class EmbreeRaster:
    """A new scene for every mesh (its hierarchy has to be built), rays inside the mesh's bounding box only."""

    def __init__(self, faces: np.ndarray, camera: Camera) -> None:
        from embreex import mesh_construction, rtcore_scene

        self._make_scene, self._make_mesh = rtcore_scene.EmbreeScene, mesh_construction.TriangleMesh
        self._faces, self._camera = faces.astype(np.int32), camera
        row, column = np.indices(camera.hw)
        centres = np.stack([column, row], axis=-1) + 0.5
        self._rays = camera.cam_from_px(centres, np.ones(camera.hw)).astype(np.float32)

    def draw(self, vertices: np.ndarray) -> LibraryRaster:
        """One frame."""
        scene = self._make_scene()
        self._make_mesh(scene, vertices.astype(np.float32), self._faces)
        height, width = self._camera.hw
        px = self._camera.px_from_cam(vertices)
        left, top = np.clip(np.floor(px.min(0)).astype(int), 0, (width, height))
        right, bottom = np.clip(np.ceil(px.max(0)).astype(int) + 1, 0, (width, height))
        rays = np.ascontiguousarray(self._rays[top:bottom, left:right].reshape(-1, 3))
        hit = scene.run(np.zeros_like(rays), rays, query="INTERSECT", output=1)
        size = (bottom - top, right - left)
        face, depth = np.full((height, width), -1), np.zeros((height, width))
        weights = np.zeros((height, width, 3))
        face[top:bottom, left:right] = hit["primID"].reshape(size)
        depth[top:bottom, left:right] = np.where(hit["primID"] >= 0, hit["tfar"], 0).reshape(size)
        u, v = hit["u"].reshape(size), hit["v"].reshape(size)
        weights[top:bottom, left:right] = np.stack([1 - u - v, u, v], axis=-1)
        return LibraryRaster(face, weights, depth)


class FreshPyrender:
    """pyrender as its documentation shows it: a new mesh in a new scene for every frame, depth only."""

    def __init__(self, faces: np.ndarray, camera: Camera) -> None:
        import pyrender

        self._pyrender, self._faces = pyrender, faces
        fx, fy, cx, cy = camera.lens
        self._camera = pyrender.IntrinsicsCamera(fx, fy, cx, cy, znear=0.05, zfar=100.0)
        self._renderer = pyrender.OffscreenRenderer(camera.hw[1], camera.hw[0])

    def draw(self, vertices: np.ndarray) -> np.ndarray:
        """(H, W) depth."""
        pyrender = self._pyrender
        scene = pyrender.Scene()
        primitive = pyrender.Primitive(positions=vertices.astype(np.float32), indices=self._faces, mode=4)
        scene.add(pyrender.Mesh([primitive]))
        scene.add(self._camera, pose=np.diag([1.0, -1.0, -1.0, 1.0]))
        return self._renderer.render(
            scene, flags=pyrender.RenderFlags.DEPTH_ONLY | pyrender.RenderFlags.SKIP_CULL_FACES
        )


def masked_maps(
    face: np.ndarray,
    weights: np.ndarray,
    reference_depth: np.ndarray,
    vertices: tuple[np.ndarray, np.ndarray],
    faces: np.ndarray,
    field: tuple[np.ndarray, np.ndarray],
    reference_camera: Camera,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, tuple[float, ...]]:
    """All maps of a pair over body pixels only: motion, validity, baseline, warp, and the same nine numbers.

    The cheapest usual choices: rotation vectors are interpolated as they are, visibility is a test against the
    reference's depth in the pixel.
    """
    (target, reference), (rotation, _) = vertices, field
    height, width = face.shape
    pixel = np.flatnonzero(face.ravel() >= 0)
    corners, w = faces[face.ravel()[pixel]], weights.reshape(-1, 3)[pixel]
    rotvec = Rotation.from_matrix(rotation).as_rotvec()
    table = np.concatenate([rotvec, target, reference], axis=1)
    mixed = np.einsum("nk,nkc->nc", w, table[corners])
    rotvec, point, moved = mixed[:, :3], mixed[:, 3:6], mixed[:, 6:]
    length = np.linalg.norm(moved - Rotation.from_rotvec(rotvec).apply(point), axis=1)
    z = moved[:, 2]
    px = reference_camera.px_from_cam(moved)
    cell = np.floor(px).astype(np.int64)
    inside = (z > 0) & (cell >= 0).all(1) & (cell[:, 0] < width) & (cell[:, 1] < height)
    visible = inside.copy()
    front = reference_depth[cell[inside, 1], cell[inside, 0]]
    visible[inside] = (front == 0) | (z[inside] <= front + 0.03)
    bits = 1 | (z > 0) * 2 | inside * 4 | visible * 8 | (length > 0.05) * 16
    motion = np.zeros((height * width, 6), np.float16)
    motion[pixel, :3], motion[pixel, 3:] = rotvec, moved - point
    validity, baseline = np.zeros(height * width, np.uint8), np.zeros(height * width, np.float32)
    validity[pixel], baseline[pixel] = bits, length
    warp = np.full((height * width, 2), np.nan, np.float32)
    warp[pixel] = px
    row, column = np.divmod(pixel, width)
    parallax = np.hypot(px[:, 0] - column - 0.5, px[:, 1] - row - 0.5)
    angle = np.linalg.norm(rotvec, axis=1)
    numbers = (
        length.mean(), *np.percentile(length, (10, 50, 90)), angle.mean(), parallax.mean(),
        (length / point[:, 2]).mean(), visible.mean(), (bits == 31).mean(),
    )  # fmt: skip
    size = (height, width)
    return (
        motion.reshape(*size, 6),
        validity.reshape(size),
        baseline.reshape(size),
        warp.reshape(*size, 2),
        numbers,
    )
