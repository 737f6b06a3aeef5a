"""People with known joints: the open body in simple clothes, moving in front of a textured wall, as frames.

Good enough for the landmark networks to see a person, and exact in what they should have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import Camera
from pipeline.records import Frame
from pipeline.rendering.compiled import CompiledRasterizer
from schemas.conventions import JOINT_COUNT

SKIN, HAIR, SHIRT, TROUSERS, SHOES = (
    (214, 168, 140),
    (70, 48, 36),
    (60, 90, 150),
    (52, 54, 66),
    (236, 236, 230),
)
LIGHT = np.array([-0.45, -0.65, -0.6])
"""Towards the lamp: left, above and in front, camera axes."""
COUNTED_JOINTS = (1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21)
"""Hips, knees, ankles, neck, head, shoulders, elbows, wrists: what joint errors are averaged over."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Performance:
    """A person's motion, exactly. T frames."""

    pose: np.ndarray
    """(T, 24, 3)."""
    betas: np.ndarray
    """(10,)."""
    translation: np.ndarray
    """(T, 3) metres, camera coordinates."""
    pts_s: np.ndarray
    """(T,)."""
    camera: Camera

    def joints(self, body: BodyModel) -> np.ndarray:
        """(T, 24, 3) metres."""
        return body.joints(self.pose, self.betas, self.translation)


def walking(
    *,
    turn_deg: float,
    focal_px: float = 900.0,
    distance_m: float = 4.5,
    seconds: float = 1.5,
    fps: float = 30.0,
    hw: tuple[int, int] = (540, 720),
    turning_deg_per_s: float = 0.0,
    arms_up: float = 0.0,
    betas: np.ndarray | None = None,
) -> Performance:
    """A person who walks on the spot, seen from `turn_deg` (0: from the front), arms swinging or raised."""
    count = round(seconds * fps)
    time = np.arange(count) / fps
    phase = 2 * np.pi * time / 1.1
    pose = np.zeros((count, JOINT_COUNT, 3))
    heading = np.deg2rad(turn_deg + turning_deg_per_s * time)
    upright = Rotation.from_rotvec([np.pi, 0, 0])
    pose[:, 0] = (upright * Rotation.from_euler("y", heading[:, None])).as_rotvec()
    swing = np.sin(phase)
    pose[:, 1, 0], pose[:, 2, 0] = -0.1 - 0.5 * swing, -0.1 + 0.5 * swing
    pose[:, 4, 0] = 0.15 + 0.8 * np.clip(np.cos(phase + 0.3), 0, None) ** 2
    pose[:, 5, 0] = 0.15 + 0.8 * np.clip(-np.cos(phase + 0.3), 0, None) ** 2
    pose[:, 7, 0], pose[:, 8, 0] = 0.1 * swing, -0.1 * swing
    pose[:, 3, 1], pose[:, 6, 1] = 0.08 * swing, 0.06 * swing
    lift = arms_up * (0.5 - 0.5 * np.cos(phase))
    for joint, side in ((16, 1.0), (17, -1.0)):
        forward = Rotation.from_euler("x", (side * 0.45 * swing * (1 - arms_up))[:, None])
        down = Rotation.from_euler("z", (side * (-1.2 + 2.1 * lift))[:, None])
        pose[:, joint] = (forward * down).as_rotvec()
    pose[:, 18, 1], pose[:, 19, 1] = -0.35 - 0.25 * swing, 0.35 - 0.25 * swing
    bob = 0.02 * np.cos(2 * phase)
    translation = np.stack([0.1 * np.sin(0.5 * phase), 0.05 + bob, np.full(count, distance_m)], axis=-1)
    camera = Camera(np.array([[focal_px, 0, hw[1] / 2], [0, focal_px, hw[0] / 2], [0, 0, 1.0]]), hw)
    return Performance(
        pose=pose,
        betas=np.zeros(10) if betas is None else betas,
        translation=translation,
        pts_s=time,
        camera=camera,
    )


def rendered(body: BodyModel, performance: Performance, *, seed: int = 0) -> Iterator[Frame]:
    """Frames of a performance, drawn at twice the size and averaged."""
    rng = np.random.default_rng(seed)
    hw = performance.camera.hw
    large = performance.camera.resized((2 * hw[0], 2 * hw[1]))
    wall = _wall(large.hw, rng)
    colour = _face_colours(body, rng)
    rasterizer = CompiledRasterizer()
    lamp = LIGHT / np.linalg.norm(LIGHT)
    for at in range(len(performance.pts_s)):
        vertices = body.vertices(performance.pose[at], performance.betas, performance.translation[at])
        face_id = rasterizer.face_ids(vertices, body.faces, large)
        corner = vertices[body.faces]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
        light = 0.45 + 0.55 * np.clip(normal @ lamp, 0, 1)
        picture = wall.copy()
        mask = face_id >= 0
        picture[mask] = (colour * light[:, None])[face_id[mask]]
        small = cv2.resize(picture, (hw[1], hw[0]), interpolation=cv2.INTER_AREA)
        image = np.clip(small + rng.normal(0, 2, small.shape), 0, 255).astype(np.uint8)
        yield Frame(index=at, pts_s=float(performance.pts_s[at]), image=image)


def joint_errors_mm(estimated: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """(MPJPE, PA-MPJPE) of (T, K, 3) points in metres: mean distance after aligning the mean, and after a similarity.

    The similarity (scale, rotation, translation) is the least-squares one of every frame.
    """
    a, b = estimated - estimated.mean(axis=1, keepdims=True), true - true.mean(axis=1, keepdims=True)
    plain = np.linalg.norm(a - b, axis=-1).mean()
    left, values, right = np.linalg.svd(np.einsum("tki,tkj->tij", a, b))
    sign = np.sign(np.linalg.det(left @ right))
    left[:, :, 2] *= sign[:, None]
    values[:, 2] *= sign
    scale = values.sum(axis=1) / (a**2).sum(axis=(1, 2))
    aligned = scale[:, None, None] * (a @ (left @ right))
    return 1000 * float(plain), 1000 * float(np.linalg.norm(aligned - b, axis=-1).mean())


def _face_colours(body: BodyModel, rng: np.random.Generator) -> np.ndarray:
    """(F, 3) clothes by the joint a vertex hangs on, with cloth-like unevenness; hair, eyes and mouth."""
    owner = body.weights.argmax(axis=1)
    colour = np.empty((len(owner), 3))
    by_joint = {SHIRT: (3, 6, 9, 13, 14, 16, 17), TROUSERS: (0, 1, 2, 4, 5), SHOES: (7, 8, 10, 11)}
    colour[:] = SKIN
    for paint, joints in by_joint.items():
        colour[np.isin(owner, joints)] = paint
    rest = body.as_named.landmarks(np.zeros((JOINT_COUNT, 3)), np.zeros(10), np.zeros(3))
    eyes, mouth, ears = rest[[2, 5]], rest[[9, 10]].mean(axis=0), rest[[7, 8]].mean(axis=0)
    template = body.template
    head = owner == 15
    is_hair = head & ((template[:, 2] < ears[2] - 0.01) | (template[:, 1] > eyes[:, 1].mean() + 0.045))
    colour[is_hair] = HAIR
    for eye in eyes:
        colour[head & (np.linalg.norm(template - eye, axis=1) < 0.014)] = (30, 25, 25)
    colour[head & (np.abs((template - mouth) / [0.025, 0.008, 0.03]) < 1).all(axis=1)] = (150, 70, 70)
    faces = colour[body.faces].mean(axis=1)
    return faces * rng.uniform(0.88, 1.08, (len(faces), 1))


def _wall(hw: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) float: soft noise of several sizes over a light wall and a darker floor."""
    wall = np.zeros((*hw, 3))
    for cells in (6, 24, 96):
        noise = rng.normal(0, 1, (cells, cells, 3)).mean(axis=-1, keepdims=True)
        wall += 14 * cv2.resize(noise, (hw[1], hw[0]), interpolation=cv2.INTER_CUBIC)[..., None]
    wall += np.array([178.0, 182.0, 170.0])
    wall[int(0.8 * hw[0]) :] -= [60.0, 70.0, 75.0]
    return wall
