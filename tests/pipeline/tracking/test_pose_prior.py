"""The prior of poses against scipy's densities, its symmetry, and what it holds likely."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, multivariate_t, wishart

from pipeline.tracking.pose_prior import FREEDOM, PRIOR_FILE, PRIOR_JOINTS, PosePrior, learned_prior, mirrored
from tests.accuracy.learn_prior import log_density, mixture, poses_of
from tests.accuracy.motions import Take
from tests.support import torch_energy as terms

SIZE = 3 * len(PRIOR_JOINTS)
ROWS = np.array(PRIOR_JOINTS) - 1


def poses(count: int, seed: int = 0, scale: float = 0.4) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal((count, 23, 3))


def surprise(prior: PosePrior, body_pose: np.ndarray) -> np.ndarray:
    return terms.surprise(prior, torch.tensor(body_pose, dtype=torch.float32)).numpy()


def test_surprise_is_the_density_of_a_mixture_of_student_distributions():
    rng = np.random.default_rng(1)
    weight, mean = np.array([0.2, 0.5, 0.3]), 0.2 * rng.standard_normal((3, SIZE))
    covariance = wishart.rvs(SIZE + 20, np.eye(SIZE) / SIZE, size=3, random_state=2)
    seen = poses(6)
    theta = seen[:, ROWS].reshape(6, -1)
    log = [
        np.log(w) + multivariate_t(m, c, df=FREEDOM).logpdf(theta)
        for w, m, c in zip(weight, mean, covariance, strict=True)
    ]
    expected = -2 * logsumexp(log, axis=0)
    found = surprise(PosePrior(weight, mean, covariance), seen)
    np.testing.assert_allclose(np.diff(found), np.diff(expected), rtol=1e-3, atol=0.02)


def test_at_the_only_mode_there_is_no_surprise_and_far_off_it_grows_slowly():
    covariance = 0.04 * np.eye(SIZE)
    mean = np.full((1, SIZE), 0.1)
    prior = PosePrior(np.ones(1), mean, covariance[None])
    pose = np.full((4, 23, 3), 0.1)
    pose[1:, ROWS[4], 0] += 0.2 * np.array([1, 10, 20])  # standard deviations
    expected = (FREEDOM + SIZE) * np.log1p(np.array([0, 1, 100, 400]) / FREEDOM)
    np.testing.assert_allclose(surprise(prior, pose), expected, rtol=1e-4, atol=1e-5)


def test_toes_and_hands_do_not_matter():
    pose = poses(1)
    other = pose.copy()
    other[:, [9, 10, 21, 22]] += 1.0
    np.testing.assert_array_equal(surprise(learned_prior(), pose), surprise(learned_prior(), other))


def test_mirror_images_are_as_likely():
    theta = poses(5)[:, ROWS].reshape(5, -1)
    np.testing.assert_array_equal(mirrored(mirrored(theta)), theta)
    pose, twin = poses(5), np.zeros((5, 23, 3))
    twin[:, ROWS] = mirrored(theta).reshape(5, -1, 3)
    np.testing.assert_allclose(surprise(learned_prior(), pose), surprise(learned_prior(), twin), rtol=1e-4)


def test_gradient():
    prior, pose = learned_prior(), torch.tensor(poses(1), dtype=torch.float32, requires_grad=True)
    (slope,) = torch.autograd.grad(terms.surprise(prior, pose).sum(), pose)
    for joint, axis in ((0, 0), (3, 0), (15, 2), (18, 1)):
        step = torch.zeros_like(pose)
        step[0, joint, axis] = 1e-2
        rise = (
            float((terms.surprise(prior, pose + step) - terms.surprise(prior, pose - step)).detach()) / 2e-2
        )
        assert float(slope[0, joint, axis]) == pytest.approx(rise, rel=0.02, abs=0.05)


def test_a_walk_is_likelier_than_the_same_legs_mirrored_in_depth():
    """Seen from the front both look alike: knees that bend forwards are the mirror image in depth."""
    stride = np.zeros((1, 23, 3))
    stride[0, 15, 2], stride[0, 16, 2] = -1.1, 1.1
    stride[0, 0, 0], stride[0, 1, 0], stride[0, 3, 0] = -0.4, 0.3, 1.0
    backwards = stride.copy()
    backwards[0, [0, 1, 3], 0] *= -1
    assert surprise(learned_prior(), stride)[0] + 5 < surprise(learned_prior(), backwards)[0]


def test_the_file_is_small_and_no_angle_is_certain():
    assert PRIOR_FILE.stat().st_size < 500_000
    with np.load(PRIOR_FILE, allow_pickle=False) as stored:
        assert stored["weight"].sum() == pytest.approx(1, abs=1e-5)
        for covariance in stored["covariance"]:
            assert np.linalg.eigvalsh(covariance.astype(np.float64)).min() > 0.019


def test_learning_finds_the_mixture_that_made_the_points():
    rng = np.random.default_rng(3)
    centres = np.array([[-2.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
    which = rng.choice(2, 4000, p=[0.25, 0.75])
    points = centres[which] + rng.standard_normal((4000, 3)) * np.array([[0.3], [0.5]])[which]
    weight, mean, covariance = mixture(points, np.ones(4000), 2)
    order = np.argsort(mean[:, 0])
    np.testing.assert_allclose(weight[order], [0.25, 0.75], atol=0.02)
    np.testing.assert_allclose(mean[order], centres, atol=0.05)
    spread = np.sqrt(np.diagonal(covariance[order], axis1=1, axis2=2)).mean(axis=1)
    np.testing.assert_allclose(spread, np.sqrt([0.09 + 0.02, 0.25 + 0.02]), rtol=0.08)
    np.testing.assert_allclose(
        log_density(points[:5], mean[0], covariance[0]),
        multivariate_normal(mean[0], covariance[0]).logpdf(points[:5]),
    )


def test_people_count_by_a_power_of_their_poses_all_together_as_ever() -> None:
    rng = np.random.default_rng(4)

    def take(person: str, frames: int) -> Take:
        pose = 0.1 * rng.standard_normal((frames, 24, 3))
        return Take(name=f"{person} jumps", person=person, pose=pose, place=np.zeros((frames, 3)))

    takes = [take("a", 120), take("b", 30), take("a", 120)]
    _, counts = poses_of(takes)
    assert counts.shape == (2 * (40 + 10 + 40),)
    np.testing.assert_array_equal(counts, 1)
    of_b = slice(80, 100)
    for power, ratio in ((0.5, np.sqrt(80 / 10)), (1.0, 1.0)):
        _, evened = poses_of(takes, power)
        assert evened.sum() == pytest.approx(counts.sum())
        assert (evened.sum() - evened[of_b].sum()) / evened[of_b].sum() == pytest.approx(ratio)
