"""Whether a candidate pair is kept, and why not: first by its vertices, then by its pixels (method, section 4)."""

from __future__ import annotations

from pipeline.config import PairSettings
from pipeline.geometry.motion import (
    GateNumbers,
    MotionField,
    PairStatistics,
    estimate_statistics,
    gate_numbers,
)
from pipeline.geometry.posed_surface import PosedSurface, RenderedSurface
from pipeline.geometry.visibility import PairMaps
from pipeline.records import Misalignment, RenderedFrame, Verdict
from pipeline.refine.compared_pictures import compared_pictures
from pipeline.refine.misalignment import misalignment


def reason_of_vertices(
    field: MotionField,
    *,
    target: RenderedSurface,
    settings: PairSettings,
    found: Misalignment | None = None,
) -> str:
    """Why a pair is dropped before any map is made; empty where it is worth rendering. Occlusion is not seen here.

    `found` is the misalignment of the same two frames where the pair the other way round was rendered.
    """
    reason = motion_reason(gate_numbers(field, target=target), settings)
    if not reason and found is not None and is_misaligned(found, settings):
        reason = "misaligned"
    return reason


def verdict_of_vertices(
    field: MotionField,
    reason: str,
    *,
    target: RenderedSurface,
    reference: PosedSurface,
    settings: PairSettings,
    found: Misalignment | None = None,
) -> Verdict:
    """The verdict on a pair that is dropped for that reason without having been rendered; `found` as above."""
    statistics = estimate_statistics(
        field, target=target, reference=reference, min_pixel_baseline_m=settings.min_pixel_baseline_m
    )
    return Verdict(
        kept=False,
        reason=reason,
        statistics=statistics,
        estimated=True,
        misalignment=found or Misalignment(),
    )


def verdict_of_maps(
    maps: PairMaps,
    *,
    target: RenderedFrame,
    reference: RenderedFrame,
    settings: PairSettings,
    found: Misalignment | None = None,
) -> Verdict:
    """The verdict on a rendered pair. `found` is its misalignment where that is known already."""
    reason = drop_reason(maps.statistics, settings)
    pictures = compared_pictures(maps, target=target, reference=reference)
    if found is None:
        found = misalignment(maps, target=target, reference=reference, pictures=pictures)
    if not reason and is_misaligned(found, settings):
        reason = "misaligned"
    return Verdict(
        kept=not reason,
        reason=reason,
        statistics=maps.statistics,
        estimated=False,
        photo_error=pictures.photo_error,
        misalignment=found,
    )


def drop_reason(statistics: PairStatistics, settings: PairSettings) -> str:
    """Why a pair is dropped, as a stable slug; empty when it stays (method, section 4)."""
    reason = motion_reason(statistics, settings)
    if not reason and statistics.valid_fraction < settings.min_valid_fraction:
        return "little-common-surface"
    return reason


def motion_reason(numbers: GateNumbers | PairStatistics, settings: PairSettings) -> str:
    """`drop_reason` by the motion alone, whatever is seen of it."""
    if numbers.mean_baseline_m < settings.min_mean_baseline_m:
        return "below-baseline"
    if numbers.rotation_deg > settings.max_rotation_deg:
        return "turned-too-far"
    if numbers.baseline_over_depth > settings.max_baseline_over_depth:
        return "baseline-over-depth"
    return ""


def is_misaligned(found: Misalignment, settings: PairSettings) -> bool:
    """Whether the bodies of two frames disagree with their pictures by more than is kept."""
    return exceeds(found.misalignment_px, settings.max_misalignment_px)


def exceeds(misalignment_px: float | None, limit_px: float | None) -> bool:
    """Whether a pair is dropped as misaligned: never without a limit, or where the pictures have too little texture."""
    return misalignment_px is not None and limit_px is not None and misalignment_px > limit_px
