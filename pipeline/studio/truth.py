"""The true depth of samples that were made from studio clips, in each sample's own crop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import render
from pipeline.studio.clip import StudioClip
from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.dataset import Dataset
from schemas.errors import DatasetError

FOCAL_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleTruth:
    """What a sample should have found. Maps (MAP_PX, MAP_PX) float32 metres, 0 = background."""

    sample_id: str
    depth_m: np.ndarray
    """The dressed surface."""
    body_depth_m: np.ndarray
    """The naked body of the model in its true pose and shape: the base depth of a perfect tracker."""
    K: np.ndarray
    """(3, 3) at map size."""


def truth_of(dataset: Dataset, studio: Path) -> Iterator[SampleTruth]:
    """The truth of every sample, in the dataset's order.

    Clips are known by their ids. Raises DatasetError where a clip is not in the studio's folder, or where the dataset
    was made with another focal length than the film's (give `run` the studio's clips.csv).
    """
    rasterizer = CompiledRasterizer()
    sides = {
        (row["track_id"], row["frame_index"]): float(row["crop_px"][2])
        for row in dataset.rows("frames", ["track_id", "frame_index", "crop_px"])
    }
    columns = ["sample_id", "track_id", "frame_index", "clip_id", "pts_s", "K"]
    for row in dataset.rows("samples", columns):
        clip = _clip(studio / f"{row['clip_id']}.json")
        camera = Camera(row["K"], (IMAGE_PX, IMAGE_PX)).resized((MAP_PX, MAP_PX))
        assumed_px = row["K"][0, 0] * sides[row["track_id"], row["frame_index"]] / IMAGE_PX
        _check_focal(row["sample_id"], assumed_px, clip)
        instant = clip.at(float(row["pts_s"]))
        depth, body = (
            render(rasterizer, vertices, faces, camera).depth.astype(np.float32)
            for vertices, faces in (
                (instant.surface, clip.actor.mesh.faces),
                (instant.body, clip.actor.body.faces),
            )
        )
        yield SampleTruth(sample_id=row["sample_id"], depth_m=depth, body_depth_m=body, K=camera.K)


@lru_cache(maxsize=2)
def _clip(facts_path: Path) -> StudioClip:
    return StudioClip.load(facts_path)


def _check_focal(sample_id: str, assumed_px: float, clip: StudioClip) -> None:
    focal_px = float(clip.camera.K[0, 0])
    if abs(assumed_px / focal_px - 1) > FOCAL_TOLERANCE:
        raise DatasetError(
            f"{sample_id} assumes a focal length of {assumed_px:.1f} px, the film has {focal_px:.1f}.",
            remedy="Run the pipeline on the studio's clips.csv, which states the focal length.",
        )
