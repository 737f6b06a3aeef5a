"""What is taken off is the mean error along the ray, the same left and right, and of the landmark network's alone."""

from __future__ import annotations

import numpy as np

from pipeline.tracking.depth_bias import DEPTH_BIAS_M, without_depth_bias
from pipeline.tracking.landmark_twins import mirror_permutation


def test_depth_alone_changes_by_the_bias():
    seen = np.random.default_rng(1).normal(size=(4, 33, 3))
    apart = seen - without_depth_bias(seen)
    np.testing.assert_array_equal(apart[..., :2], 0)
    np.testing.assert_allclose(apart[..., 2], np.broadcast_to(DEPTH_BIAS_M, (4, 33)), atol=1e-12)


def test_it_is_symmetric_and_nothing_at_the_hips():
    np.testing.assert_array_equal(DEPTH_BIAS_M[mirror_permutation()], DEPTH_BIAS_M)
    np.testing.assert_array_equal(DEPTH_BIAS_M[[23, 24]], 0)
    assert DEPTH_BIAS_M[27] > 0.03 > -0.03 > DEPTH_BIAS_M[0]


def test_a_bias_is_learned_from_what_was_seen_too_far():
    """A scene whose truth is seen with the bias, in the axes of the ray."""
    from pipeline.body.model import BodyModel
    from pipeline.tracking.fit_start import camera_from_ray
    from tests.accuracy.learn_depth_bias import too_far
    from tests.accuracy.motions import made_motions
    from tests.accuracy.scenes import scenes_of
    from tests.support.toy_people import observations

    body = BodyModel.open_body()
    scene = next(iter(scenes_of(body, made_motions(4), 1, ["pitched"])))
    truth = scene.performance
    marks = body.landmarks(truth.pose, truth.betas, truth.translation)
    seen = observations(
        truth.pts_s, truth.camera.px_from_cam(marks), np.zeros_like(marks), image_hw=truth.camera.hw
    )
    along_ray = marks @ camera_from_ray(seen, truth.camera)
    along_ray[..., 2] += DEPTH_BIAS_M
    seen.world_m[:] = along_ray
    np.testing.assert_allclose(too_far(scene, seen, body), DEPTH_BIAS_M, atol=1e-12)
