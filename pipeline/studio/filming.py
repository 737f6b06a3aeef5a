"""From a posed, dressed person to the sensor: colours carried by the surface, light, shadow, exposure, noise."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.geometry.array_types import Bytes, Floats, Indices, Reals, Singles
from pipeline.geometry.camera import Camera
from pipeline.geometry.raster import Raster
from pipeline.rendering.base_mesh import outward_normals
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio.stage import Stage
from pipeline.studio.wardrobe import HAIR, SKIN, Actor

SHADOW_PX = 512
SHADOW_BIAS_M = 0.012
GAMMA = 2.2


class Film:
    """Draws one actor on one stage."""

    def __init__(self, actor: Actor, stage: Stage) -> None:
        self._actor, self._stage = actor, stage
        self._rasterizer = CompiledRasterizer()

    def exposed(self, vertices: np.ndarray, time_s: float, supersampling: int) -> np.ndarray:
        """(H, W, 3) linear light on the sensor for the dressed surface (V', 3) in camera coordinates.

        Only the rectangle that holds the person is drawn with several rays per pixel.
        """
        picture = self._stage.backdrop(time_s).copy()
        window = self._window(vertices)
        behind = picture[window]
        height, width = behind.shape[:2]
        if height and width:
            camera = _part(self._stage.camera, window, supersampling)
            raster = render(self._rasterizer, vertices, self._actor.mesh.faces, camera)
            finer = cv2.resize(behind, (camera.hw[1], camera.hw[0]))
            if raster.mask.any():
                finer[raster.mask] = self._lit(raster, vertices, time_s)
            picture[window] = cv2.resize(finer, (width, height), interpolation=cv2.INTER_AREA)
        return picture * self._stage.gain(time_s).astype(np.float32)

    def _window(self, vertices: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns of the picture that the surface can touch."""
        px = self._stage.camera.px_from_cam(vertices)
        height, width = self._stage.camera.hw
        left, top = np.clip(np.floor(px.min(axis=0)), 0, [width, height]).astype(int)
        right, bottom = np.clip(np.ceil(px.max(axis=0)), 0, [width, height]).astype(int)
        return slice(top, bottom), slice(left, right)

    def _lit(self, raster: Raster, vertices: Singles, time_s: float) -> Singles:
        """(n, 3) light of body pixels: ambient from above, Lambert, and a little shine (Blinn and Phong)."""
        mesh = self._actor.mesh
        corners = mesh.faces[raster.face_id[raster.mask]]
        weight = raster.barycentric[raster.mask].astype(np.float32)  # light needs no more; geometry is done
        carried = np.concatenate([outward_normals(vertices, mesh.faces), vertices, mesh.rest], axis=1)
        blended: Reals = _blend(carried, corners, weight)  # one gather for all three
        normal, point, rest = blended[:, :3], blended[:, 3:6], blended[:, 6:]
        normal = normal / np.maximum(_length(normal), 1e-9)
        albedo, shine = self._material(corners, weight, rest)
        turn = self._stage.turn(time_s).astype(np.float32)
        sky = 0.5 * (1 - normal @ turn[:, 1])
        light = albedo * self._stage.ambient.astype(np.float32) * (0.55 + 0.45 * sky[:, None])
        view = -point / _length(point)
        for lamp in self._stage.lamps:
            towards = turn @ lamp.towards.astype(np.float32)
            facing = np.maximum(normal @ towards, 0)
            if lamp.casts_shadow:
                facing *= self._unshaded(point, vertices, towards)
            half = view + towards
            half /= _length(half)
            glint = shine * np.maximum(np.einsum("nc,nc->n", normal, half), 0) ** 24 * (facing > 0)
            light = light + lamp.colour.astype(np.float32) * (albedo * facing[:, None] + glint[:, None])
        return np.asarray(light)

    def _material(
        self, corners: np.ndarray, weight: np.ndarray, rest: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Colour (n, 3) and shine (n,): each pixel has the material of its heaviest corner, so seams are sharp.

        rest (n, 3) is the place of each pixel on the body at rest.
        """
        mesh = self._actor.mesh
        worn = mesh.garment[corners[np.arange(len(corners)), weight.argmax(axis=1)]]
        colour, shine = np.zeros((len(worn), 3), np.float32), np.zeros(len(worn), np.float32)
        for garment in range(SKIN, HAIR + 1):
            own = worn == garment
            if own.any():
                fabric = self._actor.fabrics[garment]
                colour[own], shine[own] = fabric.colours(rest[own]), fabric.shine
        return colour, shine

    def _unshaded(self, point: Singles, vertices: Singles, towards: Singles) -> Singles:
        """(n,) 1 where the lamp sees the point, 0 in shadow, by a depth picture taken from the lamp."""
        eye, lamp_from_cam = _lamp_view(vertices, towards)
        seen = (vertices - eye) @ lamp_from_cam.T
        extent = np.abs(seen[:, :2] / seen[:, 2:]).max() * 1.05
        focal = SHADOW_PX / 2 / extent
        K = np.array([[focal, 0, SHADOW_PX / 2], [0, focal, SHADOW_PX / 2], [0, 0, 1.0]])
        camera = Camera(K, (SHADOW_PX, SHADOW_PX))
        depth = render(self._rasterizer, seen, self._actor.mesh.faces, camera).depth
        there = (point - eye) @ lamp_from_cam.T
        column, row = np.clip(np.floor(camera.px_from_cam(there)).astype(int), 0, SHADOW_PX - 1).T
        front = depth[row, column]
        return np.asarray(((front == 0) | (there[:, 2] <= front + SHADOW_BIAS_M)).astype(np.float32))


def developed(light: Reals, rng: np.random.Generator, noise: float) -> Bytes:
    """(H, W, 3) uint8 sRGB-like picture of linear light: gamma, then the sensor's noise."""
    light = np.clip(light.astype(np.float32), 0, 1)  # single precision: a power costs a third
    picture = light ** np.float32(1 / GAMMA) + np.float32(noise) * rng.standard_normal(
        light.shape, np.float32
    )
    return np.asarray(np.clip(np.rint(255 * picture), 0, 255).astype(np.uint8))


def _blend(values: Floats, corners: Indices, weight: Singles) -> Singles:
    """(n, C) sum over a face's corners k of weight (n, k) times values (V, C)."""
    single = values.astype(np.float32)
    return np.asarray(sum(weight[:, k, None] * single[corners[:, k]] for k in range(3)))


def _length(vectors: Reals) -> Reals:
    """(n, 1) of (n, 3); einsum, because numpy's norm over a short last axis is slow."""
    return np.asarray(np.sqrt(np.einsum("nc,nc->n", vectors, vectors))[:, None])


def _part(camera: Camera, window: tuple[slice, slice], finer: int) -> Camera:
    """The camera of a window of the picture, with `finer` rays per pixel along each side."""
    K = camera.K.copy()
    K[0, 2] -= window[1].start
    K[1, 2] -= window[0].start
    hw = (window[0].stop - window[0].start, window[1].stop - window[1].start)
    return Camera(K, hw).resized((finer * hw[0], finer * hw[1]))


def _lamp_view(vertices: np.ndarray, towards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where a camera stands far out at the lamp, and its axes (3, 3) lamp_from_cam, looking at the person."""
    centre = 0.5 * (vertices.min(axis=0) + vertices.max(axis=0))
    z = -towards
    x = np.cross(np.array([0.0, 1.0, 0.0]), z)
    x /= max(float(np.linalg.norm(x)), 1e-9)
    return centre + 20.0 * towards, np.stack([x, np.cross(z, x), z])
