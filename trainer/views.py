"""A second calibrated camera: what `evaluate --views` reads. The format is described in docs/views.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from schemas.documents import abbreviated, damaged, json_object, text_of
from schemas.errors import DatasetError, DecodeError
from trainer.photo_file import read_photo

FORMAT, FORMAT_VERSION = "humandepth-views", 1
_UNDISTORTING_STEPS = 12
"""Each takes the error down by ten or more for the lenses of ordinary cameras."""
_REMEDY = "See docs/views.md for what the file holds."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CalibratedCamera:
    """One camera as calibrated: x_cam = R x_world + t in metres; pixels' centres at +0.5, as everywhere here."""

    K: NDArray[np.float64]
    """(3, 3) at `hw`."""
    distortion: NDArray[np.float64]
    """(4,) to (8,) OpenCV's k1, k2, p1, p2, ...; zeros for none."""
    R: NDArray[np.float64]
    t: NDArray[np.float64]
    hw: tuple[int, int]
    gain: NDArray[np.float64]
    """(3,) red, green, blue: colour gain + bias is what the first camera would show. Ones and zeros where not given."""
    bias: NDArray[np.float64]

    def px_from_cam(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 2) pixels of camera points (..., 3); NaN where they are not in front, or not known."""
        flat = np.asarray(points, np.float64).reshape(-1, 3)
        with np.errstate(invalid="ignore"):
            known = flat[:, 2] > 1e-6
        px = np.full((len(flat), 2), np.nan)
        if known.any():
            px[known] = cv2.projectPoints(flat[known], np.zeros(3), np.zeros(3), self.K, self.distortion)[0][
                :, 0
            ]
        return px.reshape(*points.shape[:-1], 2)

    def rays(self, px: NDArray[np.floating]) -> NDArray[np.float64]:
        """(..., 3) camera rays with z = 1 through pixels (..., 2): what is distorted to them, by fixed-point steps."""
        flat = np.asarray(px, np.float64).reshape(-1, 2)
        focal, centre = self.K[(0, 1), (0, 1)], self.K[:2, 2]
        rays = np.concatenate([(flat - centre) / focal, np.ones((len(flat), 1))], axis=1)
        for _ in range(_UNDISTORTING_STEPS if self.distortion.any() else 0):
            rays[:, :2] += (flat - self.px_from_cam(rays)) / focal
        return rays.reshape(*px.shape[:-1], 3)

    def from_other(self, other: CalibratedCamera) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """R (3, 3) and t (3,): x_self = R x_other + t."""
        R = self.R @ other.R.T
        return R, self.t - R @ other.t


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewPair:
    """One instant, seen by both cameras."""

    prediction: str
    """Name of the prediction's file, without .npz, made from the first camera's picture."""
    first: str
    """Picture, or FILM#FRAME, beside the file that names it."""
    second: str
    silhouette: str | None
    """Picture of the second camera's size, bright where the person is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Views:
    """Two cameras and what they saw."""

    folder: Path
    first: CalibratedCamera
    second: CalibratedCamera
    pairs: tuple[ViewPair, ...]

    @classmethod
    def load(cls, path: Path) -> Views:
        """Reads the file. Raises DatasetError naming what is wrong with it."""
        try:
            content = json_object(path.read_bytes())
            if (content.get("format"), content.get("format_version")) != (FORMAT, FORMAT_VERSION):
                raise ValueError(
                    f"format {abbreviated(content.get('format'))}, expected {FORMAT!r} version 1"
                )
            pairs = content["pairs"]
            if not isinstance(pairs, list) or not pairs:
                raise ValueError("pairs must be a list of at least one")
            return cls(
                folder=path.parent,
                first=_camera(content["first"], "first"),
                second=_camera(content["second"], "second"),
                pairs=tuple(_pair(pair) for pair in pairs),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            why = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise damaged(path, why, remedy=_REMEDY) from error

    def picture(self, name: str, camera: CalibratedCamera) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB of a picture or FILM#FRAME. Raises DatasetError where it is not of the camera's size."""
        film, mark, frame = name.rpartition("#")
        image = (
            _film_frame(self.folder / film, int(frame))
            if mark and frame.isdigit()
            else read_photo(self.folder / name)
        )
        if image.shape[:2] != camera.hw:
            raise DatasetError(
                f"{self.folder / name} has {image.shape[1]} x {image.shape[0]} pixels, its camera "
                f"{camera.hw[1]} x {camera.hw[0]}.",
                remedy="Give the pictures as they were calibrated, or scale K with them.",
            )
        return image


def _film_frame(path: Path, number: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB: the frame of that number, counted from 0 in decoding order."""
    film = cv2.VideoCapture(str(path))
    try:
        is_read, image = True, None
        for at in range(number + 1):
            is_read = film.grab() if at < number else False
            if at == number:
                is_read, image = film.read()
            if not is_read:
                break
    finally:
        film.release()
    if image is None or not is_read:
        raise DecodeError(f"{path} has no frame {number}.", remedy="Check the path and the frame's number.")
    rgb: NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    return rgb


def _camera(said: Mapping[str, Any], name: str) -> CalibratedCamera:
    height, width = (int(value) for value in said["hw"])
    K = _numbers(said["K"], (3, 3), f"{name}.K")
    K[:2, 2] += 0.5  # OpenCV: the first pixel's centre at (0, 0)
    R = _numbers(said["R"], (3, 3), f"{name}.R")
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0:
        raise ValueError(f"{name}.R is no rotation")
    distortion = np.asarray(said.get("dist", [0.0] * 4), np.float64).ravel()
    if distortion.size not in (4, 5, 8) or not np.isfinite(distortion).all():
        raise ValueError(f"{name}.dist has {distortion.size} numbers, expected 4, 5 or 8")
    if min(height, width) < 16 or not K[0, 0] > 0 or not K[1, 1] > 0:
        raise ValueError(f"{name} has {width} x {height} pixels and focal lengths {K[0, 0]}, {K[1, 1]}")
    return CalibratedCamera(
        K=K,
        distortion=distortion,
        R=R,
        t=_numbers(said["t"], (3,), f"{name}.t"),
        hw=(height, width),
        gain=_numbers(said.get("gain", [1.0] * 3), (3,), f"{name}.gain"),
        bias=_numbers(said.get("bias", [0.0] * 3), (3,), f"{name}.bias"),
    )


def _numbers(values: Sequence[Any], shape: tuple[int, ...], name: str) -> NDArray[np.float64]:
    array = np.array(values, np.float64)
    if array.shape != shape or not np.isfinite(array).all():
        raise ValueError(f"{name} is {abbreviated(values)}, expected finite numbers of shape {shape}")
    return array


def _pair(said: Mapping[str, Any]) -> ViewPair:
    silhouette = said.get("silhouette")
    return ViewPair(
        prediction=text_of(said["prediction"], "prediction"),
        first=text_of(said["first"], "first"),
        second=text_of(said["second"], "second"),
        silhouette=None if silhouette is None else text_of(silhouette, "silhouette"),
    )
