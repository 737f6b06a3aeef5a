"""The true depth of samples that were made from studio clips, in each sample's own crop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from pipeline.geometry.camera import Camera
from pipeline.rendering.compiled import CompiledRasterizer
from pipeline.rendering.rasterizer import Rasterizer, render
from pipeline.studio.clip import StudioClip
from schemas.conventions import IMAGE_PX, JOINT_COUNT, MAP_PX
from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.truth import JOINTS_OF_PARTS, PARTS, Truth

FOCAL_TOLERANCE = 1e-3
_PART_OF_JOINT = np.zeros(JOINT_COUNT, np.uint8)
for _number, _joints in enumerate(JOINTS_OF_PARTS):
    _PART_OF_JOINT[list(_joints)] = 1 + _number


def truth_of(dataset: Dataset, studio: Path) -> Iterator[tuple[str, Truth]]:
    """The id and the truth of every sample, in the dataset's order.

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
        side = sides.get((row["track_id"], row["frame_index"]))
        if side is None:
            raise DatasetError(
                f"{dataset.name}: `frames` holds no row for {row['sample_id']}.",
                remedy="See what else is wrong: python -m pipeline dataset verify.",
            )
        assumed_px = row["K"][0, 0] * side / IMAGE_PX
        _check_focal(row["sample_id"], assumed_px, clip)
        yield row["sample_id"], truth_at(clip, float(row["pts_s"]), row["K"], rasterizer)


def truth_at(clip: StudioClip, time_s: float, K: np.ndarray, rasterizer: Rasterizer) -> Truth:
    """What a crop with intrinsics K (3, 3) at IMAGE_PX shows of a clip at a time, at map size.

    A pixel belongs to the part whose joint moves the nearest corner of its face most.
    """
    camera = Camera(K, (IMAGE_PX, IMAGE_PX)).resized((MAP_PX, MAP_PX))
    instant, mesh = clip.at(time_s), clip.actor.mesh
    dressed = render(rasterizer, instant.surface, mesh.faces, camera)
    body = render(rasterizer, instant.body, clip.actor.body.faces, camera)
    part = np.zeros(dressed.hw, np.uint8)
    corners = mesh.faces[dressed.face_id[dressed.mask]]
    nearest = corners[np.arange(len(corners)), dressed.barycentric[dressed.mask].argmax(axis=1)]
    part[dressed.mask] = _PART_OF_JOINT[mesh.weights.argmax(axis=1)][nearest]
    return Truth(
        depth_m=dressed.depth.astype(np.float32),
        body_depth_m=body.depth.astype(np.float32),
        K=camera.K,
        part=part,
        pose=clip.script.action,
    )


@dataclass(frozen=True)
class ClothingThickness:
    """|body depth - surface depth| of many samples, by part of the body: how far clothes stand off, along the ray."""

    values_m: dict[str, list[np.ndarray]] = field(default_factory=lambda: {name: [] for name in PARTS})

    def add(self, truth: Truth) -> None:
        """Counts the pixels of one sample that show both."""
        assert truth.body_depth_m is not None
        assert truth.part is not None
        both = (truth.depth_m > 0) & (truth.body_depth_m > 0)
        thickness = np.abs(truth.body_depth_m - truth.depth_m)
        for number, name in enumerate(PARTS):
            self.values_m[name].append(thickness[both & (truth.part == 1 + number)])

    def lines(self) -> list[str]:
        """Mean, 95th percentile and share beyond 10 cm of each part, as text."""
        lines = [f"{'clothes off the body':20s} {'mean mm':>8s} {'p95 mm':>8s} {'> 10 cm':>8s}"]
        values = {name: np.concatenate(parts) for name, parts in self.values_m.items() if parts}
        values["everything"] = np.concatenate(list(values.values())) if values else np.empty(0)
        for name, found in values.items():
            if found.size:
                mean, p95 = 1000 * found.mean(), 1000 * np.percentile(found, 95)
                lines.append(f"{name:20s} {mean:8.1f} {p95:8.1f} {100 * (found > 0.1).mean():7.1f}%")
        return lines


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
