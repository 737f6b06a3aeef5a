"""Refinement as a step of the method: tracks and their crops in, tracks whose bodies agree with the pictures out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.host.memory import return_free_memory
from pipeline.method.crops import PersonCrops
from pipeline.method.progress import no_progress
from pipeline.method.resources import Resources
from pipeline.records import ProgressCallback, Track, TrackedSegment
from pipeline.refine.refinement import refined_track
from pipeline.video.crops import decode_image


def refined_segment(
    tracked: TrackedSegment,
    crops: dict[int, PersonCrops],
    resources: Resources,
    on_progress: ProgressCallback = no_progress,
) -> TrackedSegment:
    """The segment with refined tracks; itself where `refine.mode` is `off`."""
    if resources.settings.refine.mode == "off":
        return tracked
    tracks = []
    for track in tracked.tracks:
        tracks.append(refined_by_crops(track, crops[track.person_index], resources, on_progress))
        return_free_memory()
    return replace(tracked, tracks=tuple(tracks))


def refined_by_crops(
    track: Track,
    crops: PersonCrops,
    resources: Resources,
    on_progress: ProgressCallback = no_progress,
) -> Track:
    """One track, refined by the crops of its kept frames."""
    settings = resources.settings

    def picture(at: int) -> np.ndarray:
        return decode_image(crops[int(track.frame_index[at])])

    return refined_track(
        track,
        picture,
        resources.body,
        resources.refining_rasterizer,
        settings.refine,
        settings.pairs.candidate_gaps_s,
        on_progress,
    )
