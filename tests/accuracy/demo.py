"""How well bodies sit on the two people of the demo clip, whose truth nobody knows: by landmarks and silhouettes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.assets import asset_path
from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.records import Footage, Track
from pipeline.tracking.blazepose import PoseModels
from pipeline.tracking.tracker import LandmarkTracker
from pipeline.video.decode import decode


@dataclass(frozen=True, kw_only=True)
class DemoFigures:
    """Means over the frames of a track that passed the gates."""

    frames: int
    kept: int
    error: float
    """Distance of landmarks as a share of the person's height ..."""
    error_p95: float
    iou: float
    iou_min: float
    acceleration_mm: float
    """Per squared 1/30 s."""


def demo_figures(track: Track) -> DemoFigures:
    """The figures of one track."""
    kept, quality = track.kept, track.quality
    error = quality.reprojection_error[kept]
    return DemoFigures(
        frames=len(kept),
        kept=int(kept.sum()),
        error=float(error.mean()),
        error_p95=float(np.percentile(error, 95)),
        iou=float(quality.silhouette_iou[kept].mean()),
        iou_min=float(quality.silhouette_iou[kept].min()),
        acceleration_mm=float(quality.acceleration_mm[kept].mean()),
    )


def whole_demo(models: PoseModels) -> dict[str, DemoFigures]:
    """Every track of the clip, in order of appearance: the man, the woman, the man again."""
    tracker = LandmarkTracker(BodyModel.open_body(), Settings(), models)
    tracks = tracker.track(decode(asset_path("demo.mp4")), Footage(unit_id="demo"))
    return {
        f"frames {track.frame_index[0]} to {track.frame_index[-1]}": demo_figures(track) for track in tracks
    }
