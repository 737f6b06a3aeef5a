"""Joint errors of the default tracker on rendered people, beside those of the landmarks it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.config import Settings
from pipeline.records import Footage, Frame, Track
from pipeline.tracking.blazepose import PoseModels
from pipeline.tracking.fit_energy import EnergyWeights
from pipeline.tracking.left_right import BODY_LANDMARKS
from pipeline.tracking.people import Observations
from pipeline.tracking.tracker import LandmarkTracker
from schemas.conventions import JOINT_COUNT, VECTOR_BETAS, VECTOR_POSE
from tests.support.rendered_people import (
    COUNTED_JOINTS,
    Performance,
    joint_errors_mm,
    rendered,
    walking,
)

SCENES: dict[str, dict[str, float]] = {
    "front": {"turn_deg": 0},
    "from 40 degrees": {"turn_deg": 40},
    "side": {"turn_deg": 85},
    "back": {"turn_deg": 180},
    "turning": {"turn_deg": -30, "turning_deg_per_s": 60},
    "arms raised": {"turn_deg": 20, "arms_up": 1.0},
    "wide lens": {"turn_deg": 30, "focal_px": 560, "distance_m": 2.8},
    "long lens": {"turn_deg": 30, "focal_px": 1500, "distance_m": 7.5},
}
TERMS = {
    "all terms": {},
    "no world landmarks": {"world_coarse": 0.0, "world_fine": 0.0},
    "no silhouette": {"silhouette": 0.0},
    "no pose prior": {"pose_prior": 0.0},
    "no hinges": {"hinge": 0.0},
    "no smoothness": {"landmark_acceleration": 0.0, "pose_acceleration": 0.0, "depth_acceleration": 0.0},
    "no shape prior": {"shape": 0.0},
}


@dataclass(frozen=True, kw_only=True)
class JointFigures:
    """Means over frames and joints, millimetres: after aligning the mean, and (PA) after a similarity."""

    mpjpe_mm: float
    pa_mpjpe_mm: float
    raw_mpjpe_mm: float
    """The network's world landmarks, over twelve body landmarks ..."""
    raw_pa_mm: float
    landmarks_mpjpe_mm: float
    """... and the fitted body's, over the same."""
    landmarks_pa_mm: float


class Scene:
    """A rendered person, and what the networks see of it: computed once, fitted as often as asked."""

    def __init__(
        self, performance: Performance, models: PoseModels, settings: Settings | None = None
    ) -> None:
        self.performance, self._models = performance, models
        self.settings = settings or Settings()
        self.body = BodyModel.open_body()

    @cached_property
    def frames(self) -> list[Frame]:
        """The film."""
        return list(rendered(self.body, self.performance))

    def tracked(
        self, weights: EnergyWeights | None = None, frames: Sequence[Frame] | None = None
    ) -> tuple[Track, Observations]:
        """The one person in it, with the true focal length. Raises ValueError where not exactly one is found."""
        tracker = LandmarkTracker(self.body, self.settings, self._models, weights)
        focal_px = float(self.performance.camera.K[0, 0])
        found = tracker.track_with_landmarks(
            self.frames if frames is None else frames, Footage(unit_id="scene", focal_px=focal_px)
        )
        if len(found) != 1:
            raise ValueError(f"{len(found)} people were found in a scene of one.")
        return found[0]

    def figures(self, weights: EnergyWeights | None = None) -> JointFigures:
        """Errors over the frames of the track."""
        track, seen = self.tracked(weights)
        at = track.frame_index
        pose, betas = pose_and_shape(track)
        still = np.zeros((len(at), 3))
        joints = list(COUNTED_JOINTS)
        true_joints = self.performance.joints(self.body)[at][:, joints]
        fitted_joints = self.body.joints(pose, betas, still)[:, joints]
        marks = list(BODY_LANDMARKS)
        truth = self.performance
        true_marks = self.body.landmarks(truth.pose[at], truth.betas, truth.translation[at])[:, marks]
        fitted_marks = self.body.landmarks(pose, betas, still)[:, marks]
        mpjpe, pa = joint_errors_mm(fitted_joints, true_joints)
        raw, raw_pa = joint_errors_mm(seen.world_m[:, marks], true_marks)
        ours, ours_pa = joint_errors_mm(fitted_marks, true_marks)
        return JointFigures(
            mpjpe_mm=mpjpe,
            pa_mpjpe_mm=pa,
            raw_mpjpe_mm=raw,
            raw_pa_mm=raw_pa,
            landmarks_mpjpe_mm=ours,
            landmarks_pa_mm=ours_pa,
        )


def pose_and_shape(track: Track) -> tuple[np.ndarray, np.ndarray]:
    """(T, 24, 3) axis-angles and (10,) betas of a track's vectors."""
    return track.vector[:, VECTOR_POSE].reshape(-1, JOINT_COUNT, 3), track.vector[0, VECTOR_BETAS]


def scene(name: str, models: PoseModels, *, seconds: float = 1.5, fps: float = 30.0) -> Scene:
    """One of `SCENES`."""
    return Scene(walking(**SCENES[name], seconds=seconds, fps=fps), models)
