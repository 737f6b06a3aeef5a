"""The table `frames` of a dataset of our own."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.foreign.film import Film, Results
from pipeline.foreign.rows import joined
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from schemas.conventions import IMAGE_PX, VECTOR_BETAS, VECTOR_CAMERA, VECTOR_POSE


def from_frames(contents: Any, film: Film) -> Results:
    """One Parquet shard of one clip."""
    rows = contents.select(["track_id", "frame_index", "pts_s", "body_vector", "crop_px", "K"]).to_pydict()
    vector, crop = np.array(rows["body_vector"], np.float64), np.array(rows["crop_px"])
    people = {name: number for number, name in enumerate(dict.fromkeys(rows["track_id"]))}
    cameras = [Camera(np.reshape(K, (3, 3)), (IMAGE_PX, IMAGE_PX)) for K in rows["K"]]
    scale = crop[:, 2] / IMAGE_PX
    lens = np.stack([camera.lens for camera in cameras]) * scale[:, None]
    place = [
        translation_from_weak_perspective(row[VECTOR_CAMERA], camera) for row, camera in zip(vector, cameras)
    ]
    found = {
        "person": [people[name] for name in rows["track_id"]],
        "frame_index": rows["frame_index"],
        "pts_s": rows["pts_s"],
        "pose": vector[:, VECTOR_POSE].reshape(-1, 24, 3),
        "betas": vector[:, VECTOR_BETAS],
        "translation_m": place,
        "focal_px": lens[:, 0],
        "centre_px": lens[:, 2:] + crop[:, :2] - crop[:, 2:] / 2,
    }
    return Results(bodies=joined([found], shape_space="open"))
