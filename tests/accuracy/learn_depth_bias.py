"""`python -m tests.accuracy.learn_depth_bias MOCAP`: by how much the landmark network errs in depth on average.

On the test bed's scenes of people of whom nothing is reported, with the landmark models of the defaults: in metres
along the ray through the hips, the mean over scenes of the median over frames of what landmarks in space, less the
hips' middle, are too far. Twins share theirs. Prints what `pipeline/tracking/depth_bias.py` holds, its standard error,
and how it changes without a person.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import LANDMARK_NAMES
from pipeline.config import Settings
from pipeline.geometry.array_types import Floats
from pipeline.tracking.fit_start import HIPS, camera_from_ray
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.left_right import repair_left_right
from pipeline.tracking.people import Observations
from pipeline.tracking.tracker import landmark_models
from pipeline.tracking.two_models import joined_landmarks
from tests.accuracy.motions import motion_capture
from tests.accuracy.observing import SEEN, observed
from tests.accuracy.scenes import LEARNED_ON, MotionScene, scenes_of


def too_far(scene: MotionScene, seen: Observations, body: BodyModel) -> Floats:
    """(33,) metres, of one scene."""
    truth, at = scene.performance, seen.frame_index
    marks = body.landmarks(truth.pose[at], truth.betas, truth.translation[at])
    true, found = marks @ camera_from_ray(seen, truth.camera), seen.world_m
    apart = [each[..., 2] - each[:, HIPS, 2].mean(axis=1, keepdims=True) for each in (found, true)]
    error = np.median(apart[0] - apart[1], axis=0)
    return np.asarray((error + error[mirror_permutation()]) / 2)


def main() -> int:
    """Prints a table; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy.learn_depth_bias", description=__doc__)
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--scenes", type=int, default=5, help="films of each kind")
    parser.add_argument("--seen", type=Path, default=SEEN, help="where landmarks that were found are kept")
    options = parser.parse_args()
    body, settings, by_person = BodyModel.open_body(), Settings(), {}
    models = landmark_models(settings)
    for scene in scenes_of(body, motion_capture(options.mocap), options.scenes, LEARNED_ON):
        seen = None if scene.is_reported else observed(scene, models, settings.tracking, options.seen)
        if seen is not None:
            seen = joined_landmarks(repair_left_right(seen, settings.tracking.swap_cost)[0])
            person = scene.name.split(": ")[1].split("/")[0]
            by_person.setdefault(person, []).append(too_far(scene, seen, body))
    rows = np.array([row for own in by_person.values() for row in own])
    mean, error = rows.mean(axis=0), rows.std(axis=0) / np.sqrt(len(rows) - 1)
    others = [
        np.mean([row for name, own in by_person.items() if name != person for row in own], axis=0)
        for person in by_person
    ]
    for mark, name in enumerate(LANDMARK_NAMES):
        without = ", ".join(f"{1000 * each[mark]:.0f}" for each in others)
        print(f"{name:16s} {mean[mark]:.3f} +- {error[mark]:.3f} m; without one person {without} mm")
    print(f"{len(rows)} films of {', '.join(by_person)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
