"""Settings of how bodies are found: lens, body model, tracking, gates, refinement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.config.checks import require


@dataclass(frozen=True, kw_only=True)
class CameraSettings:
    """The assumed camera."""

    medium_focal: float = 500.0 / 224.0
    """Focal length over crop side (ratio) of the medium lens, which is assumed where nothing says the lens. The method
    takes 500 px for crops of 224 px, a field of view of 25 degrees."""
    file_lens: bool = True
    """Whether the focal length that a film or photo states is used where none is given."""
    lens: Literal["estimated", "medium"] = "estimated"
    """Where nothing says the focal length: `estimated` once for each unit of work, from a prior over cameras and the
    perspective of bodies; `medium`: the published lens, which goes with the size of each person's crop. On rendered
    motion capture (lenses of 24 to 100 degrees, the 11 scenes that chose nothing) distances are off by factors of 1.38
    with the first and 1.56 with the second (geometric means); in four real views by 1.08 and 1.23."""
    typical_focal: float = 0.85
    """Median of the prior: focal length over the picture's longer side (ratio). Phones film with .8,
    webcams with .75 to .95."""
    typical_spread: float = 0.4
    """Standard deviation of its logarithm (ratio): two of three cameras have .57 to 1.27."""
    perspective_weight: float = 1.0
    """How much the perspective of one person says against the prior (ratio); see `tracking.lens`. Chosen on the
    other 11 scenes (0: 1.58, 1: 1.54, 3: 1.54); more costs on real film (0: 1.02, 1: 1.08, 3: 1.14)."""
    crop_margin: float = 1.2
    """Side of the square crop over the longer side of the person's box (ratio)."""

    def __post_init__(self) -> None:
        for name in ("medium_focal", "crop_margin", "typical_focal", "typical_spread"):
            require(getattr(self, name) > 0, f"camera.{name}", getattr(self, name), "Give a number above 0.")
        require(
            self.perspective_weight >= 0,
            "camera.perspective_weight",
            self.perspective_weight,
            "Give 0 (the prior alone) or more.",
        )


@dataclass(frozen=True, kw_only=True)
class BodySettings:
    """The body model."""

    file: str = ""
    """An .npz in SMPL's layout, as `python -m pipeline body import` writes it; empty: the open body."""


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """People and bodies per frame."""

    tracker: Literal["landmarks", "imported", "network"] = "landmarks"
    """`landmarks`: a fit of the body to detected landmarks and the silhouette; `imported`: bodies that another program
    found (`tracking.bodies`); `network`: TrackNet (`tracking.network`)."""
    bodies: str = ""
    """For `imported`: folder with CLIP_ID.npz or CLIP_ID.parquet of every clip (`python -m pipeline body convert`)."""
    network: str = ""
    """For `network`: the .onnx file that `python -m trainer tracknet export` wrote."""
    landmark_model: Literal["full", "heavy"] = "full"
    """The landmark model. `heavy` takes three times as long. With one look each and no other model joints of rendered
    people err by 69 mm in place of 83, in two real views by 72.7 in place of 74.1; there less of the base depth falls
    into the other view's outline (.670, .690)."""
    heavy_every_s: float = 0.066
    """How often `heavy` looks in place of `full`, in seconds: at every second frame of 30 a second, at every fourth of
    60 (0: never, and `heavy` is not needed). Landmarks in the picture are then `heavy`'s, drawn through the frames
    between, those in space the mean of both models'. For the tracker `landmarks` alone. 18 ms a person-frame at 30
    frames a second; joints of rendered people err by 70 mm in place of 83, in two real views by 72.5 in place of 74.0;
    there less of the base depth falls into the other view's outline (.665, .690). With 0.13 joints of rendered people
    err by 4 mm more."""
    mirrored_look: bool = False
    """Whether the landmark model looks at the mirror image of every crop too, and the mean of both counts: 17 ms a
    person-frame, a sixth of all that is spent. Joints of rendered people err by 81 mm with it and by 83 without, in two
    real views by 73.0 and 74.1; wrong signs of limbs in depth fall from 11 to 9 %, and 197 frames of 200 are kept in
    place of 190."""
    detect_every: int = 10
    """Frames from one detection of people to the next (count); between them landmarks carry the track on."""
    detector_threshold: float = 0.6
    """Least score of a detection that begins a track (score, 0 to 1)."""
    match_distance: float = 0.3
    """A detection nearer to a live track than this, in sizes of the person's region (ratio), belongs to the track."""
    merge_distance: float = 0.12
    """Live tracks nearer to each other than this, in sizes of the person's region (ratio), are one person."""
    min_presence: float = 0.5
    """A track ends when the landmark model's presence falls below this (score, 0 to 1)."""
    min_inside: float = 0.6
    """A track ends when fewer of its landmarks lie inside the image (share, 0 to 1)."""
    min_track_frames: int = 15
    """Shorter tracks are dropped: half a second at 30 frames per second."""
    swap_cost: float = 0.015
    """Cost of taking left and right limbs for swapped when they are put right, in heights of the person (ratio)."""
    limb_start: Literal["landmarks", "rest"] = "landmarks"
    """Where arms and legs start in the fit: along the network's landmarks in space, or hanging and straight (joints of
    rendered people err by 86 and 97 mm, in two real views by 74.1 and 73.6)."""
    iterations: tuple[int, int] = (100, 200)
    """Steps of the fit, coarse and fine (count)."""
    silhouette_weight: float = 0.8
    """Weight of the silhouette in the fit against that of the landmarks (ratio). With 0.35 joints of rendered people
    err by .8 mm more, in two real views by 1 mm more; with 1.2 by .4 mm less on rendered people, who wear nothing
    wide."""
    lifter: str = ""
    """The .npz of a lifter, a network that turns a track's landmarks in the picture into landmarks in space, as
    `python -m tests.accuracy.learn_lifter` writes it; empty: none. Off: on rendered motion capture of unseen people
    joints err by 80 mm with it and by 96 without, in two real views by 90 and 74."""
    lifter_weight: float = 0.3
    """Weight of its landmarks in the fit (ratio). On rendered people left out of its training .03, .1, .3 and 1 differ
    by 1 mm."""
    landmark_offsets: bool = True
    """Whether a body's landmarks are the points that the landmark network draws, or those that they are named for, up
    to 30 mm away. With the latter joints of rendered people err by 64 mm in place of 60, in two real views by 56.6 in
    place of 55.1 (after a similarity), and the demo clip's landmarks by a tenth more."""
    depth_bias: bool = True
    """Whether the mean error of depth of the network's landmarks in space, learned on rendered people, is taken off
    before the fit: heads are 6 cm farther and ankles 6 cm nearer than it says. Ankles of rendered people are then 4 mm
    too far in place of 19, in two real views 52 in place of 64; joints err by .6 mm less."""
    seed: int = 6666
    """Seed of every random draw of the tracker (seed)."""

    def __post_init__(self) -> None:
        require(
            0 <= self.heavy_every_s <= 0.2,
            "tracking.heavy_every_s",
            self.heavy_every_s,
            "Give 0 (never) or at most 0.2: between looks further apart people move too far.",
        )
        require(
            self.lifter_weight >= 0,
            "tracking.lifter_weight",
            self.lifter_weight,
            "Give 0 (the start of the fit alone) or more.",
        )


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """Frames that never make samples (they stay in `frames` with their reason)."""

    min_detector_score: float = 0.9
    """Frames are dropped in which the landmark model is less certain of the person (score, 0 to 1)."""
    max_reprojection_error: float = 0.03
    """Frames are dropped whose body's landmarks lie farther from the detected ones: mean distance over the size of the
    person (ratio)."""
    max_error_over_usual: float = 3.0
    """Frames whose reprojection error is this many times the track's median are dropped too: where left and right are
    exchanged for a moment it is four times. The median counts as .003 at least."""
    min_silhouette_iou: float = 0.7
    """Frames are dropped whose body's silhouette agrees less with the segmented person: intersection over union."""
    min_border_distance_px: float = 1.0
    """Frames are dropped whose person's box comes nearer to the image's border."""
    max_overlap: float = 0.1
    """Frames are dropped whose person's box shares more with another person's: intersection over union (share)."""


@dataclass(frozen=True, kw_only=True)
class RefineSettings:
    """Making the bodies of a track agree with each other by its pictures, between tracking and rendering."""

    mode: Literal["off", "pairs", "track"] = "track"
    """`track`: every frame is aligned to the mean appearance of the frames around it; `pairs`: to the frames a
    candidate gap away, each left out where it differs much; `off`: bodies stay as the tracker found them."""
    window_s: float = 0.5
    """Half the width of the window of frames in mode `track` (a raised cosine)."""
    levels_px: tuple[int, ...] = (64, 128, 256, 512)
    """Sides of the pictures, coarse to fine: from 64 on, starts that are 4 px off at 256 converge."""
    iterations: int = 3
    """Steps at each level up to map size (count); one at those above. With 6, studio bodies agree by .006 to .026 px
    better and stand .5 mm farther from the truth, the demo clip's agree as well, and refinement takes 1.6 times as
    long."""
    points: int = 4000
    """Points spread over the body's surface (count); a quarter and half of them at the levels of 64 and 128. With half
    as many more, worth as much together, bodies come out the same; with 3,000 joints are 1 mm worse."""
    node_spacing_m: float = 0.12
    """Distance of the nodes of the free offset and of the bias of light: 16 px at 256, 4.4 m away."""
    static_lighting: bool = True
    """Whether shading by lamps that stand still while the body turns, a function of the surface normal, is estimated
    and taken out, one for a track."""
    person: bool = True
    """Whether points that the segmentation does not call the person are left out: there the picture shows what is
    behind, and that stands still."""
    colour_sigma: float = 0.06
    """Differences of the logarithm of a colour (ratio) that need no explanation."""
    picture_weight: float = 0.045
    """Independent measurements that a point and channel is worth (ratio): neighbouring points repeat each other. On
    real clips more helps (misalignment 2.6 px with 0.022, 2.1 with 0.075); exact bodies pay (.17 and .19 px)."""
    rotation_sigma_rad: float = 0.2
    """How far the tracker's joint rotations are trusted. Exact bodies, those with errors of 1 cm and degree and those
    of the landmark tracker are left misaligned by .15, .24 and .50 px with 0.1, by .17, .25 and .44 with this, and by
    .19, .26 and .40 with 0.3 (three studio films, `picture_weight` 0.022)."""
    translation_sigma_m: float = 0.02
    """How far its translation is trusted. Depth is seen by size alone: more lets light pull bodies to and fro."""
    rotation_acceleration_sigma_rad_s2: float = 45.0
    """How much the corrections of joint rotations may accelerate: .05 rad from frame to frame at 30 a second."""
    translation_acceleration_sigma_m_s2: float = 18.0
    """The same of the translation's: 2 cm from frame to frame at 30 a second."""
    drift_window_s: float = 2.0
    """Half the width of the window (a raised cosine) over which the mean of every correction is nothing: slower drift
    is the tracker's to judge, not the pictures'."""
    outlines: bool = False
    """Whether the segmentation's outlines, too, tell where the dressed surface lies: at the rim of the body's picture
    they say how far off the skin, which pictures hardly do. Bodies are aligned without them."""
    outline_sigma_m: float = 0.02
    """How exactly an outline says so, at a point of the surface (4,000 points). Of exact skin, joints trusted, the
    dressed surface of 28 rendered people recovers 30 % of the error of depth with 0.005, 36 with 0.01, 39 with this, 38
    with 0.04 and 34 without outlines."""
    offset_mean_m: float = 0.0
    """How far off the body's skin, outwards, the dressed surface is expected where no picture says anything. 0.01, with
    `offset_sigma_m` 0.01 and `offset_range_m` (0, 0.08), for bodies of a known shape: clothes are never inside, and a
    surface that may shrink explains turns that are too fast. With that the dressed surface of held-out studio people
    errs by 8.4 mm in place of 9.6 (exact bodies) and by 8.9 in place of 10.2 (1 cm of error). The tracker's bodies fill
    the outline with clothes and all: they gain nothing (37.4 and 35.8 mm)."""
    offset_sigma_m: float = 0.02
    """Standard deviation of that expectation."""
    offset_range_m: tuple[float, float] = (-0.03, 0.08)
    """How far off the skin it may lie: least and most."""

    def __post_init__(self) -> None:
        require(
            bool(self.levels_px)
            and min(self.levels_px) >= 32
            and list(self.levels_px) == sorted(self.levels_px),
            "refine.levels_px",
            self.levels_px,
            "Give sides of 32 or more, coarse to fine.",
        )
        least_m, most_m = self.offset_range_m
        require(
            least_m <= self.offset_mean_m <= most_m and least_m < most_m,
            "refine.offset_range_m",
            self.offset_range_m,
            "Give the least and the most, about refine.offset_mean_m.",
        )
        require(
            self.person or not self.outlines,
            "refine.outlines",
            self.outlines,
            "Give refine.person=true with it: the outlines are the segmentation's.",
        )
        for name in (
            "window_s", "iterations", "points", "node_spacing_m", "colour_sigma", "picture_weight",
            "rotation_sigma_rad", "translation_sigma_m", "rotation_acceleration_sigma_rad_s2",
            "translation_acceleration_sigma_m_s2", "drift_window_s", "outline_sigma_m", "offset_sigma_m",
        ):  # fmt: skip
            require(getattr(self, name) > 0, f"refine.{name}", getattr(self, name), "Give a number above 0.")
