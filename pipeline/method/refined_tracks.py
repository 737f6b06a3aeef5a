"""Refinement as a step of the method: tracks and their crops in, tracks whose bodies agree with the pictures out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.host.memory import return_free_memory
from pipeline.method.crops import PersonCrops
from pipeline.method.map_pictures import MapPictures
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
    pictures: MapPictures | None = None,
) -> TrackedSegment:
    """The segment with refined tracks; itself where `refine.mode` is `off`. Crops that it decodes go to `pictures`."""
    if resources.settings.refine.mode == "off":
        return tracked
    tracks = []
    for track in tracked.tracks:
        tracks.append(refined_by_crops(track, crops[track.person_index], resources, on_progress, pictures))
        return_free_memory()
    return replace(tracked, tracks=tuple(tracks))


def refined_by_crops(
    track: Track,
    crops: PersonCrops,
    resources: Resources,
    on_progress: ProgressCallback = no_progress,
    pictures: MapPictures | None = None,
) -> Track:
    """One track, refined by the crops of its kept frames, which go to `pictures`, too."""
    settings = resources.settings

    def picture(at: int) -> np.ndarray:
        frame_index = int(track.frame_index[at])
        crop = decode_image(crops[frame_index])
        if pictures is not None:
            pictures.keep(track.person_index, frame_index, crop)
        return crop

    return refined_track(
        track,
        picture,
        resources.body,
        resources.refining_rasterizer,
        settings.refine,
        settings.pairs.candidate_gaps_s,
        on_progress,
    )
