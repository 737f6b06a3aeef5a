"""People in photos and videos with the base depth of their bodies, by the steps that datasets go through."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from pipeline.config import Settings
from pipeline.method.crops import crops_by_person
from pipeline.method.refined_tracks import refined_segment
from pipeline.method.rendered_frames import RenderedFrames
from pipeline.method.resources import Resources
from pipeline.method.segment import track_segment
from pipeline.records import Footage, Frame
from pipeline.tracking.tracker import LandmarkTracker, Tracker, landmark_models
from pipeline.video.crops import crop_image, decode_image, encode_jpeg
from pipeline.video.equivalent import NO_LENS
from pipeline.video.exif import lens_of_photo
from pipeline.video.shots import segments_of
from pipeline.video.source import clips_from_arguments
from schemas.conventions import IMAGE_PX
from schemas.errors import NobodyFoundError

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PhotoBody:
    """One person of a photo or frame, as a sample without references."""

    image: np.ndarray
    """(IMAGE_PX, IMAGE_PX, 3) uint8 sRGB crop."""
    K: np.ndarray
    """(3, 3) intrinsics of the crop at IMAGE_PX."""
    input_depth: np.ndarray
    """(IMAGE_PX, IMAGE_PX) float32 metres, 0 = background."""
    base_depth: np.ndarray
    """(MAP_PX, MAP_PX) float32 metres, 0 = background."""
    crop_px: np.ndarray
    """(3,) centre u, centre v, side of the crop in the upright picture."""
    box_px: np.ndarray
    """(4,) left, top, right, bottom of the person in the upright picture."""
    picture_hw: tuple[int, int]
    """Size of the upright picture."""
    frame_index: int | None = None
    """Of a video: the frame, counted from its start; None in a photo."""
    pts_s: float | None = None
    """Its presentation time."""


class PictureBodies:
    """Finds people in many photos and videos; body, models and rasteriser are made once."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._resources = Resources(self._settings)
        self._has_said_skin = False

    @cached_property
    def _photo_tracker(self) -> Tracker:
        """The settings' tracker for single frames, its networks kept between them: loading takes longer than a look."""
        settings = replace(self._settings, tracking=replace(self._settings.tracking, min_track_frames=1))
        tracker = Resources(settings).tracker
        if type(tracker) is LandmarkTracker:
            return LandmarkTracker(self._resources.body, settings, landmark_models(settings))
        return tracker

    def of_photo(
        self,
        image: np.ndarray,
        *,
        focal_px: float | None = None,
        file: Path | None = None,
        name: str = "photo",
    ) -> list[PhotoBody]:
        """Every person in one upright photo (H, W, 3) uint8.

        Without `focal_px` the focal length is what the EXIF of `file` states, the photo's own file, where it can be.
        `name` is what the bodies of another program are found by (`tracking.bodies`), as a clip's id. Raises
        NobodyFoundError when there is nobody. Gates of `frames` do not apply: a photo has no other frame.
        """
        if self._settings.rendering.base_surface == "dressed" and not self._has_said_skin:
            self._has_said_skin = True
            _logger.warning(
                "a photo has no dressed shape: its base depth is the skin's (rendering.base_surface)"
            )
        frame = Frame(index=0, pts_s=0.0, image=image)
        stated = NO_LENS if file is None else lens_of_photo(file.read_bytes(), frame.image.shape[:2])
        if stated.note:
            _logger.warning("%s: %s", file, stated.note)
        footage = Footage(unit_id=name, focal_px=focal_px, stated_focal_px=stated.focal_px)
        tracks = self._photo_tracker.track([frame], footage)
        if not tracks:
            raise NobodyFoundError(
                "nobody was found in the photo.", remedy="Use a photo with a person in full view."
            )
        bodies = []
        for track in tracks:
            crop = crop_image(image, track.crop_px[0], IMAGE_PX)
            crops = {int(track.frame_index[0]): encode_jpeg(crop, 100)}
            rendered = RenderedFrames(track, crops, self._resources)
            found = _body(rendered, 0, crop, (image.shape[0], image.shape[1]))
            bodies.append(replace(found, frame_index=None, pts_s=None))
        return bodies

    def of_video(
        self, path: str, *, focal_px: float | None = None, every: int = 1
    ) -> Iterator[tuple[str, PhotoBody]]:
        """Every person in every `every`-th of their usable frames, named `<track>/<frame>`, frame after frame.

        Bodies are refined as `run` refines them, so that a video's depths are those that `run` would store. Raises
        SourceError or DecodeError when it cannot be read, NobodyFoundError when nobody can be used.
        """
        settings, count = self._settings, 0
        (clip,) = clips_from_arguments([path], focal_px)
        for segment in segments_of(clip, settings.video):
            tracked = track_segment(segment, self._resources)
            crops = crops_by_person(tracked, settings) if tracked.tracks else {}
            tracks = refined_segment(tracked, crops, self._resources).tracks
            rendered = [RenderedFrames(track, crops[track.person_index], self._resources) for track in tracks]
            usable = [np.flatnonzero(track.kept)[::every].tolist() for track in tracks]
            order = sorted(
                (int(tracks[person].frame_index[at]), person, at)
                for person, places in enumerate(usable)
                for at in places
            )
            hw = (segment.video.height_px, segment.video.width_px)
            for frame_index, person, at in order:
                count += 1
                track, frames = tracks[person], rendered[person]
                name = f"{track.track_id}/{frame_index:06d}"
                yield name, _body(frames, at, decode_image(frames.crop(at)), hw)
                frames.forget_before(float(track.pts_s[at]) + 1e-6)
        if not count:
            raise NobodyFoundError(
                f"{path}: nobody could be used in any frame.",
                remedy="Use a video with a person in full view.",
            )


def _body(frames: RenderedFrames, at: int, image: np.ndarray, hw: tuple[int, int]) -> PhotoBody:
    track = frames.track
    return PhotoBody(
        image=image,
        K=track.K[at],
        input_depth=frames.depth_at(at, IMAGE_PX).astype(np.float32),
        base_depth=frames[at].surface.raster.depth.astype(np.float32),
        crop_px=track.crop_px[at],
        box_px=track.box_px[at],
        picture_hw=hw,
        frame_index=int(track.frame_index[at]),
        pts_s=float(track.pts_s[at]),
    )
