"""Rows of the tables from the values that flow. One function a table; the columns are `schemas.tables`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pipeline.geometry.motion import PairStatistics
from pipeline.records import (
    FOCAL_SOURCES,
    ClipRef,
    Failure,
    Misalignment,
    Segment,
    Track,
    UnitCounts,
    Verdict,
)
from schemas.escaping import shown

Row = dict[str, Any]
Emit = Callable[[str, Mapping[str, Any]], None]
"""Takes a table's name and one row. The sink's `emit`, or a list's append in a plain loop."""


def frame_row(segment: Segment, track: Track, at: int) -> Row:
    """Row of `frames` for one frame of a track."""
    quality = track.quality
    return {
        "source_id": segment.clip.source_id,
        "clip_id": segment.clip.clip_id,
        "track_id": track.track_id,
        "shot_index": segment.shot_index,
        "person_index": track.person_index,
        "frame_index": int(track.frame_index[at]),
        "pts_s": float(track.pts_s[at]),
        "box_px": track.box_px[at],
        "crop_px": track.crop_px[at],
        "K": track.K[at],
        "body_vector": track.vector[at],
        "tracked_vector": (track.vector if track.tracked_vector is None else track.tracked_vector)[at],
        "detector_score": float(quality.detector_score[at]),
        "reprojection_error": float(quality.reprojection_error[at]),
        "silhouette_iou": float(quality.silhouette_iou[at]),
        "acceleration_mm": float(quality.acceleration_mm[at]),
        "border_distance_px": float(quality.border_distance_px[at]),
        "overlap": float(quality.overlap[at]),
        "kept": not track.reason[at],
        "reason": track.reason[at],
    }


def surface_row(segment: Segment, track: Track) -> Row | None:
    """Row of `surfaces` for a track that was refined; None for one that was not."""
    surface = track.surface
    if surface is None:
        return None
    return {
        "source_id": segment.clip.source_id,
        "clip_id": segment.clip.clip_id,
        "track_id": track.track_id,
        "frames": int(track.kept.sum()),
        "mean_sigma_m": float(surface.sigma_m.mean()),
        "vertices": [
            {"offset_m": offset, "sigma_m": sigma}
            for offset, sigma in zip(surface.offset_m.tolist(), surface.sigma_m.tolist(), strict=True)
        ],
    }


def pair_row(
    segment: Segment,
    track: Track,
    positions: tuple[int, int],
    verdict: Verdict,
    *,
    target_depth_m: float,
    focal_px: float,
) -> Row:
    """Row of `pairs` for one candidate pair, kept or dropped; `positions` in the track are target and reference."""
    target, reference = positions
    return {
        "source_id": segment.clip.source_id,
        "clip_id": segment.clip.clip_id,
        "track_id": track.track_id,
        "target_frame": int(track.frame_index[target]),
        "reference_frame": int(track.frame_index[reference]),
        "gap_frames": int(track.frame_index[reference] - track.frame_index[target]),
        "gap_s": float(track.pts_s[reference] - track.pts_s[target]),
        "estimated": verdict.estimated,
        **cells_of(verdict.statistics),
        "target_depth_m": target_depth_m,
        "focal_px": focal_px,
        "photo_error": verdict.photo_error,
        **cells_of(verdict.misalignment),
        "kept": verdict.kept,
        "reason": verdict.reason,
    }


def cells_of(numbers: PairStatistics | Misalignment) -> Row:
    """A pair's numbers by name. `asdict` copies every one of them deeply, which took a fiftieth of a clip's time."""
    return {name: getattr(numbers, name) for name in numbers.__dataclass_fields__}


def clip_row(segment: Segment, counts: UnitCounts, frames_read: int, tracks: Sequence[Track] = ()) -> Row:
    """Row of `clips` for one unit of work. Its focal length is as sure as that of the least sure of its tracks."""
    row = _clip_row(segment.clip, counts)
    lenses = [(track.focal_source or row["focal_source"], track.focal_uncertainty) for track in tracks]
    if lenses:
        row["focal_source"], row["focal_uncertainty"] = max(
            lenses, key=lambda lens: FOCAL_SOURCES.index(lens[0])
        )
    return row | {
        "input_sha256": segment.video.sha256,
        "shot_index": segment.shot_index,
        "start_s": segment.start_s,
        "end_s": segment.end_s,
        "width_px": segment.video.width_px,
        "height_px": segment.video.height_px,
        "notes": shown("; ".join(filter(None, [segment.video.notes, segment.notes]))),
        "frames_read": frames_read,
    }


def unread_clip_row(clip: ClipRef, counts: UnitCounts) -> Row:
    """Row of `clips` for an input that could not even be probed."""
    return _clip_row(clip, counts) | {
        "input_sha256": "",
        "shot_index": 0,
        "start_s": 0.0,
        "end_s": 0.0,
        "width_px": 0,
        "height_px": 0,
        "notes": "",
        "frames_read": 0,
    }


def failure_row(clip: ClipRef, unit_id: str, failure: Failure) -> Row:
    """Row of `failures` for a first attempt; the sink, which knows of earlier ones, counts on."""
    return {
        "source_id": clip.source_id,
        "clip_id": clip.clip_id,
        "unit_id": unit_id,
        "uri": clip.uri,
        "attempts": 1,
    } | asdict(failure)


def _clip_row(clip: ClipRef, counts: UnitCounts) -> Row:
    return {
        "source_id": clip.source_id,
        "clip_id": clip.clip_id,
        "unit_id": counts.unit_id,
        "uri": clip.uri,
        "licence": clip.licence,
        "focal_source": "assumed" if clip.focal_px is None else "given",
        "focal_uncertainty": None,
        "tracks": counts.tracks,
        "frames_kept": counts.frames_kept,
        "pairs_kept": counts.pairs_kept,
        "samples": counts.samples,
        "outcome": counts.outcome,
    }
