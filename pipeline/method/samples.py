"""From a target frame to its sample: candidates tried, judged, and the kept ones turned into references."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from pipeline.config import PairSettings
from pipeline.geometry.motion import MotionField, estimate_statistics, motion_field
from pipeline.geometry.visibility import PairMaps, pair_maps
from pipeline.method.pairs import candidate_references, drop_reason, exceeds, spread_order, viewpoint
from pipeline.method.rendered_frames import View, Views
from pipeline.method.resources import Toolbox
from pipeline.method.rows import Row, pair_row
from pipeline.records import Segment, Track, Verdict
from pipeline.refine.misalignment import misalignment_px
from pipeline.refine.warped_picture import photo_error, warped_picture
from schemas.conventions import IMAGE_PX, MAP_PX, VALID_ALL, VALID_VISIBLE


def render_target(
    segment: Segment, track: Track, target: int, views: Views, toolbox: Toolbox, settings: PairSettings
) -> tuple[list[Row], list[Row]]:
    """All candidate pairs of one target: rows of `pairs`, and the kept references of its sample.

    Vertex-level numbers come first; what they let pass is ordered by the spread of viewpoints, rendered in that
    order, judged by pixels, and kept until there are `max_references`.
    """
    view = views[target]
    candidates = candidate_references(track.pts_s, track.kept, target, settings.candidate_gaps_s)
    fields = {at: motion_field(view.vertices, views.vertices(at), toolbox.rings) for at in candidates}
    verdicts: dict[int, Verdict] = {}
    for at in candidates:
        estimate = _estimate(view, at, views, fields[at], toolbox)
        reason = drop_reason(estimate, settings, check_validity=False)
        verdicts[at] = Verdict(kept=False, reason=reason, statistics=estimate, estimated=True)
    passed = [at for at in candidates if not verdicts[at].reason]
    order = spread_order(np.array([viewpoint(fields[at]) for at in passed]).reshape(-1, 3))
    references: dict[int, Row] = {}
    errors: dict[int, float | None] = {}
    misaligned: dict[int, float | None] = {}
    for at in (passed[position] for position in order):
        if len(references) == settings.max_references:
            verdicts[at] = Verdict(
                kept=False, reason="enough-references", statistics=verdicts[at].statistics, estimated=True
            )
            continue
        reference = views[at]
        maps = maps_of_pair(view, reference, fields[at], toolbox, settings)
        reason = drop_reason(maps.statistics, settings, check_validity=True)
        warped = warped_picture(reference.image, maps.warp_px, (maps.validity & VALID_VISIBLE) != 0)
        misaligned[at] = _misalignment_px(view, reference, maps, warped)
        if not reason and exceeds(misaligned[at], settings.max_misalignment_px):
            reason = "misaligned"
        verdicts[at] = Verdict(kept=not reason, reason=reason, statistics=maps.statistics, estimated=False)
        errors[at] = photo_error(view.image, warped, maps.validity == VALID_ALL)
        if not reason:
            references[at] = _reference_row(track, at, views, maps)
    rows = [
        pair_row(
            segment,
            track,
            target,
            at,
            verdicts[at],
            target_depth_m=view.mean_depth_m,
            focal_px=float(view.camera.K[0, 0]),
            photo_error=errors.get(at),
            misalignment_px=misaligned.get(at),
        )
        for at in candidates
    ]
    return rows, [references[at] for at in sorted(references)]


def sample_row(segment: Segment, track: Track, target: int, views: Views, references: list[Row]) -> Row:
    """Row of `samples`: the target with its kept references."""
    frame_index = int(track.frame_index[target])
    return {
        "sample_id": f"{track.track_id}/{frame_index:06d}",
        "source_id": segment.clip.source_id,
        "clip_id": segment.clip.clip_id,
        "track_id": track.track_id,
        "frame_index": frame_index,
        "pts_s": float(track.pts_s[target]),
        "image": views.jpeg(target),
        "K": track.K[target],
        "input_depth": views.raster_at(target, IMAGE_PX).depth,
        "base_depth": views[target].raster.depth,
        "body_vector": track.vector[target],
        "reference_count": len(references),
        "mean_baseline_m": float(np.mean([row["mean_baseline_m"] for row in references])),
        "valid_fraction": float(np.mean([row["valid_fraction"] for row in references])),
        "references": references,
    }


def _reference_row(track: Track, at: int, views: Views, maps: PairMaps) -> Row:
    return {
        "frame_index": int(track.frame_index[at]),
        "pts_s": float(track.pts_s[at]),
        "image": views.jpeg(at),
        "K": track.K[at],
        "motion": maps.motion,
        "validity": maps.validity,
        **asdict(maps.statistics),
    }


def _misalignment_px(target: View, reference: View, maps: PairMaps, warped: np.ndarray) -> float | None:
    return misalignment_px(
        target.image,
        warped,
        maps.warp_px,
        maps.motion,
        target.raster.depth,
        (maps.validity & VALID_VISIBLE) != 0,
        target.camera,
        reference.camera,
    )


def _estimate(target: View, at: int, views: Views, field: MotionField, toolbox: Toolbox):
    return estimate_statistics(
        field,
        target.vertices,
        views.vertices(at),
        toolbox.body.faces,
        target.raster,
        target.camera,
        views.camera(at, MAP_PX),
    )


def maps_of_pair(
    target: View, reference: View, field: MotionField, toolbox: Toolbox, settings: PairSettings
) -> PairMaps:
    """Motion, validity and statistics of one pair, by the settings' tolerances."""
    return pair_maps(
        target.raster,
        reference.raster,
        target.vertices,
        reference.vertices,
        toolbox.body.faces,
        field,
        target.camera,
        reference.camera,
        depth_tolerance_m=settings.depth_tolerance_m,
        min_pixel_baseline_m=settings.min_pixel_baseline_m,
    )
