"""Frames of a performance: a painted body before a wall, lit from the front or from behind."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.body.model import BodyModel
from pipeline.records import Frame
from pipeline.rendering.compiled import CompiledRasterizer
from schemas.conventions import JOINT_COUNT
from tests.support.rendered_people import Performance

FINER = 2
"""Rays per pixel along each side."""
SKINS = np.array([(214, 168, 140), (240, 200, 175), (150, 105, 80), (95, 62, 45), (190, 140, 110)], float)
TORSO, UPPER_ARMS, LOWER_ARMS = (3, 6, 9, 13, 14), (16, 17), (18, 19)
THIGHS, SHANKS, FEET, HEAD = (0, 1, 2), (4, 5), (7, 8, 10, 11), 15


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """What a person and a place look like."""

    colour: np.ndarray
    """(F, 3) of the body's faces."""
    wall: np.ndarray
    """(H, W, 3)."""
    lamp: np.ndarray
    """(3,) unit vector towards it, camera axes."""
    ambient: float

    @classmethod
    def of(cls, rng: np.random.Generator, body: BodyModel, hw: tuple[int, int], *, backlit: bool) -> Look:
        """A random one."""
        lamp = rng.normal(size=3) * [1, 0.5, 0.6] + [0, -0.8, 0.9 if backlit else -0.7]
        wall = _wall(rng, hw)
        if backlit:
            wall = 255 - 0.35 * (255 - wall)
        return cls(
            colour=_paint(rng, body) * (0.4 if backlit else 1.0),
            wall=wall.astype(np.float32),
            lamp=lamp / np.linalg.norm(lamp),
            ambient=float(rng.uniform(0.3, 0.65)),
        )


def filmed(
    body: BodyModel, performance: Performance, look: Look, rng: np.random.Generator
) -> Iterator[Frame]:
    """Frames with sensor noise. Only the rectangle that holds the person is drawn with several rays a pixel."""
    height, width = performance.camera.hw
    large = performance.camera.resized((FINER * height, FINER * width))
    rasterizer = CompiledRasterizer()
    for at, pts_s in enumerate(performance.pts_s):
        vertices = body.vertices(performance.pose[at], performance.betas, performance.translation[at])
        face_id = rasterizer.face_ids(vertices, body.faces, large)
        picture = look.wall + rng.normal(0, 3, look.wall.shape).astype(np.float32)
        rows, columns = np.flatnonzero((face_id >= 0).any(axis=1)), np.flatnonzero((face_id >= 0).any(axis=0))
        if len(rows):
            top, bottom = rows[0] // FINER, rows[-1] // FINER + 1
            left, right = columns[0] // FINER, columns[-1] // FINER + 1
            ids = face_id[FINER * top : FINER * bottom, FINER * left : FINER * right]
            behind = picture[top:bottom, left:right]
            finer = cv2.resize(behind, ids.shape[::-1], interpolation=cv2.INTER_NEAREST)
            finer[ids >= 0] = _lit(body, vertices, look)[ids[ids >= 0]]
            picture[top:bottom, left:right] = cv2.resize(
                finer, behind.shape[1::-1], interpolation=cv2.INTER_AREA
            )
        yield Frame(index=at, pts_s=float(pts_s), image=np.clip(picture, 0, 255).astype(np.uint8))


def _lit(body: BodyModel, vertices: np.ndarray, look: Look) -> np.ndarray:
    """(F, 3) colours by Lambert's law."""
    corner = vertices[body.faces]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    light = look.ambient + (1 - look.ambient) * np.clip(normal @ look.lamp, 0, 1)
    return (look.colour * light[:, None]).astype(np.float32)


def _paint(rng: np.random.Generator, body: BodyModel) -> np.ndarray:
    """(F, 3) skin, clothes, shoes, hair, eyes and mouth."""
    owner = body.weights.argmax(axis=1)
    skin = SKINS[rng.integers(len(SKINS))] * rng.uniform(0.85, 1.1)

    def cloth() -> np.ndarray:
        return rng.uniform(15, 240) * (0.5 + 0.5 * rng.uniform(0.3, 1.7, 3))

    shirt, trousers, shoes = cloth(), 0.8 * cloth(), cloth()
    hair = rng.uniform(10, 150) * np.array([1.0, 0.8, 0.65])
    top = skin if rng.random() < 0.1 else shirt
    sleeves = LOWER_ARMS if rng.random() < 0.5 else ()
    legs = () if rng.random() < 0.35 else SHANKS
    colour = np.tile(skin, (len(owner), 1))
    for paint, joints in ((top, TORSO + UPPER_ARMS + sleeves), (trousers, THIGHS + legs), (shoes, FEET)):
        colour[np.isin(owner, joints)] = paint
    rest = body.as_named.landmarks(np.zeros((JOINT_COUNT, 3)), np.zeros(10), np.zeros(3))
    eyes, mouth, ears = rest[[2, 5]], rest[[9, 10]].mean(axis=0), rest[[7, 8]].mean(axis=0)
    place, head = body.template, owner == HEAD
    colour[head & ((place[:, 2] < ears[2] - 0.01) | (place[:, 1] > eyes[:, 1].mean() + 0.045))] = hair
    for eye in eyes:
        colour[head & (np.linalg.norm(place - eye, axis=1) < 0.014)] = (30, 25, 25)
    colour[head & (np.abs((place - mouth) / [0.025, 0.008, 0.03]) < 1).all(axis=1)] = (150, 70, 70)
    faces = colour[body.faces].mean(axis=1)
    return np.clip(faces * rng.uniform(0.85, 1.1, (len(faces), 1)), 0, 255)


def _wall(rng: np.random.Generator, hw: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) soft noise of several sizes, and a floor."""
    wall = np.zeros((*hw, 3))
    for cells in (4, 16, 60):
        grey, tint = rng.normal(0, 1, (cells, cells, 1)), rng.normal(0, 0.35, (cells, cells, 3))
        noise = cv2.resize((grey + tint).astype(np.float32), hw[::-1], interpolation=cv2.INTER_CUBIC)
        wall += rng.uniform(6, 22) * noise
    wall += 0.5 * rng.uniform(40, 220, 3) + 0.5 * rng.uniform(30, 200)
    wall[int(rng.uniform(0.6, 0.9) * hw[0]) :] *= rng.uniform(0.5, 1.2)
    return wall
