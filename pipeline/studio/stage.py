"""Where it is filmed: camera, lamps and background. Camera axes x right, y down, z forward, metres."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.geometry.array_types import Floats, Singles
from pipeline.geometry.camera import Camera
from pipeline.studio.settings import StudioSettings
from schemas.errors import SourceError

MIDDLE_HEIGHT_M = 0.9
"""Height of the point about which a camera is tilted, above the floor."""
MAX_TILT_SIGMAS = 2.5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lamp:
    """A distant lamp."""

    towards: np.ndarray
    """(3,) unit vector from the person to the lamp."""
    colour: np.ndarray
    """(3,) linear strength."""
    casts_shadow: bool


class Stage:
    """One place: everything but the person, drawn once."""

    def __init__(
        self,
        settings: StudioSettings,
        rng: np.random.Generator,
        backgrounds: list[Path],
        tilt_rng: np.random.Generator,
    ) -> None:
        self._settings = settings
        hw = (settings.height_px, settings.width_px)
        focal = float(rng.uniform(settings.least_focal, settings.most_focal) * max(hw))
        self.camera = Camera(np.array([[focal, 0, hw[1] / 2], [0, focal, hw[0] / 2], [0, 0, 1.0]]), hw)
        fill = rng.uniform(0.62, 0.8)
        self.distance_m = float(focal * 1.75 / (fill * hw[0]))
        # Feet stay above the lower border and an upright head below the upper one, whatever the share of the picture.
        self.eye_height_m = float(rng.uniform(max(0.6, 1.75 - 0.8 / fill), 0.78 / fill))
        self._middle_m = np.array([0.0, self.eye_height_m - MIDDLE_HEIGHT_M, self.distance_m])
        self._tilt = _tilt(settings, tilt_rng)
        warm = rng.uniform(0.85, 1.15)
        self.ambient = rng.uniform(0.25, 0.5) * np.array([1.0, 1.0, 1 / warm])
        self.lamps = [
            Lamp(
                towards=_direction(rng),
                colour=strength * np.array([warm, 1.0, 1 / warm]),
                casts_shadow=shadow,
            )
            for strength, shadow in ((rng.uniform(0.5, 0.9), True), (rng.uniform(0.1, 0.4), False))
        ]
        self._is_hand_held = bool(rng.uniform() < 0.5)
        self._shake_rate = 2 * np.pi * rng.uniform(0.3, 1.5, (2, 3))
        self._shake_phase = rng.uniform(0, 2 * np.pi, (2, 3))
        self._drift_rate, self._drift_phase = (
            2 * np.pi * rng.uniform(0.05, 0.4, 4),
            rng.uniform(0, 2 * np.pi, 4),
        )
        margin = 1.15
        size = (round(margin * hw[1]), round(margin * hw[0]))
        self._backdrop = _picture(rng, size, backgrounds).astype(np.float32)
        self._still: np.ndarray | None = None

    def turn(self, time_s: float) -> np.ndarray:
        """(3, 3) camera_from_stage of directions: the camera's tilt, then how it is shaken at a time."""
        shake = self._shake(time_s)
        return shake if self._tilt is None else shake @ self._tilt

    def cam_from_stage(self, points: Floats, time_s: float) -> Floats:
        """Points (..., 3) of the stage before the camera at a time: S (T (p - m) + m).

        S is the shake and T the tilt, about the middle m of a person in the middle of the set, who stays in view.
        """
        if self._tilt is not None:
            points = (points - self._middle_m) @ self._tilt.T + self._middle_m
        return points @ self._shake(time_s).T

    def _shake(self, time_s: float) -> Floats:
        """(3, 3) how a hand-held camera is turned at a time; the identity on a tripod."""
        if not self._is_hand_held:
            return np.eye(3)
        waves = np.sin(self._shake_rate * time_s + self._shake_phase).mean(axis=0)
        return np.asarray(Rotation.from_rotvec(np.radians(self._settings.shake_deg) * waves).as_matrix())

    def gain(self, time_s: float) -> Floats:
        """(3,) exposure times white balance at a time."""
        waves = self._settings.drift * np.sin(self._drift_rate * time_s + self._drift_phase)
        return np.asarray((1 + waves[0]) * (1 + 0.5 * waves[1:]))

    def backdrop(self, time_s: float) -> np.ndarray:
        """(H, W, 3) float32 linear colours of a background at infinity, which moves as the camera is shaken."""
        if self._still is None or self._is_hand_held:
            self._still = self._turned_backdrop(time_s)
        return self._still

    def _turned_backdrop(self, time_s: float) -> Singles:
        camera = self.camera
        height, width = self._backdrop.shape[:2]
        v, u = np.mgrid[: camera.hw[0], : camera.hw[1]] + 0.5
        ray = np.stack([(u - camera.K[0, 2]), (v - camera.K[1, 2]), np.full_like(u, camera.K[0, 0])], axis=-1)
        ray = ray @ self._shake(time_s)  # stage_from_camera is the transpose: a row vector times the matrix
        x = camera.K[0, 0] * ray[..., 0] / ray[..., 2] + width / 2
        y = camera.K[1, 1] * ray[..., 1] / ray[..., 2] + height / 2
        maps = ((x - 0.5).astype(np.float32), (y - 0.5).astype(np.float32))
        return np.asarray(cv2.remap(self._backdrop, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def _tilt(settings: StudioSettings, rng: np.random.Generator) -> Floats | None:
    """(3, 3) camera_from_level: pitch (positive looks down), then roll; None for a level camera."""
    if settings.pitch_deg == 0 and settings.roll_deg == 0:
        return None
    sigmas = np.clip(rng.standard_normal(2), -MAX_TILT_SIGMAS, MAX_TILT_SIGMAS)
    pitch, roll = sigmas * [settings.pitch_deg, settings.roll_deg]
    tilt = Rotation.from_euler("z", roll, degrees=True) * Rotation.from_euler("x", pitch, degrees=True)
    matrix: Floats = tilt.as_matrix()
    return matrix


def _direction(rng: np.random.Generator) -> Floats:
    """Above, on the camera's side, to the left or right."""
    direction = np.array([rng.uniform(-1, 1), -rng.uniform(0.4, 1.2), -rng.uniform(0.5, 1.2)])
    return np.asarray(direction / np.linalg.norm(direction))


def _picture(rng: np.random.Generator, size: tuple[int, int], backgrounds: list[Path]) -> Singles:
    if not backgrounds:
        return _procedural(rng, size)
    path = backgrounds[int(rng.integers(len(backgrounds)))]
    # Read here: OpenCV crashes on a path that is not UTF-8.
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
    if image is None:
        raise SourceError(f"{path} is not a picture.", remedy="Give a folder of JPEG or PNG files.")
    scale = max(size[0] / image.shape[1], size[1] / image.shape[0])
    image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top, left = (image.shape[0] - size[1]) // 2, (image.shape[1] - size[0]) // 2
    image = image[max(top, 0) : max(top, 0) + size[1], max(left, 0) : max(left, 0) + size[0]]
    return np.asarray(((image[..., ::-1] / 255.0) ** 2.2).astype(np.float32))


def _muted(rng: np.random.Generator) -> np.ndarray:
    """(3,) a colour of walls and floors: mostly grey."""
    return rng.uniform(0.05, 0.6) * (0.7 + 0.3 * rng.uniform(0.2, 1.8, 3))


def _procedural(rng: np.random.Generator, size: tuple[int, int]) -> Singles:
    """A wall, a floor, boxes and leaves: structure at every scale, edges, and nothing that looks like a person."""
    width, height = size
    horizon = int(height * rng.uniform(0.55, 0.8))
    picture = np.empty((height, width, 3), np.float32)
    picture[:horizon] = _muted(rng)
    picture[horizon:] = _muted(rng)
    for _ in range(int(rng.integers(6, 16))):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        w, h = int(width * rng.uniform(0.05, 0.3)), int(height * rng.uniform(0.05, 0.4))
        cv2.rectangle(picture, (x, y), (x + w, y + h), _muted(rng).tolist(), -1)
    for cell in (4, 16, 64):
        grain = rng.standard_normal((height // cell + 2, width // cell + 2)).astype(np.float32)
        grain = cv2.resize(grain, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)[:height, :width]
        picture *= np.exp(0.12 * grain)[..., None]
    return np.asarray(np.clip(cv2.GaussianBlur(picture, (0, 0), 1.2), 0.002, 1.0))
