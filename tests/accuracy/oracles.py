"""What a fit would be worth if one thing about its landmarks were right: the true one is put in its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.tracking.depth_bias import without_depth_bias
from pipeline.tracking.fit_start import HIPS, camera_from_ray
from pipeline.tracking.left_right import BODY_LANDMARKS, exchanged
from pipeline.tracking.people import Observations
from tests.accuracy.scenes import MotionScene

Oracle = Callable[[MotionScene, Observations, BodyModel], Observations]


def true_landmarks(scene: MotionScene, seen: Observations, body: BodyModel) -> np.ndarray:
    """(T, 33, 3) metres in the film's camera."""
    truth, at = scene.performance, seen.frame_index
    return np.asarray(body.landmarks(truth.pose[at], truth.betas, truth.translation[at]))


def true_sides(scene: MotionScene, seen: Observations, body: BodyModel) -> Observations:
    """Left and right exchanged in the frames where that brings the landmarks nearer to the true ones."""
    marks = list(BODY_LANDMARKS)
    true_px = scene.performance.camera.px_from_cam(true_landmarks(scene, seen, body))[:, marks]
    other = exchanged(seen, np.ones(len(seen), bool))
    apart = [np.linalg.norm(each.xy_px[:, marks] - true_px, axis=-1).mean(axis=1) for each in (seen, other)]
    return exchanged(seen, apart[1] < apart[0])


def true_pixels(scene: MotionScene, seen: Observations, body: BodyModel) -> Observations:
    """The true landmarks in the picture; those in space as the network saw them."""
    return replace(seen, xy_px=scene.performance.camera.px_from_cam(true_landmarks(scene, seen, body)))


def true_space(scene: MotionScene, seen: Observations, body: BodyModel) -> Observations:
    """The true landmarks in space; those in the picture as the network saw them."""
    return replace(seen, world_m=_seen_along_ray(scene, seen, body))


def true_rotation(scene: MotionScene, seen: Observations, body: BodyModel) -> Observations:
    """The network's landmarks in space less their mean error, turned as a whole onto the true ones in every frame."""
    true, world = _seen_along_ray(scene, seen, body), without_depth_bias(seen.world_m)
    world = world - world.mean(axis=1, keepdims=True)
    left, _, right = np.linalg.svd(np.einsum("tki,tkj->tij", world, true - true.mean(axis=1, keepdims=True)))
    left[:, :, 2] *= np.sign(np.linalg.det(left @ right))[:, None]
    return replace(seen, world_m=world @ (left @ right))


def _seen_along_ray(scene: MotionScene, seen: Observations, body: BodyModel) -> np.ndarray:
    """(T, 33, 3) true landmarks about the hips, in the axes of the viewing ray."""
    marks = true_landmarks(scene, seen, body)
    centred = marks - marks[:, HIPS].mean(axis=1, keepdims=True)
    return np.asarray(centred @ camera_from_ray(seen, scene.performance.camera))


IN_SPACE = ("rotation", "space")
"""Those after which there is no mean error of depth to take off."""
ORACLES: dict[str, Oracle] = {
    "sides": true_sides,
    "pixels": true_pixels,
    "rotation": true_rotation,
    "space": true_space,
}
