"""Meshes and scenes with known answers: depth and motion in closed form, and a textured, articulated body.

Axes, pixels and directions as in `schemas.conventions`; lengths in metres.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation

FOCAL_PER_SIDE = 500 / 224


def square_camera(
    side_px: int, *, focal_per_side: float = FOCAL_PER_SIDE, shift_px: tuple[float, float] = (0, 0)
) -> Camera:
    """A square camera whose principal point lies shift_px off the centre."""
    focal, centre = focal_per_side * side_px, side_px / 2
    K = np.array([[focal, 0.0, centre + shift_px[0]], [0.0, focal, centre + shift_px[1]], [0.0, 0.0, 1.0]])
    return Camera(K, (side_px, side_px))


def pixel_rays(camera: Camera) -> np.ndarray:
    """(H, W, 3) rays (x, y, 1) through the pixels' centres."""
    row, column = np.indices(camera.hw)
    return camera.cam_from_px(np.stack([column, row], axis=-1) + 0.5, np.ones(camera.hw))


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Vertices (V, 3) metres and faces (F, 3), wound so that normals point outwards."""

    vertices: np.ndarray
    faces: np.ndarray

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> Mesh:
        """The mesh at R x + t."""
        return Mesh(self.vertices @ rotation.T + translation, self.faces)


def icosphere(subdivisions: int, radius_m: float = 1.0) -> Mesh:
    """A sphere about the origin: 10 * 4^n + 2 vertices, 20 * 4^n faces."""
    g = (1 + 5**0.5) / 2
    vertices = np.array(
        [[-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g],
         [0, -1, -g], [0, 1, -g], [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]]
    )  # fmt: skip
    faces = np.array(
        [[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2], [10, 7, 6],
         [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5], [2, 4, 11], [6, 2, 10],
         [8, 6, 7], [9, 8, 1]]
    )  # fmt: skip
    for _ in range(subdivisions):
        vertices, faces = subdivided(vertices, faces)
        vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    return Mesh(radius_m * vertices / np.linalg.norm(vertices, axis=1, keepdims=True), faces)


def subdivided(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every triangle cut into four at the middles of its edges."""
    edges = np.sort(np.stack([faces, np.roll(faces, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    key = edges[:, 0].astype(np.int64) * len(vertices) + edges[:, 1]
    _, first, middle = np.unique(key, return_index=True, return_inverse=True)
    a, b, c = faces.T
    ab, bc, ca = (len(vertices) + middle.reshape(-1, 3)).T
    cut = np.concatenate(
        [np.stack(corners, axis=1) for corners in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    return np.concatenate([vertices, vertices[edges[first]].mean(axis=1)]), cut


def grid_faces(rows: int, columns: int) -> np.ndarray:
    """Faces (F, 3) of a sheet of rows x columns vertices in row-major order."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    upper = np.stack([corner, corner + 1, corner + columns], axis=1)
    lower = np.stack([corner + 1, corner + columns + 1, corner + columns], axis=1)
    return np.concatenate([upper, lower])


def sheet(width_m: float, height_m: float, divisions: int) -> Mesh:
    """A flat sheet in the plane z = 0, centred on the origin."""
    x, y = np.meshgrid(
        np.linspace(-0.5, 0.5, divisions + 1) * width_m, np.linspace(-0.5, 0.5, divisions + 1) * height_m
    )
    vertices = np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    return Mesh(vertices, grid_faces(divisions + 1, divisions + 1))


def block(size_m: tuple[float, float, float], divisions: int) -> Mesh:
    """A box about the origin; edges and corners are shared, so it is one closed surface."""
    ticks = np.linspace(-0.5, 0.5, divisions + 1)
    parts, faces = [], []
    for axis in range(3):
        for side in (-0.5, 0.5):
            u, v = np.meshgrid(ticks, ticks, indexing="ij")
            part = np.empty((u.size, 3))
            part[:, axis], part[:, (axis + 1) % 3], part[:, (axis + 2) % 3] = side, u.ravel(), v.ravel()
            own = grid_faces(divisions + 1, divisions + 1)
            faces.append((own if side > 0 else own[:, ::-1]) + sum(len(p) for p in parts))
            parts.append(part)
    vertices, welded = np.unique(np.round(np.concatenate(parts), 9), axis=0, return_inverse=True)
    return Mesh(vertices * size_m, welded.ravel()[np.concatenate(faces)])


def cylinder(radius_m: float, length_m: float, segments: int, divisions: int) -> Mesh:
    """A closed cylinder about the y axis."""
    angle = 2 * np.pi * np.arange(segments) / segments
    y = np.linspace(-0.5, 0.5, divisions + 1) * length_m
    ring = radius_m * np.stack([np.cos(angle), np.zeros(segments), np.sin(angle)], axis=1)
    wall = (ring[None] + y[:, None, None] * np.array([0.0, 1.0, 0.0])).reshape(-1, 3)
    vertices = np.concatenate([wall, [[0.0, y[0], 0.0], [0.0, y[-1], 0.0]]])
    here, there = np.arange(segments), np.roll(np.arange(segments), -1)
    faces = []
    for level in range(divisions):
        low, high = level * segments, (level + 1) * segments
        faces += [
            np.stack([low + here, high + here, low + there], 1),
            np.stack([low + there, high + here, high + there], 1),
        ]
    top = divisions * segments
    faces.append(np.stack([np.full(segments, len(wall)), here, there], axis=1))
    faces.append(np.stack([np.full(segments, len(wall) + 1), top + there, top + here], axis=1))
    return Mesh(vertices, np.concatenate(faces))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClosedScene:
    """A mesh in two frames, and what every target pixel must show."""

    name: str
    target: np.ndarray
    """(V, 3)."""
    reference: np.ndarray
    """(V, 3)."""
    faces: np.ndarray
    camera: Camera
    reference_camera: Camera
    depth: np.ndarray
    """(H, W) closed form, 0 outside."""
    steep: np.ndarray
    """(H, W) bool: pixels whose ray grazes the surface (or sees nothing); a facet's sag counts many times there."""
    moved: np.ndarray
    """(H, W, 3) the surface point in the reference camera, NaN outside."""


def sphere_scene(side_px: int = 256) -> ClosedScene:
    """A sphere that turns by 20 degrees about a tilted axis and moves."""
    radius, centre = 0.28, np.array([0.05, -0.03, 4.4])
    mesh = icosphere(7, radius).moved(np.eye(3), centre)

    def hit(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        square, along = (rays**2).sum(-1), rays @ centre
        rest = along**2 - square * (centre @ centre - radius**2)
        depth = np.where(rest > 0, (along - np.sqrt(np.maximum(rest, 0))) / square, np.inf)
        return depth, (depth[..., None] * rays - centre) / radius

    return _scene("sphere", [(mesh, hit, _turn_about(centre, [0.1, 0.33, 0.05], [0.1, 0.02, 0.2]))], side_px)


def plane_scene(side_px: int = 256) -> ClosedScene:
    """A sheet tilted by about 50 degrees."""
    size, centre = (1.5, 1.2), np.array([-0.02, 0.04, 4.6])
    tilt = rotation_from_rotvec([0.35, -0.8, 0.2])
    mesh = sheet(*size, 24).moved(tilt, centre)

    def hit(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        normal = tilt[:, 2]
        depth = (normal @ centre) / (rays @ normal)
        local = (depth[..., None] * rays - centre) @ tilt
        on = (np.abs(local[..., :2]) <= np.array(size) / 2).all(-1)
        return np.where(on, depth, np.inf), np.broadcast_to(normal, rays.shape)

    return _scene("plane", [(mesh, hit, _turn_about(centre, [0.2, 0.3, -0.1], [0.05, -0.1, -0.1]))], side_px)


def block_scene(side_px: int = 256) -> ClosedScene:
    """A box that shows three sides, turned and translated."""
    size, centre = np.array([0.9, 1.0, 0.7]), np.array([0.03, 0.02, 4.8])
    pose = rotation_from_rotvec([0.5, 0.6, 0.1])
    mesh = block(tuple(size), 12).moved(pose, centre)

    def hit(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        origin, direction = -centre @ pose, rays @ pose
        one, two = (-size / 2 - origin) / direction, (size / 2 - origin) / direction
        near, far = np.minimum(one, two), np.maximum(one, two)
        depth, axis = near.max(-1), near.argmax(-1)
        return np.where(depth <= far.min(-1), depth, np.inf), pose.T[axis]

    return _scene(
        "block", [(mesh, hit, _turn_about(centre, [-0.06, 0.22, 0.09], [-0.05, 0.03, 0.08]))], side_px
    )


def cylinders_scene(side_px: int = 256) -> ClosedScene:
    """Two cylinders that cross, one passing in front of the other, each with a motion of its own."""
    parts = []
    for radius, length, pose, centre, turn, shift in (
        (0.16, 1.7, [0.3, 0.1, 0.5], [0.0, 0.0, 4.4], [0.05, 0.2, 0.1], [0.06, 0.0, 0.1]),
        (0.12, 1.8, [-0.2, 0.3, -0.9], [0.04, 0.02, 4.75], [-0.1, -0.15, 0.05], [0.0, 0.05, 0.0]),
    ):
        axes, middle = rotation_from_rotvec(np.array(pose)), np.array(centre)
        mesh = cylinder(radius, length, 1024, 10).moved(axes, middle)
        parts.append((mesh, _cylinder_hit(radius, length, axes, middle), _turn_about(middle, turn, shift)))
    return _scene("cylinders", parts, side_px)


CLOSED_SCENES = {
    "sphere": sphere_scene,
    "plane": plane_scene,
    "block": block_scene,
    "cylinders": cylinders_scene,
}

Hit = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Rays (H, W, 3) -> depth (H, W), inf where missed, and unit normals (H, W, 3)."""
Motion = tuple[np.ndarray, np.ndarray]


def _cylinder_hit(radius: float, length: float, axes: np.ndarray, centre: np.ndarray) -> Hit:
    def hit(rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        origin, d = -centre @ axes, rays @ axes
        a = d[..., 0] ** 2 + d[..., 2] ** 2
        b = d[..., 0] * origin[0] + d[..., 2] * origin[2]
        rest = b**2 - a * (origin[0] ** 2 + origin[2] ** 2 - radius**2)
        wall = np.where(rest > 0, (-b - np.sqrt(np.maximum(rest, 0))) / a, np.inf)
        local = origin + np.where(np.isfinite(wall), wall, 0)[..., None] * d
        wall = np.where(np.abs(local[..., 1]) <= length / 2, wall, np.inf)
        normal = np.stack([local[..., 0] / radius, np.zeros_like(wall), local[..., 2] / radius], axis=-1)
        for side in (-1.0, 1.0):
            cap = (side * length / 2 - origin[1]) / d[..., 1]
            at = origin + cap[..., None] * d
            nearer = (at[..., 0] ** 2 + at[..., 2] ** 2 <= radius**2) & (cap > 0) & (cap < wall)
            wall = np.where(nearer, cap, wall)
            normal = np.where(nearer[..., None], np.array([0.0, side, 0.0]), normal)
        return wall, normal @ axes.T

    return hit


def _turn_about(centre: np.ndarray, rotvec: list[float], shift: list[float]) -> Motion:
    rotation = rotation_from_rotvec(np.array(rotvec))
    return rotation, centre - rotation @ centre + np.array(shift)


def _scene(name: str, parts: list[tuple[Mesh, Hit, Motion]], side_px: int) -> ClosedScene:
    camera = square_camera(side_px, shift_px=(3.3, -5.2))
    other = square_camera(side_px, focal_per_side=2.05, shift_px=(-4.1, 2.7))
    reference_camera = Camera(other.K, (side_px + 16, side_px - 8))
    rays = pixel_rays(camera)
    depth, steep = np.full(camera.hw, np.inf), np.ones(camera.hw, bool)
    moved = np.full((*camera.hw, 3), np.nan)
    target, reference, faces = [], [], []
    for mesh, hit, (rotation, translation) in parts:
        faces.append(mesh.faces + sum(len(part) for part in target))
        target.append(mesh.vertices)
        reference.append(mesh.moved(rotation, translation).vertices)
        own, normal = hit(rays)
        front = own < depth
        cosine = np.abs((normal * rays).sum(-1)) / np.linalg.norm(rays, axis=-1)
        depth[front], steep[front] = own[front], cosine[front] < 0.5
        moved[front] = (own[front, None] * rays[front]) @ rotation.T + translation
    return ClosedScene(
        name=name,
        target=np.concatenate(target),
        reference=np.concatenate(reference),
        faces=np.concatenate(faces),
        camera=camera,
        reference_camera=reference_camera,
        depth=np.where(np.isfinite(depth), depth, 0.0),
        steep=steep,
        moved=moved,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BodyPair:
    """The open body in two frames, textured by a pattern that its surface carries."""

    faces: np.ndarray
    rest: np.ndarray
    """(V, 3) T pose: where the texture is defined."""
    target: np.ndarray
    """(V, 3) in the target camera."""
    reference: np.ndarray
    target_camera: Camera
    reference_camera: Camera


def body_pair(
    side_px: int = 256, *, turn_deg: float = 14.0, seed: int = 0, subdivisions: int = 0
) -> BodyPair:
    """A walking-like pose seen from about 4.9 m that turns by turn_deg and moves its limbs until the reference."""
    from pipeline.body.model import BodyModel

    body, rng = BodyModel.open_body(), np.random.default_rng(seed)
    start = rng.normal(scale=0.12, size=(24, 3))
    start[16], start[17] = [0.1, 0.2, -1.0], [-0.2, -0.1, 0.9]  # arms down from the T pose
    start[1], start[2], start[4], start[5] = [-0.4, 0, 0], [0.3, 0, 0.1], [0.5, 0, 0], [0.3, 0, 0]
    start[18], start[19] = [0.0, -0.7, 0.1], [0.2, 0.9, 0.0]
    end = start + rng.normal(scale=0.05, size=(24, 3))
    end[1:3] += [[0.15, 0, 0], [-0.15, 0, 0]]
    faced = rng.uniform(-0.6, 0.6)
    start[0] = _facing(faced)
    end[0] = _facing(faced + np.radians(turn_deg))
    betas = rng.normal(scale=0.7, size=10)
    vertices = [
        body.vertices(start, betas, np.array([0.0, 0.05, 4.9])),
        body.vertices(end, betas, np.array([0.05, 0.04, 4.8])),
    ]
    rest, faces = body.template, np.asarray(body.faces)
    for _ in range(subdivisions):
        halves = [subdivided(points, faces) for points in (rest, *vertices)]
        rest, vertices, faces = halves[0][0], [half[0] for half in halves[1:]], halves[0][1]
    return BodyPair(
        faces=faces,
        rest=rest,
        target=vertices[0],
        reference=vertices[1],
        target_camera=square_camera(side_px, shift_px=(2.3, -1.2)),
        reference_camera=square_camera(side_px, focal_per_side=2.18, shift_px=(-3.1, 0.8)),
    )


def texture(rest: np.ndarray, wavelength_m: float = 0.08) -> np.ndarray:
    """Colours (n, 3) in [0, 1] of surface points by where they lie on the rest pose: three smooth plaids."""
    directions = np.array([[0.8, 0.5, 0.33], [-0.45, 0.75, 0.5], [0.3, -0.4, 0.87]])
    phase = 2 * np.pi / wavelength_m * rest @ directions.T
    return 0.5 + 0.25 * np.sin(phase) + 0.25 * np.sin(0.73 * phase[:, [1, 2, 0]] + 1.0)


def _facing(turn_rad: float) -> list[float]:
    """Global rotation of a body that stands upright in the camera, turned about its own axis; 0 faces the camera."""
    flip = rotation_from_rotvec(np.array([np.pi, 0.0, 0.0]))
    return rotvec_from_rotation(flip @ rotation_from_rotvec(np.array([0.0, turn_rad, 0.0]))).tolist()
