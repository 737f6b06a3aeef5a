"""Rows of the table `portraits`: a picture of one person and the body that was there, of a capture of one's own.

A capture is a film, or a folder of pictures in the order of their names, and a file of bodies in the neutral format
(`tracking.imported_bodies`), which says where a person was in each frame.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import CameraSettings
from pipeline.geometry.camera import weak_perspective_from_translation
from pipeline.geometry.posed_surface import PosedSurface
from pipeline.records import Frame
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.tracking.imported_bodies import ImportedBodies, in_camera, source_camera
from pipeline.tracking.imported_tracker import frames_with_tolerance, placed, rows_at
from pipeline.tracking.tracker import full_camera
from pipeline.video.crops import crop_image, decode_image, encode_jpeg
from pipeline.video.decode import decode
from schemas.conventions import VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE, VECTOR_SIZE
from schemas.errors import SourceError
from schemas.portraits import PORTRAIT_PX

MARGIN = 1.5
"""Side of the square over the longer side of the person: room for other crops."""
JPEG_QUALITY = 92
PICTURES = (".jpg", ".jpeg", ".png")


def portrait_row(
    picture: np.ndarray,
    surface: PosedSurface,
    *,
    pose: np.ndarray,
    betas: np.ndarray,
    translation: np.ndarray,
) -> dict[str, Any]:
    """`image`, `mask` and `body_vector` of the crop around a surface in a picture that its camera took.

    The mask is where the surface is seen; pose (24, 3), betas (10,) and translation (3,) are the body's.
    """
    camera = surface.camera
    px = camera.px_from_cam(surface.vertices)
    low, high = px.min(axis=0), px.max(axis=0)
    crop = np.array([*(low + high) / 2, MARGIN * (high - low).max()])
    cropped, vector = camera.cropped(crop, PORTRAIT_PX), np.empty(VECTOR_SIZE)
    vector[VECTOR_CAMERA] = weak_perspective_from_translation(translation, cropped)
    vector[VECTOR_POSE] = pose.reshape(-1)
    vector[VECTOR_BETAS] = betas
    raster = render(CompiledRasterizer(), surface.vertices, surface.faces, cropped)
    return {
        "image": encode_jpeg(crop_image(picture, crop, PORTRAIT_PX), JPEG_QUALITY),
        "mask": raster.mask.astype(np.uint8),
        "body_vector": vector,
    }


def captured_portraits(
    frames: Iterable[Frame],
    bodies: ImportedBodies,
    body: BodyModel,
    *,
    name: str,
    focal_px: float | None = None,
    every: int = 1,
) -> Iterator[dict[str, Any]]:
    """Rows of every `every`-th frame's people; bodies behind the camera or wholly outside the picture are left out.

    The mask is the naked body's. Bodies in weak perspective take the film's lens, or the medium one.
    """
    placed_bodies = in_camera(bodies, body)
    for number, (frame, tolerance_s) in enumerate(frames_with_tolerance(frames, placed_bodies)):
        if number % every:
            continue
        height, width = frame.image.shape[:2]
        for at in rows_at(placed_bodies, frame, tolerance_s):
            row = placed_bodies.rows(np.array([at]))
            if row.crop_px is not None and row.is_weak:
                camera = full_camera((height, width), row.crop_px, focal_px, CameraSettings())
            else:
                camera = source_camera(row, (height, width))
            (place,) = placed(row, camera)
            surface = body.vertices(row.pose[0], row.betas[0], place)
            px = camera.px_from_cam(surface)
            inside = (px > 0) & (px < [width, height])
            if not (np.isfinite(px).all() and inside.all(axis=1).any()):
                continue
            made = portrait_row(
                frame.image,
                PosedSurface(vertices=surface, faces=body.faces, camera=camera),
                pose=row.pose[0],
                betas=row.betas[0],
                translation=place,
            )
            sample_id = f"{name}/p{int(row.person[0])}/{frame.index:06d}"
            yield made | {"sample_id": sample_id, "source_id": name}


def capture_frames(path: Path) -> Iterator[Frame]:
    """The frames of a film, or of a folder of pictures numbered in the order of their names (30 a second)."""
    if not path.is_dir():
        yield from decode(path)
        return
    pictures = sorted(found for found in path.iterdir() if found.suffix.lower() in PICTURES)
    if not pictures:
        raise SourceError(
            f"{path} holds no pictures.", remedy="Give a film, or a folder of JPEG or PNG files."
        )
    for index, picture in enumerate(pictures):
        yield Frame(index=index, pts_s=index / 30, image=decode_image(picture.read_bytes()))
