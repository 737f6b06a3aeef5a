"""A turning body with a texture on its skin, in pictures whose every point is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.geometry.camera import (
    Camera,
    translation_from_weak_perspective,
    weak_perspective_from_translation,
)
from pipeline.rendering.base_mesh import outward_normals
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio.fabric import WaveNoise
from schemas.conventions import VECTOR_CAMERA, VECTOR_POSE, VECTOR_SIZE

SIDE_PX = 192
DEPTH_M = 4.4
LAMP = np.array([-0.8, -0.3, -0.52])
"""Towards it."""


@dataclass(frozen=True)
class TexturedTrack:
    """T frames of the open body turning by `turn_deg` a frame, seen by one camera."""

    frames: int = 6
    turn_deg: float = 4.0
    is_textured: bool = True
    is_lit: bool = False
    """By a lamp from the side, beside light from everywhere."""
    has_backdrop: bool = False
    """Before a wall with stripes that stands still, instead of a grey ground."""

    @property
    def camera(self) -> Camera:
        """Of every frame."""
        focal = 500 / 224 * SIDE_PX
        return Camera(
            np.array([[focal, 0, SIDE_PX / 2], [0, focal, SIDE_PX / 2], [0, 0, 1.0]]), (SIDE_PX, SIDE_PX)
        )

    @cached_property
    def vectors(self) -> np.ndarray:
        """(T, 85) the true bodies."""
        vectors = np.zeros((self.frames, VECTOR_SIZE))
        pose = np.zeros((self.frames, 24, 3))
        pose[:, 16, 2], pose[:, 17, 2] = -1.1, 1.1
        turn = np.radians(self.turn_deg) * (np.arange(self.frames) - self.frames / 2)
        upright = Rotation.from_rotvec([np.pi, 0, 0])
        pose[:, 0] = (upright * Rotation.from_rotvec(turn[:, None] * [0.0, 1.0, 0.0])).as_rotvec()
        vectors[:, VECTOR_POSE] = pose.reshape(self.frames, -1)
        vectors[:, VECTOR_CAMERA] = weak_perspective_from_translation(
            np.array([0, -0.1, DEPTH_M]), self.camera
        )
        return vectors

    def jittered(self, size: float, seed: int) -> np.ndarray:
        """(T, 85) bodies that err by `size` centimetres and degrees per joint, independently in each frame."""
        rng = np.random.default_rng(seed)
        vectors = self.vectors.copy()
        turns = Rotation.from_rotvec(
            np.radians(size) / np.sqrt(3) * rng.standard_normal((self.frames * 24, 3))
        )
        pose = Rotation.from_rotvec(vectors[:, VECTOR_POSE].reshape(-1, 3)) * turns
        vectors[:, VECTOR_POSE] = pose.as_rotvec().reshape(self.frames, -1)
        move = 0.01 * size / np.sqrt(3) * rng.standard_normal((self.frames, 3))
        vectors[:, VECTOR_CAMERA] = weak_perspective_from_translation(
            self.translations(vectors) + move, self.camera
        )
        return vectors

    def translations(self, vectors: np.ndarray) -> np.ndarray:
        """(T, 3) metres."""
        return translation_from_weak_perspective(vectors[:, VECTOR_CAMERA], self.camera)

    def vertices(self, vectors: np.ndarray) -> np.ndarray:
        """(T, V, 3) metres."""
        body = BodyModel.open_body()
        return body.vertices(
            vectors[:, VECTOR_POSE].reshape(-1, 24, 3), np.zeros(10), self.translations(vectors)
        )

    def joints(self, vectors: np.ndarray) -> np.ndarray:
        """(T, 24, 3) metres."""
        body = BodyModel.open_body()
        return body.joints(
            vectors[:, VECTOR_POSE].reshape(-1, 24, 3), np.zeros(10), self.translations(vectors)
        )

    @cached_property
    def pictures(self) -> list[np.ndarray]:
        """T pictures (SIDE_PX, SIDE_PX, 3) uint8 on a grey ground."""
        body, rng = BodyModel.open_body(), np.random.default_rng(0)
        noises = [WaveNoise(rng, length) for length in (0.05, 0.08, 0.12)]
        pictures = []
        for vertices in self.vertices(self.vectors):
            raster = render(CompiledRasterizer(), vertices, body.faces, self.camera)
            rest = np.einsum(
                "nk,nkc->nc",
                raster.barycentric[raster.mask],
                body.template[body.faces[raster.face_id[raster.mask]]],
            )
            shade = np.stack([noise(rest) for noise in noises], axis=1) if self.is_textured else 0.0
            picture = np.full((SIDE_PX, SIDE_PX, 3), 110, np.uint8)
            if self.has_backdrop:
                picture[:] = np.where(np.arange(SIDE_PX) // 4 % 2, 230, 20)[:, None]
            colour = 110 + 35 * np.asarray(shade)
            if self.is_lit:
                normals = outward_normals(vertices, body.faces)[body.faces[raster.face_id[raster.mask]]]
                normal = np.einsum("nk,nkc->nc", raster.barycentric[raster.mask], normals)
                normal /= np.linalg.norm(normal, axis=1, keepdims=True)
                colour = colour * (0.5 + np.maximum(normal @ LAMP, 0))[:, None]
            picture[raster.mask] = np.clip(colour, 0, 255)
            pictures.append(picture)
        return pictures

    def persons(self) -> np.ndarray:
        """(T, SIDE_PX, SIDE_PX) uint8, 1 where a picture shows the body."""
        faces = BodyModel.open_body().faces
        rasters = [
            render(CompiledRasterizer(), each, faces, self.camera) for each in self.vertices(self.vectors)
        ]
        return np.stack([raster.mask for raster in rasters]).astype(np.uint8)

    def surface_error_px(self, vectors: np.ndarray) -> float:
        """Mean distance in pixels by which seen surface points move wrongly between neighbouring frames."""
        true_px = self.camera.px_from_cam(self.vertices(self.vectors))
        px = self.camera.px_from_cam(self.vertices(vectors))
        error = np.diff(px - true_px, axis=0)
        faces = BodyModel.open_body().faces
        seen = np.zeros(px.shape[1], bool)
        for vertices in self.vertices(self.vectors):
            raster = render(CompiledRasterizer(), vertices, faces, self.camera)
            seen[faces[raster.face_id[raster.mask]]] = True
        return float(np.linalg.norm(error[:, seen], axis=2).mean())
