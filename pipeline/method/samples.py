"""From a target frame to its rows: candidate references, their verdicts, and the sample of those that are kept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import PairSettings
from pipeline.geometry.motion import MotionField
from pipeline.geometry.rings import Rings
from pipeline.geometry.visibility import PairMaps, pair_maps
from pipeline.method.pairs import candidate_references, spread_order, viewpoint
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.rows import Row, cells_of, pair_row
from pipeline.method.verdicts import reason_of_vertices, verdict_of_maps, verdict_of_vertices
from pipeline.records import RenderedFrame, Segment, Verdict
from schemas.conventions import IMAGE_PX
from schemas.map_cells import PackedMap


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TargetRows:
    """The rows of one target."""

    pairs: list[Row]
    """Rows of `pairs`: every candidate, in order of time."""
    sample: Row | None
    """Row of `samples`; None where no reference was kept."""

    @property
    def kept(self) -> int:
        """How many references the sample has."""
        return len(self.sample["references"]) if self.sample is not None else 0


def target_rows(
    segment: Segment, frames: RenderedFrames, target: int, rings: Rings, settings: PairSettings
) -> TargetRows:
    """All candidate pairs of the frame at position `target` of its track, and the sample of those that are kept.

    Vertex-level numbers come first; what they let pass is ordered by the spread of viewpoints, rendered in that
    order, judged by pixels, and kept until there are `max_references`. How far the pictures of two frames and their
    bodies disagree is read once for both directions: patches are those of the surface that both show, and a studio's
    truth agrees with either reading as well (correlations of .93 and .95). So a pair whose opposite was found to be
    misaligned is not rendered.
    """
    track, frame = frames.track, frames[target]
    candidates = candidate_references(track.pts_s, track.kept, target, settings.candidate_gaps_s)
    fields = frames.fields.of_target(
        target, frame.surface, {at: frames.surface(at) for at in candidates}, rings
    )
    references, verdicts = _judged(frames, target, frame, fields, settings)
    of_target = {
        "target_depth_m": frame.surface.raster.mean_depth_m,
        "focal_px": float(frame.surface.camera.K[0, 0]),
    }
    pairs = [pair_row(segment, track, (target, at), verdicts[at], **of_target) for at in candidates]
    if not references:
        return TargetRows(pairs=pairs, sample=None)
    in_time = [references[at] for at in sorted(references)]
    return TargetRows(
        pairs=pairs, sample=_sample_row(segment, frames, target, frame.surface.raster.depth, in_time)
    )


def _judged(
    frames: RenderedFrames,
    target: int,
    frame: RenderedFrame,
    fields: dict[int, MotionField],
    settings: PairSettings,
) -> tuple[dict[int, Row], dict[int, Verdict]]:
    """The rows of the references that are kept, and the verdicts on all candidates, by their places in the track."""
    reasons = {
        at: reason_of_vertices(
            field, target=frame.surface, settings=settings, found=frames.misalignment(target, at)
        )
        for at, field in fields.items()
    }
    passed = [at for at, reason in reasons.items() if not reason]
    seen_from = [viewpoint(fields[at], frame.surface.shown.vertex) for at in passed]
    references: dict[int, Row] = {}
    verdicts: dict[int, Verdict] = {}
    for at in (passed[position] for position in spread_order(np.array(seen_from).reshape(-1, 3))):
        if len(references) == settings.max_references:
            reasons[at] = "enough-references"
            continue
        maps, verdicts[at] = _rendered(frames, target, at, frame, fields[at], settings)
        if verdicts[at].kept:
            references[at] = _reference_row(frames, at, maps)
    for at in (at for at, reason in reasons.items() if reason):
        verdicts[at] = verdict_of_vertices(
            fields[at],
            reasons[at],
            target=frame.surface,
            reference=frames.surface(at),
            settings=settings,
            found=frames.misalignment(target, at),
        )
    return references, verdicts


def _rendered(
    frames: RenderedFrames,
    target: int,
    at: int,
    frame: RenderedFrame,
    field: MotionField,
    settings: PairSettings,
) -> tuple[PairMaps, Verdict]:
    """The maps of a pair and the verdict on it; notes its misalignment for the pair the other way round."""
    reference = frames.reference(at)
    maps = pair_maps(
        field,
        target=frame.surface,
        reference=reference.surface,
        depth_tolerance_m=settings.depth_tolerance_m,
        min_pixel_baseline_m=settings.min_pixel_baseline_m,
    )
    known = frames.misalignment(target, at)
    verdict = verdict_of_maps(maps, target=frame, reference=reference, settings=settings, found=known)
    frames.note_misalignment(target, at, verdict.misalignment)
    return maps, verdict


def _sample_row(
    segment: Segment,
    frames: RenderedFrames,
    target: int,
    base_depth: NDArray[np.float64],
    references: list[Row],
) -> Row:
    """Row of `samples`: the target with its kept references."""
    track = frames.track
    frame_index = int(track.frame_index[target])
    return {
        "sample_id": f"{track.track_id}/{frame_index:06d}",
        "source_id": segment.clip.source_id,
        "clip_id": segment.clip.clip_id,
        "track_id": track.track_id,
        "frame_index": frame_index,
        "pts_s": float(track.pts_s[target]),
        "image": frames.crop(target),
        "K": track.K[target],
        "input_depth": frames.depth_at(target, IMAGE_PX),
        "base_depth": base_depth,
        "body_vector": track.vector[target],
        "reference_count": len(references),
        "mean_baseline_m": float(np.mean([row["mean_baseline_m"] for row in references])),
        "valid_fraction": float(np.mean([row["valid_fraction"] for row in references])),
        "references": references,
    }


def _reference_row(frames: RenderedFrames, at: int, maps: PairMaps) -> Row:
    track = frames.track
    return {
        "frame_index": int(track.frame_index[at]),
        "pts_s": float(track.pts_s[at]),
        "image": frames.crop(at),
        "K": track.K[at],
        "motion": _packed(maps, maps.pixel_motion, 6),
        "validity": _packed(maps, maps.validity.reshape(-1)[maps.pixel][None]),
        **cells_of(maps.statistics),
    }


def _packed(maps: PairMaps, values: NDArray[Any], *channels: int) -> PackedMap:
    return PackedMap(pixel=maps.pixel, values=values, shape=(*maps.validity.shape, *channels))
