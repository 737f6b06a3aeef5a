"""The values that flow through the pipeline. Shapes: T frames, V vertices, H W pixels."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from schemas.errors import HumandepthError
from schemas.escaping import is_plain

if TYPE_CHECKING:  # kernels, which a run's driver does without
    from pipeline.geometry.motion import PairStatistics
    from pipeline.geometry.posed_surface import RenderedSurface

ProgressCallback = Callable[[str, int, int], None]
"""Takes a stage, how many steps of it are done, and how many there are (0 where nobody knows)."""
PERSON_PX = 128
"""Side of the outline that a track carries for each frame, over its crop."""

FOCAL_SOURCES = ("given", "file", "estimated", "assumed")
"""Where a focal length is from, the surest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRef:
    """A clip to read: the only thing the pipeline starts from. Small, hashable, picklable."""

    clip_id: str
    """Letters, digits, '.', '_' and '-': it becomes part of file names."""
    uri: str
    """Path or address as an escaped name (`schemas.escaping`): storable as it is, and it opens its file everywhere."""
    source_id: str
    """What splits are made by: clips cut from one video share it."""
    start_s: float | None = None
    end_s: float | None = None
    focal_px: float | None = None
    """Focal length of the full image in pixels, when known."""
    licence: str = ""

    def __post_init__(self) -> None:
        for name in ("uri", "licence"):
            if not is_plain(getattr(self, name)):
                raise ValueError(
                    f"ClipRef {name} {getattr(self, name)!r} holds what cannot be stored: use schemas.escaping.escaped."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts:
    """What a probe of a file says, after rotation metadata is applied."""

    width_px: int
    height_px: int
    mean_fps: float
    duration_s: float
    sha256: str
    notes: str = ""
    """What reading the film takes beyond plain decoding (tone mapping, deinterlacing, ...), joined by '; '."""
    focal_px: float | None = None
    """Focal length of the upright picture in pixels, where the file states one that can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A window [start_s, end_s) of presentation time inside one shot: the unit of work, resume and output."""

    clip: ClipRef
    unit_id: str
    shot_index: int
    start_s: float
    end_s: float
    video: VideoFacts
    sample_fps: float | None = None
    """Frames per second that are worked on, where its shot repeats or blends frames; None: settings alone say."""
    sample_start_s: float = 0.0
    """A tick of `sample_fps`: the first frame at or after each tick counts."""
    notes: str = ""
    """What is known of this shot beyond `video.notes`."""

    @property
    def footage(self) -> Footage:
        """What its tracker is told."""
        return Footage(unit_id=self.unit_id, focal_px=self.clip.focal_px, stated_focal_px=self.video.focal_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Footage:
    """What is known of the frames that a tracker gets, beyond their pixels."""

    unit_id: str
    """The unit of work they belong to; of a photo, its name."""
    focal_px: float | None = None
    """Focal length of the full image in pixels, where the user gives it."""
    stated_focal_px: float | None = None
    """The same where the file states it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Frame:
    """One decoded frame, upright. `index` counts the clip's frames in presentation order from its very start."""

    index: int
    pts_s: float
    image: np.ndarray
    """(H, W, 3) uint8 sRGB."""

    @property
    def hw(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.image.shape[0], self.image.shape[1]

    def showing(self, rows: slice, columns: slice) -> np.ndarray:
        """(H, W, 3) uint8 with the frame's pixels in those rows and columns, for who looks nowhere else."""
        return self.image


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quality:
    """Per-frame scalars of a track, each (T,) float64."""

    detector_score: np.ndarray
    reprojection_error: np.ndarray
    """Mean 2-D error over body landmarks as a share of the person's height."""
    silhouette_iou: np.ndarray
    acceleration_mm: np.ndarray
    """Mean landmark acceleration in mm per squared 1/30 s."""
    border_distance_px: np.ndarray
    overlap: np.ndarray
    """Largest box IoU with another person in the frame."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackSurface:
    """A track's dressed shape: how far what all its frames show lies off the body's skin, along the normals. V."""

    offset_m: np.ndarray
    """(V,) outwards, at the body's vertices."""
    sigma_m: np.ndarray
    """(V,) standard deviations; `refine.offset_sigma_m` where no picture says anything."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """One person through one segment: parameters, an outline, no pixels."""

    track_id: str
    person_index: int
    frame_index: np.ndarray
    """(T,) int64, increasing."""
    pts_s: np.ndarray
    """(T,) float64."""
    box_px: np.ndarray
    """(T, 4) left, top, right, bottom in the full image."""
    crop_px: np.ndarray
    """(T, 3) centre u, centre v, side of the square crop in the full image."""
    vector: np.ndarray
    """(T, 85) float64 bodies, the weak-perspective part relative to the crop."""
    K: np.ndarray
    """(T, 3, 3) intrinsics of the crop at schemas.conventions.IMAGE_PX."""
    quality: Quality
    reason: tuple[str, ...]
    """(T,) why a frame is gated out; empty strings where it is kept."""
    tracked_vector: np.ndarray | None = None
    """(T, 85) what the tracker found, where refinement has changed `vector` since."""
    focal_source: str | None = None
    """One of FOCAL_SOURCES; what came with the bodies of another program counts as `given`. None where the tracker does
    not say: then `given` where the clip's is, else `assumed`."""
    focal_uncertainty: float | None = None
    """Standard deviation of the logarithm of an estimated one."""
    person: tuple[bytes, ...] | None = None
    """(T,) the cells of each crop that show the person, by the segmentation, as `packed_person` packs them; None where
    the tracker has none. About 250 bytes a frame."""
    surface: TrackSurface | None = None
    """What refinement found beside the bodies; None where it was off or had too few frames."""

    def person_at(self, at: int) -> np.ndarray | None:
        """(PERSON_PX, PERSON_PX) uint8, 1 on the person, of the frame at a place; None where nothing is known."""
        return None if self.person is None else unpacked_person(self.person[at])

    @property
    def kept(self) -> np.ndarray:
        """(T,) bool: the frames that may become targets or references."""
        return np.array([not reason for reason in self.reason])


def packed_person(person: np.ndarray) -> bytes:
    """The outline of one frame, (PERSON_PX, PERSON_PX) bool: bits, deflated."""
    return zlib.compress(np.packbits(person).tobytes())


def unpacked_person(packed: bytes) -> np.ndarray:
    """(PERSON_PX, PERSON_PX) uint8, 1 on the person."""
    bits = np.frombuffer(zlib.decompress(packed), np.uint8)
    return np.unpackbits(bits).reshape(PERSON_PX, PERSON_PX)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedFrame:
    """A frame of a track at map size: the base mesh as its camera sees it, and the picture beneath."""

    surface: RenderedSurface
    picture: NDArray[np.uint8]
    """(MAP_PX, MAP_PX, 3) RGB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misalignment:
    """How far the bodies of a pair and its pictures disagree, by patches of the common surface; see
    `pipeline.refine.misalignment`. None where too few patches tell."""

    textured_fraction: float | None = None
    """Share of the patches whose texture fixes a place across the depth direction."""
    matched_fraction: float | None = None
    """Share of those that the reference shows again."""
    across_px: float | None = None
    """Median distance from where the bodies say, across the depth direction: what only bodies can explain."""
    along_px: float | None = None
    """Along it: depth that is to be learned, and errors of the bodies."""
    misalignment_px: float | None = None
    """Median length of the bodies' errors, both components, as the one across tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a candidate pair. A dropped pair is data."""

    kept: bool
    reason: str
    statistics: PairStatistics
    estimated: bool
    """Whether the numbers come from vertices because the pair was dropped before any map was made."""
    photo_error: float | None = None
    """Mean colour difference over valid pixels; None where there is none, or where no map was made."""
    misalignment: Misalignment = Misalignment()
    """Without numbers where no map was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a clip or a unit gave nothing. An expected failure is a value; a bug keeps its traceback."""

    stage: str
    """`probe`, `track` or `render`."""
    reason: str
    message: str
    remedy: str
    retryable: bool

    @classmethod
    def of(cls, stage: str, error: HumandepthError) -> Failure:
        """The failure that an error of a stage stands for."""
        return cls(
            stage=stage,
            reason=error.reason,
            message=error.message,
            remedy=error.remedy,
            retryable=error.retryable,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrackedSegment:
    """What the tracking step hands on: parameters only, no pixels."""

    segment: Segment
    tracks: tuple[Track, ...]
    frames_read: int
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitCounts:
    """What came of a unit, in numbers."""

    unit_id: str
    outcome: str
    """`kept`, or the reason of its failure."""
    tracks: int = 0
    frames_kept: int = 0
    pairs_kept: int = 0
    pairs_dropped: int = 0
    samples: int = 0
