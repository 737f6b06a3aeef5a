"""A track in, the same track with bodies that agree out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import RefineSettings
from pipeline.geometry.array_types import Flags, Floats
from pipeline.geometry.camera import (
    Camera,
    translation_from_weak_perspective,
    weak_perspective_from_translation,
)
from pipeline.geometry.rigid import rotation_from_rotvec, rotvec_from_rotation
from pipeline.records import Track, TrackSurface
from pipeline.refine.alignment import Report, aligned_bodies
from pipeline.refine.dressed_shape import DressedShape
from pipeline.refine.track_bodies import TrackBodies
from pipeline.refine.track_frames import Pictures, TrackFrames
from pipeline.rendering.compiled import CompiledRasterizer
from schemas.conventions import IMAGE_PX, JOINT_COUNT, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE


def refined_track(
    track: Track,
    pictures: Pictures,
    body: BodyModel,
    rasterizer: CompiledRasterizer,
    settings: RefineSettings,
    gaps_s: Sequence[float],
    report: Report | None = None,
) -> Track:
    """The track with corrected vectors in its kept frames and its dressed shape; `tracked_vector` keeps what the
    tracker said.

    `pictures(at)` is the crop of the frame at that place of the track, (IMAGE_PX, IMAGE_PX, 3) uint8; it is asked for
    kept frames only. With mode `off`, or fewer than two kept frames, the track itself comes back.
    """
    kept = np.flatnonzero(track.kept)
    if settings.mode == "off" or len(kept) < 2:
        return track
    cameras = [Camera(track.K[at], (IMAGE_PX, IMAGE_PX)) for at in kept]
    pts_s = track.pts_s[kept]
    weights = window_weights(pts_s, settings.window_s)
    if settings.mode == "pairs":
        weights = pair_weights(pts_s, gaps_s)
    vector = track.vector.copy()
    frames = TrackFrames(
        pictures=lambda place: pictures(int(kept[place])),
        cameras=cameras,
        pts_s=pts_s,
        neighbours=weights,
        person=(lambda place: track.person_at(int(kept[place]))) if settings.person else None,
    )
    shapes: list[DressedShape] = []
    vector[kept] = refined_vectors(
        frames, track.vector[kept], body, rasterizer, settings, report, shapes.append
    )
    offset_m, sigma_m = shapes[0].at_vertices(body)
    surface = TrackSurface(offset_m=offset_m, sigma_m=sigma_m)
    return replace(track, vector=vector, tracked_vector=track.vector, surface=surface)


def refined_vectors(
    frames: TrackFrames,
    vectors: np.ndarray,
    body: BodyModel,
    rasterizer: CompiledRasterizer,
    settings: RefineSettings,
    report: Report | None = None,
    on_shape: Callable[[DressedShape], None] | None = None,
) -> np.ndarray:
    """Corrected vectors (T, 85) of vectors (T, 85) in the crops' cameras. One shape: the median of the betas.

    A frame without neighbours keeps its vector, and so does every frame if the pictures show no texture.
    """
    translation = np.stack(
        [
            translation_from_weak_perspective(row[VECTOR_CAMERA], camera)
            for row, camera in zip(vectors, frames.cameras)
        ]
    )
    start = TrackBodies(
        rotation=rotation_from_rotvec(vectors[:, VECTOR_POSE].reshape(-1, JOINT_COUNT, 3)),
        translation=translation,
        betas=np.median(vectors[:, VECTOR_BETAS], axis=0),
    )
    found = aligned_bodies(start, frames, body, rasterizer, settings, report, on_shape)
    refined = vectors.copy()
    refined[:, VECTOR_POSE] = rotvec_from_rotation(found.rotation).reshape(len(vectors), -1)
    refined[:, VECTOR_BETAS] = found.betas
    for at, camera in enumerate(frames.cameras):
        refined[at, VECTOR_CAMERA] = weak_perspective_from_translation(found.translation[at], camera)
    return refined


def window_weights(pts_s: Floats, window_s: float) -> Floats:
    """(T, T) raised cosines of the time between frames, 1 at 0 and 0 from `window_s` on; 0 on the diagonal."""
    lag = np.abs(pts_s[:, None] - pts_s[None, :])
    weights = np.where(lag < window_s, 0.5 + 0.5 * np.cos(np.pi * lag / window_s), 0.0)
    np.fill_diagonal(weights, 0.0)
    return weights


def pair_weights(pts_s: Floats, gaps_s: Sequence[float]) -> Floats:
    """(T, T) 1 for frames that lie a candidate gap apart, to within half a frame; a sparse graph of pairs."""
    period_s = float(np.median(np.diff(pts_s))) if len(pts_s) > 1 else 0.0
    lag = np.abs(pts_s[:, None] - pts_s[None, :])
    near: Flags = np.abs(lag[..., None] - np.asarray(gaps_s, np.float64)).min(axis=-1) <= period_s / 2 + 1e-9
    np.fill_diagonal(near, False)
    return near.astype(np.float64)
