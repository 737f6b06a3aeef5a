"""Pictures of studio people with their true bodies: what TrackNet is trained on. Nothing is tracked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.geometry.camera import weak_perspective_from_translation
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio.clip import StudioClip
from pipeline.studio.filming import Film, developed
from pipeline.studio.settings import StudioSettings
from pipeline.video.crops import crop_image, encode_jpeg
from schemas.conventions import VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE, VECTOR_SIZE
from schemas.portraits import PORTRAIT_PX

MARGIN = 1.5
"""Side of the square over the longer side of the dressed person: room for other crops."""
JPEG_QUALITY = 92


def portraits_of(
    seeds: Iterable[int], settings: StudioSettings, per_clip: int, backgrounds: list[Path]
) -> Iterator[dict[str, Any]]:
    """Rows of `portraits`: of every seed's clip `per_clip` pictures at even times, one person a picture."""
    for seed in seeds:
        clip = StudioClip(seed, settings, backgrounds)
        film, noise = Film(clip.actor, clip.stage), np.random.default_rng([seed, 4])
        for number, time_s in enumerate(np.linspace(0, settings.duration_s, per_clip, endpoint=False)):
            surface = clip.at(time_s).surface
            light = film.exposed(surface, time_s, settings.supersampling)
            row = _portrait(clip, surface, developed(light, noise, settings.noise), float(time_s))
            yield row | {"sample_id": f"{clip.clip_id}/{number:03d}", "source_id": clip.clip_id}


def _portrait(clip: StudioClip, surface: np.ndarray, picture: np.ndarray, time_s: float) -> dict[str, Any]:
    px = clip.camera.px_from_cam(surface)
    low, high = px.min(axis=0), px.max(axis=0)
    crop = np.array([*(low + high) / 2, MARGIN * (high - low).max()])
    camera = clip.camera.cropped(crop, PORTRAIT_PX)
    found, vector = clip.parameters(time_s), np.empty(VECTOR_SIZE)
    vector[VECTOR_CAMERA] = weak_perspective_from_translation(found.translation, camera)
    vector[VECTOR_POSE] = found.pose.reshape(-1)
    vector[VECTOR_BETAS] = found.betas
    raster = render(CompiledRasterizer(), surface, clip.actor.mesh.faces, camera)
    return {
        "image": encode_jpeg(crop_image(picture, crop, PORTRAIT_PX), JPEG_QUALITY),
        "mask": raster.mask.astype(np.uint8),
        "body_vector": vector,
    }
