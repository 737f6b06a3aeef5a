"""Whether a fit errs because of where it starts: the default tracker, begun at a scene's true bodies."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.geometry.camera import Camera
from pipeline.tracking.fit import FittedTrack, fit_track
from pipeline.tracking.fit_start import Start
from pipeline.tracking.people import Observations
from pipeline.tracking.silhouette import Silhouettes
from pipeline.tracking.tracker import LandmarkTracker
from tests.support.rendered_people import Performance


class TrueStartTracker(LandmarkTracker):
    """The landmarks and the energy are as ever; the shape starts at the mean as ever."""

    performance: Performance
    """The true bodies of the scene that is fitted next."""

    def _bodies(self, seen: Observations, silhouettes: Silhouettes, camera: Camera) -> FittedTrack:
        settings = self._settings.tracking
        rng = np.random.default_rng(settings.seed)
        start = true_start(self.performance, seen.frame_index, camera)
        return fit_track(self._body, seen, silhouettes, camera, settings, rng, self._weights, start=start)


def true_start(performance: Performance, frames: np.ndarray, camera: Camera) -> Start:
    """The true bodies of frames (T,). Under another focal length they stand where they are as large: z f / f_true."""
    pose = performance.pose[frames]
    farther = camera.K[0, 0] / performance.camera.K[0, 0]
    return Start(
        rotation=Rotation.from_rotvec(pose[:, 0]).as_matrix(),
        body_pose=pose[:, 1:],
        translation=performance.translation[frames] * [1.0, 1.0, farther],
    )
