"""Follows several people through a stream of frames, one frame at a time.

The detector looks at every n-th frame; between detections each person's region comes from the landmarks of the frame
before. A newly found person is followed backwards to the previous detection through a ring of the last n frames: the
only pixels that are ever held, whatever the length of the stream. Where n frames are large the detector looks oftener.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Protocol

import numpy as np

from pipeline.config import TrackingSettings
from pipeline.records import Frame
from pipeline.tracking.blazepose import Detections, Landmarks
from pipeline.tracking.regions import Region

MAX_RECENT_BYTES = 64 * 10**6
"""Of frames that are held: ten of 1920 x 1080, two of 3840 x 2160."""


class LandmarkModels(Protocol):
    """What following people needs of `PoseModels`."""

    def detect_people(self, image: np.ndarray, threshold: float) -> Detections:
        """People in an image, each once, best first."""

    def landmarks(self, image: np.ndarray, region: Region, *, heavier: bool = False) -> Landmarks:
        """The person in a region; `heavier`: as the heavier of two models sees them, where there are two."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Portrait:
    """The picture of a person that a network will look at once the whole track is known."""

    image: np.ndarray
    """(P, P, 3) uint8."""
    crop_px: np.ndarray
    """(3,) centre u, centre v, side of the square in the full image."""


Keep = Callable[[Frame, Landmarks], Portrait]
"""What is kept of a frame besides its landmarks."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observations:
    """One person through a clip as the landmark network saw them. T frames, increasing."""

    frame_index: np.ndarray
    """(T,) int64."""
    pts_s: np.ndarray
    """(T,) float64."""
    image_hw: tuple[int, int]
    xy_px: np.ndarray
    """(T, 33, 2) pixels of the full image."""
    visibility: np.ndarray
    """(T, 33)."""
    presence: np.ndarray
    """(T, 33)."""
    world_m: np.ndarray
    """(T, 33, 3) hip-centred metres, axes of the viewing ray."""
    score: np.ndarray
    """(T,) confidence that the region shows a person."""
    segmentation: np.ndarray
    """(T, S, S) uint8."""
    image_from_segmentation: np.ndarray
    """(T, 2, 3)."""
    portraits: tuple[Portrait, ...] = ()
    """T of them, where they were kept."""
    is_heavier: np.ndarray | None = None
    """(T,) frames that the heavier of two landmark models saw; None where there is one model."""

    def __len__(self) -> int:
        return len(self.frame_index)

    def at(self, frames: np.ndarray) -> Observations:
        """Of some frames: their places, increasing, or a mask (T,)."""
        places = np.arange(len(self))[frames]
        names = [each.name for each in fields(self) if isinstance(getattr(self, each.name), np.ndarray)]
        portraits = tuple(self.portraits[place] for place in places) if self.portraits else ()
        return replace(self, portraits=portraits, **{name: getattr(self, name)[places] for name in names})

    @property
    def size_px(self) -> np.ndarray:
        """(T,) the longer side of the landmarks' bounding box: the person's height for all relative errors."""
        return np.asarray(np.ptp(self.xy_px, axis=1).max(axis=-1))


@dataclass(slots=True, eq=False)
class PersonSeen:
    """One person while they are followed."""

    region: Region
    keep: Keep | None = None
    seen: dict[int, tuple[Frame, Landmarks]] = field(default_factory=dict)
    """By frame index; the frames' pixels are dropped (`_without_pixels`)."""
    portraits: dict[int, Portrait] = field(default_factory=dict)
    heavier_s: list[float] = field(default_factory=list)
    """When the heavier model looked."""

    def record(self, frame: Frame, landmarks: Landmarks) -> None:
        """Notes what was seen in a frame."""
        self.seen[frame.index] = (_without_pixels(frame), landmarks)
        if landmarks.heavier:
            self.heavier_s.append(frame.pts_s)
        if self.keep is not None:
            self.portraits[frame.index] = self.keep(frame, landmarks)


def follow_people(
    frames: Iterable[Frame], models: LandmarkModels, settings: TrackingSettings, keep: Keep | None = None
) -> list[Observations]:
    """The people in a stream of frames, in order of appearance, then from left to right.

    `keep` makes the portraits, while the pixels are there.
    """
    live: list[PersonSeen] = []
    everyone: list[PersonSeen] = []
    recent: deque[Frame] = deque()
    image_hw, count = (0, 0), 0
    for count, frame in enumerate(frames, start=1):
        if count == 1:
            image_hw = frame.hw
            recent = deque(maxlen=frames_between_detections(image_hw, settings.detect_every))
        live = [person for person in live if _advance(person, frame, models, settings)]
        live = _merge(live, settings)
        if recent.maxlen and (count - 1) % recent.maxlen == 0:
            for person in _newcomers(frame, live, models, settings, keep):
                _follow_backwards(person, recent, everyone, models, settings)
                live.append(person)
                everyone.append(person)
        recent.append(frame)
    shortest = min(settings.min_track_frames, count)
    found = [observations_of(person, image_hw) for person in everyone if len(person.seen) >= max(1, shortest)]
    return sorted(found, key=lambda seen: (int(seen.frame_index[0]), float(seen.xy_px[0, :, 0].mean())))


def is_due(pts_s: float, heavier_s: Iterable[float], every_s: float) -> bool:
    """Whether the heavier model is to look at a frame: every_s, less a tenth, from all others that it looked at.

    A tenth, because frames do not come at even times. Never where every_s is 0.
    """
    return every_s > 0 and all(abs(pts_s - at) >= 0.9 * every_s for at in heavier_s)


def frames_between_detections(image_hw: tuple[int, int], detect_every: int) -> int:
    """`detect_every`, or as many frames as MAX_RECENT_BYTES hold where that is less, but 1."""
    return max(1, min(detect_every, MAX_RECENT_BYTES // (3 * image_hw[0] * image_hw[1])))


def _look(
    region: Region, frame: Frame, models: LandmarkModels, settings: TrackingSettings, *, heavier: bool = False
) -> Landmarks | None:
    """The person in a region, or None where the network sees nobody or too little of the body is in the image."""
    seen = models.landmarks(frame.showing(*region.window(frame.hw)), region, heavier=heavier)
    height, width = frame.hw
    inside = ((seen.xy_px > 0) & (seen.xy_px < [width, height])).all(axis=-1).mean()
    present = seen.score >= settings.min_presence and inside >= settings.min_inside
    return seen if present and seen.next_region.side_px > 1.0 else None


def _advance(person: PersonSeen, frame: Frame, models: LandmarkModels, settings: TrackingSettings) -> bool:
    """Follows a person into the next frame; False where they are lost, or where the region jumps to someone else."""
    heavier = is_due(frame.pts_s, person.heavier_s, settings.heavy_every_s)
    seen = _look(person.region, frame, models, settings, heavier=heavier)
    if seen is None or seen.next_region.distance(person.region) > settings.match_distance:
        return False
    person.record(frame, seen)
    person.region = seen.next_region
    return True


def _merge(live: list[PersonSeen], settings: TrackingSettings) -> list[PersonSeen]:
    """Drops the shorter of two tracks that have come to show one person, with the frames where they coincide."""
    kept: list[PersonSeen] = []
    for person in sorted(live, key=lambda person: -len(person.seen)):
        twin = next((k for k in kept if k.region.distance(person.region) < settings.merge_distance), None)
        if twin is None:
            kept.append(person)
            continue
        for index in sorted(person.seen, reverse=True):
            if index not in twin.seen or not _coincide(person, twin, index, settings.match_distance):
                break
            del person.seen[index]
    return [person for person in live if person in kept]


def _coincide(person: PersonSeen, other: PersonSeen, index: int, distance: float) -> bool:
    regions = [each.seen[index][1].next_region for each in (person, other)]
    return regions[0].distance(regions[1]) < distance


def _newcomers(
    frame: Frame,
    live: list[PersonSeen],
    models: LandmarkModels,
    settings: TrackingSettings,
    keep: Keep | None,
) -> list[PersonSeen]:
    """People the detector sees where nobody is followed yet. The second look starts from the first one's region."""
    detections = models.detect_people(frame.image, settings.detector_threshold)
    new: list[PersonSeen] = []

    def is_known(region: Region) -> bool:
        return any(region.distance(each.region) < settings.match_distance for each in [*live, *new])

    for index in range(len(detections.score)):
        region = detections.region(index)
        if is_known(region):
            continue
        first = _look(region, frame, models, settings)
        heavier = settings.heavy_every_s > 0
        seen = first and _look(first.next_region, frame, models, settings, heavier=heavier)
        if seen and not is_known(seen.next_region):
            person = PersonSeen(region=seen.next_region, keep=keep)
            person.record(frame, seen)
            new.append(person)
    return new


def _follow_backwards(
    person: PersonSeen,
    recent: deque[Frame],
    everyone: list[PersonSeen],
    models: LandmarkModels,
    settings: TrackingSettings,
) -> None:
    region = person.region
    for frame in reversed(recent):
        heavier = is_due(frame.pts_s, person.heavier_s, settings.heavy_every_s)
        seen = _look(region, frame, models, settings, heavier=heavier)
        if seen is None or seen.next_region.distance(region) > settings.match_distance:
            return
        person.record(frame, seen)
        if any(
            frame.index in other.seen and _coincide(person, other, frame.index, settings.match_distance)
            for other in everyone
        ):
            del person.seen[frame.index]
            return
        region = seen.next_region


def _without_pixels(frame: Frame) -> Frame:
    return Frame(index=frame.index, pts_s=frame.pts_s, image=np.empty((0, 0, 3), np.uint8))


def observations_of(person: PersonSeen, image_hw: tuple[int, int]) -> Observations:
    """What was seen of a person, in the order of frames."""
    rows = [person.seen[index] for index in sorted(person.seen)]
    seen = [landmarks for _, landmarks in rows]
    return Observations(
        frame_index=np.array([frame.index for frame, _ in rows], np.int64),
        pts_s=np.array([frame.pts_s for frame, _ in rows], np.float64),
        image_hw=image_hw,
        xy_px=np.stack([each.xy_px for each in seen]),
        visibility=np.stack([each.visibility for each in seen]),
        presence=np.stack([each.presence for each in seen]),
        world_m=np.stack([each.world_m for each in seen]),
        score=np.array([each.score for each in seen]),
        segmentation=np.stack([each.segmentation for each in seen]),
        image_from_segmentation=np.stack([each.image_from_segmentation for each in seen]),
        portraits=tuple(person.portraits[frame.index] for frame, _ in rows) if person.keep else (),
        is_heavier=np.array([each.heavier for each in seen]),
    )
