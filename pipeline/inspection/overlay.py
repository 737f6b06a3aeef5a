"""One frame with what tracking says about it: mesh, landmarks, box, id, quality, the gate that rules it out."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.body.model import BodyModel
from pipeline.geometry.array_types import Bytes
from pipeline.geometry.camera import Camera
from pipeline.method.rendered_frames import body_from_vector
from pipeline.records import Track
from pipeline.rendering import Rasterizer
from pipeline.tracking.people import Observations
from pipeline.tracking.quality import COUNTED_VISIBILITY
from schemas.conventions import IMAGE_PX

PERSON_COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (240, 228, 66),
    (0, 114, 178),
)
"""By person index (Okabe and Ito: told apart by colour-blind people)."""
GATED_COLOUR = (150, 150, 150)
"""Mesh of a frame that never makes samples."""
LEFT_COLOUR, RIGHT_COLOUR = (255, 60, 60), (60, 255, 60)
BONES = (
    (11, 12), (23, 24), (11, 23), (12, 24), (11, 13), (13, 15), (12, 14), (14, 16),
    (23, 25), (25, 27), (27, 31), (24, 26), (26, 28), (28, 32), (0, 7), (0, 8),
)  # fmt: skip
"""Pairs of BlazePose landmarks that are joined by a line."""
MESH_OPACITY = 0.55


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedPerson:
    """A track and the landmarks it was fitted to; both have the same frames."""

    track: Track
    seen: Observations

    @property
    def colour(self) -> tuple[int, int, int]:
        """The person's own colour."""
        return PERSON_COLOURS[self.track.person_index % len(PERSON_COLOURS)]


class OverlayPainter:
    """Paints people on frames that are shown `scale` times their size."""

    def __init__(self, body: BodyModel, rasterizer: Rasterizer, scale: float = 1.0) -> None:
        self._body, self._rasterizer, self._scale = body, rasterizer, scale

    def painted(
        self,
        image: Bytes,
        people: list[tuple[TrackedPerson, int]],
        heading: str = "",
        *,
        with_labels: bool = True,
    ) -> Bytes:
        """A copy of (H, W, 3) uint8 RGB, scaled, with every (person, position in their track) drawn on it."""
        height, width = image.shape[:2]
        hw = max(2, round(height * self._scale)), max(2, round(width * self._scale))
        interpolation = cv2.INTER_AREA if self._scale < 1 else cv2.INTER_CUBIC
        picture: Bytes = cv2.resize(image, (hw[1], hw[0]), interpolation=interpolation)
        for person, at in people:
            self._paint_mesh(picture, person, at, (height, width))
        for person, at in people:
            self._paint_landmarks(picture, person, at)
            if with_labels:
                self._paint_label(picture, person, at)
        if heading:
            _text(picture, heading, (8, 20), (255, 255, 255))
        return picture

    def _paint_mesh(
        self, picture: np.ndarray, person: TrackedPerson, at: int, image_hw: tuple[int, int]
    ) -> None:
        track = person.track
        crop_camera = Camera(track.K[at], (IMAGE_PX, IMAGE_PX))
        vertices = body_from_vector(track.vector[at], crop_camera, self._body).vertices
        camera = full_image_camera(track, at, image_hw).resized((picture.shape[0], picture.shape[1]))
        face_id = self._rasterizer.face_ids(vertices, self._body.faces, camera)
        mask = face_id >= 0
        if not mask.any():
            return
        corner = vertices[self._body.faces]
        normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
        facing = np.abs((normal * corner[:, 0]).sum(axis=-1)) / np.maximum(
            np.linalg.norm(normal, axis=-1) * np.linalg.norm(corner[:, 0], axis=-1), 1e-12
        )
        colour = np.array(GATED_COLOUR if track.reason[at] else person.colour, dtype=np.float64)
        lit = (0.25 + 0.75 * facing[face_id[mask]])[:, None] * colour
        picture[mask] = ((1 - MESH_OPACITY) * picture[mask] + MESH_OPACITY * lit).astype(np.uint8)
        outline, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outline, -1, tuple(map(int, colour)), 1, cv2.LINE_AA)

    def _paint_landmarks(self, picture: np.ndarray, person: TrackedPerson, at: int) -> None:
        seen = person.seen
        points = np.rint(seen.xy_px[at] * self._scale).astype(int)
        visible = seen.visibility[at] * seen.presence[at] > COUNTED_VISIBILITY
        for a, b in BONES:
            if visible[a] and visible[b]:
                cv2.line(picture, _pixel(points[a]), _pixel(points[b]), (255, 255, 255), 1, cv2.LINE_AA)
        for index in np.flatnonzero(visible):
            colour = (255, 255, 255) if index == 0 else LEFT_COLOUR if _is_left(int(index)) else RIGHT_COLOUR
            cv2.circle(picture, _pixel(points[index]), 2, colour, -1, cv2.LINE_AA)

    def _paint_label(self, picture: np.ndarray, person: TrackedPerson, at: int) -> None:
        track = person.track
        left, top, right, bottom = np.rint(track.box_px[at] * self._scale).astype(int)
        cv2.rectangle(picture, (int(left), int(top)), (int(right), int(bottom)), person.colour, 1)
        reason = track.reason[at]
        _text(picture, f"p{track.person_index:02d} {figures_of(track, at)}", (left, top - 18), person.colour)
        _text(picture, reason or "kept", (left, top - 4), (255, 120, 120) if reason else (160, 255, 160))


def figures_of(track: Track, at: int) -> str:
    """Error in % of the height, silhouette overlap and acceleration of a frame, short enough for a label."""
    quality = track.quality
    return (
        f"err {100 * quality.reprojection_error[at]:.1f}% iou {quality.silhouette_iou[at]:.2f} "
        f"acc {quality.acceleration_mm[at]:.0f}mm"
    )


def full_image_camera(track: Track, at: int, image_hw: tuple[int, int]) -> Camera:
    """The camera of the whole image, from that of the frame's crop: the inverse of `Camera.cropped`.

    Camera coordinates are the same for both.
    """
    centre_u, centre_v, side = (float(value) for value in track.crop_px[at])
    scale = side / IMAGE_PX
    image_from_crop = np.array(
        [[scale, 0.0, centre_u - side / 2], [0.0, scale, centre_v - side / 2], [0.0, 0.0, 1.0]]
    )
    return Camera(image_from_crop @ track.K[at], image_hw)


def _is_left(index: int) -> bool:
    return index in (1, 2, 3, 9) or (index >= 7 and index % 2 == 1)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    """A point drawing can take: far outside is as good as anywhere outside."""
    u, v = np.clip(point, -10_000, 10_000)
    return int(u), int(v)


def _text(picture: np.ndarray, text: str, at: tuple[int, int], colour: tuple[int, int, int]) -> None:
    width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)[0][0]
    u = int(np.clip(at[0], 2, max(2, picture.shape[1] - width - 2)))
    v = int(np.clip(at[1], 12, max(12, picture.shape[0] - 4)))
    cv2.putText(picture, text, (u, v), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 3, cv2.LINE_AA)
    cv2.putText(picture, text, (u, v), cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
