"""Each term of the energy: closed values, gradients in float64, and laws of time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

from pipeline.tracking import fit_energy as energy
from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.pose_prior import PRIOR_JOINTS
from tests.support import torch_energy as terms

LEFT, RIGHT = [1, 4, 7, 10, 13, 16, 18, 20, 22], [2, 5, 8, 11, 14, 17, 19, 21, 23]


def f64(values) -> torch.Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float64)


def random(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def variable(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return random(*shape, seed=seed, scale=scale).requires_grad_()


def test_weights_are_the_same_left_and_right():
    landmarks, pose = energy.landmark_weights(), energy.extremity_stiffness()
    np.testing.assert_array_equal(landmarks, landmarks[mirror_permutation()])
    np.testing.assert_array_equal(pose[np.array(LEFT) - 1], pose[np.array(RIGHT) - 1])
    assert landmarks.shape == (33,)
    assert pose.shape == (23, 3)
    assert (landmarks > 0).all()


def test_parts_share_out_each_landmark_the_same_left_and_right():
    shares = energy.part_shares()
    np.testing.assert_allclose(shares.sum(axis=0), 1)
    np.testing.assert_array_equal(shares[:, mirror_permutation()], shares)
    np.testing.assert_array_equal(shares[:, [0, 15, 23, 25, 31]], [[1, 1, 0.5, 0, 0], [0, 0, 0.5, 1, 1]])


def test_only_what_the_prior_does_not_know_is_held_by_springs():
    held = {int(joint) + 1 for joint in np.flatnonzero(energy.extremity_stiffness().any(axis=1))}
    assert held | set(PRIOR_JOINTS) == set(range(1, 24))
    assert not held & set(PRIOR_JOINTS)


def test_rho():
    np.testing.assert_allclose(terms.rho(f64([0, 0.04, 1e9]), 0.2), [0, 0.02, 0.04], rtol=1e-6)
    small = f64([1e-9])
    np.testing.assert_allclose(terms.rho(small, 0.2), small, rtol=1e-6)
    assert gradcheck(lambda r: terms.rho(r.square(), 0.2), (variable(7),))


def test_project():
    points = f64([[[0.5, -0.25, 2.0], [0, 0, 5], [1.0, 1.0, -3.0]]])
    found = terms.project(points, f64([400, 400, 320, 240]))
    # a point behind the camera keeps a finite image far outside: 400 * 1 / 0.1
    np.testing.assert_allclose(found, [[[420, 190], [320, 240], [4320, 4240]]])


def test_landmark_term():
    seen = random(2, 33, 2, seed=1, scale=50)
    assert float(terms.landmark_term(seen, seen, f64([100, 200]), torch.ones(2, 33), 0.05)) == 0
    moved = seen.clone()
    moved[0, 3] += f64([3.0, 4.0])  # 5 px of 100: rho(.05; .05) = .05^2 / 2
    moved[1, 7] += f64([0.0, 10.0])  # 10 px of 200, the same
    weight = torch.ones(2, 33, dtype=torch.float64)
    weight[1, 7] = 3
    term = terms.landmark_term(moved, seen, f64([100, 200]), weight, 0.05)
    assert float(term) == pytest.approx((1 + 3) * 0.05**2 / 2 / 2)
    assert gradcheck(
        lambda uv: terms.landmark_term(uv, seen, f64([100, 200]), weight, 0.2), (variable(2, 33, 2, seed=2),)
    )


def test_world_term():
    seen, points = torch.zeros(4, 33, 3, dtype=torch.float64), torch.zeros(4, 33, 3, dtype=torch.float64)
    points[2, 5] = f64([0.1, 0.2, 0.2])  # .3 m: rho(.3; .3) = .045
    weight = torch.full((4, 33), 2.0, dtype=torch.float64)
    assert float(terms.world_term(points, seen, weight)) == pytest.approx(2 * 0.045 / 4)
    assert gradcheck(lambda x: terms.world_term(x, seen, weight), (variable(4, 33, 3, scale=0.3),))


def test_extremity_term():
    stiffness = f64(energy.extremity_stiffness())
    assert float(terms.extremity_term(torch.zeros(3, 23, 3, dtype=torch.float64), stiffness)) == 0
    bent = torch.zeros(3, 23, 3, dtype=torch.float64)
    bent[1, 9] = f64([0.1, 0.2, 0.3])  # left toes: 1 4 4
    bent[1, 3] = 1.0  # knees belong to the prior
    expected = (0.01 + 4 * 0.04 + 4 * 0.09) / 3
    assert float(terms.extremity_term(bent, stiffness)) == pytest.approx(expected)
    assert gradcheck(lambda pose: terms.extremity_term(pose, stiffness), (variable(3, 23, 3),))


def test_hinges_are_free_inside_their_range():
    pose = torch.zeros(5, 23, 3, dtype=torch.float64).uniform_(
        -3, 3, generator=torch.Generator().manual_seed(1)
    )
    pose[:, 3:5, 0] = torch.linspace(0, 2.5, 5, dtype=torch.float64)[:, None]
    pose[:, 17, 1] = -torch.linspace(0, 2.6, 5, dtype=torch.float64)
    pose[:, 18, 1] = torch.linspace(2.6, 0, 5, dtype=torch.float64)
    assert float(terms.hinge_term(pose)) == 0


@pytest.mark.parametrize(
    ("joint", "axis", "angle", "beyond"),
    [(4, 0, -0.3, 0.3), (5, 0, -0.3, 0.3), (4, 0, 2.7, 0.2), (5, 0, 3.0, 0.5)]
    + [(18, 1, 0.4, 0.4), (18, 1, -2.8, 0.2), (19, 1, -0.4, 0.4), (19, 1, 2.9, 0.3)],
)
def test_hinges_beyond_their_range(joint, axis, angle, beyond):
    pose = torch.zeros(2, 23, 3, dtype=torch.float64)
    pose[1, joint - 1, axis] = angle
    assert float(terms.hinge_term(pose)) == pytest.approx(beyond**2 / 2)


def test_hinges_pass_gradcheck():
    assert gradcheck(terms.hinge_term, (variable(3, 23, 3, seed=4, scale=2.0),))


EVEN = np.arange(40) / 30
UNEVEN = np.cumsum(np.random.default_rng(3).uniform(0.01, 0.15, 40))


@pytest.mark.parametrize("times", [EVEN, UNEVEN, 1000 + UNEVEN, np.arange(20) / 24])
def test_acceleration_of_a_parabola(times):
    """x = x0 + v t + a t^2 / 2 in units of 1/30 s has acceleration a at every time, whatever the spacing."""
    t = (times - times[0]) * 30
    rate, speed = np.array([0.01, -0.02, 0.005]), np.array([1.0, -2.0, 0.3])
    values = f64(4 + speed * t[:, None] + 0.5 * rate * t[:, None] ** 2)
    acceleration = energy.Acceleration(times)
    np.testing.assert_allclose(
        acceleration.of(values.numpy()), np.broadcast_to(rate, (len(t) - 2, 3)), atol=2e-5
    )
    assert float(terms.mean_square(acceleration, values)) == pytest.approx((rate**2).sum(), rel=2e-2)
    straight = terms.mean_square(acceleration, f64(4 + speed * t[:, None]))
    assert float(straight) < 1e-8


@pytest.mark.parametrize("fps", [24.0, 30.0, 50.0, 60.0])
def test_the_same_motion_costs_the_same_at_every_frame_rate(fps):
    """x = sin(w t): the mean square of x'' over whole periods is (w / 30)^4 / 2."""
    times = np.arange(round(4 * fps) + 1) / fps
    omega = 2 * np.pi * 1.0
    cost = terms.mean_square(energy.Acceleration(times), f64(np.sin(omega * times)))
    assert float(cost) == pytest.approx((omega / 30) ** 4 / 2, rel=0.03)


def test_the_mean_is_over_time_not_over_frames():
    """One second at 60 fps with acceleration 1, one second at 15 fps with acceleration 2: (1 + 4) / 2."""
    times = np.concatenate([np.arange(0, 1, 1 / 60), 1 + np.arange(0, 1.001, 1 / 15)])
    t = 30 * times
    values = np.where(t < 30, 0.5 * t**2, 0.5 * 30**2 + 30 * (t - 30) + (t - 30) ** 2)
    assert float(terms.mean_square(energy.Acceleration(times), f64(values))) == pytest.approx(2.5, rel=0.03)


def test_gaps_are_not_bridged():
    times = np.concatenate([np.arange(20), 20 + 9 + np.arange(20)]) / 30  # .33 s without frames
    values = np.where(times < 0.7, times, 50 - 3 * times)
    acceleration = energy.Acceleration(times)
    assert float(terms.mean_square(acceleration, f64(values))) < 1e-8
    assert acceleration.tied.sum() == 36
    short = np.concatenate([np.arange(20), 20 + 3 + np.arange(20)]) / 30  # .13 s: still tied
    assert float(terms.mean_square(energy.Acceleration(short), f64(values))) > 1


def test_frames_too_far_apart_have_no_acceleration():
    acceleration = energy.Acceleration(np.arange(5.0))
    values = variable(5, 3)
    total = terms.mean_square(acceleration, values)
    assert float(total) == 0


def test_acceleration_passes_gradcheck():
    acceleration = energy.Acceleration(UNEVEN[:8])
    assert gradcheck(lambda values: terms.mean_square(acceleration, values), (variable(8, 2, 3),), eps=1e-5)


LENS = f64([100.0, 100.0, 0.0, 0.0])
"""With points a metre away, pixels are centimetres."""


def silhouettes(**given: torch.Tensor) -> terms.SilhouetteTensors:
    """Two frames whose maps cover 40 x 40 pixels about the principal point, all inside, with an outline at (0, 0)."""
    affine = f64([[0.4, 0, 8], [0, 0.4, 8]])
    return terms.SilhouetteTensors(
        **{
            "outside_px": torch.zeros(2, 16, 16, dtype=torch.float64),
            "cell_from_px": affine.repeat(2, 1, 1),
            "contour_px": torch.zeros(2, 4, 2, dtype=torch.float64),
            "contour_weight": torch.ones(2, 4, dtype=torch.float64),
        }
        | given
    )


def at_px(px: torch.Tensor) -> torch.Tensor:
    """Points a metre away that are seen at pixels (..., 2)."""
    return torch.cat([px / 100, torch.ones_like(px[..., :1])], -1)


BOTH, SIZE = torch.arange(2), f64([100.0, 50.0])


def test_silhouette_term_outside_of_the_mask():
    given = silhouettes(outside_px=torch.full((2, 16, 16), 3.0, dtype=torch.float64))
    term = terms.silhouette_term(at_px(torch.zeros(2, 3, 2, dtype=torch.float64)), BOTH, given, SIZE, LENS)
    # 3 px of 100 and of 50: rho(.03; .03) and rho(.06; .03)
    assert float(term) == pytest.approx((0.03**2 / 2 + 0.06**2 / 5) / 2)


@pytest.mark.parametrize(("at", "read"), [((2.0, 9.6), 2.0), ((5.3, 1.0), 5.3), ((13.7, 15.0), 13.7)])
def test_silhouette_term_samples_the_cell_it_is_told(at, read):
    """A ramp of cell centres 0.5 ... 15.5 gives back the coordinate; the other frame's map is not looked at."""
    ramp = (torch.arange(16, dtype=torch.float64) + 0.5).expand(16, 16)
    surface = at_px((f64([[at] * 3]) - 8) / 0.4)
    for turned in (False, True):
        maps = torch.stack([torch.full((16, 16), 99.0, dtype=torch.float64), ramp.mT if turned else ramp])
        given = silhouettes(
            outside_px=maps.contiguous(), contour_weight=torch.zeros(2, 4, dtype=torch.float64)
        )
        term = terms.silhouette_term(surface, torch.tensor([1]), given, SIZE[:1], LENS)
        expected = terms.rho(f64((at[1] if turned else read) / 100) ** 2, 0.03)
        assert float(term) == pytest.approx(float(expected))


def test_silhouette_term_far_outside_reads_the_border_and_pulls_nowhere():
    maps = random(2, 16, 16, seed=6).abs() * 5
    surface = at_px(f64([[[900.0, -900.0]], [[-900.0, 900.0]]])).requires_grad_()
    given = silhouettes(outside_px=maps, contour_weight=torch.zeros(2, 4, dtype=torch.float64))
    term = terms.silhouette_term(surface, BOTH, given, SIZE, LENS)
    term.backward()
    corners = torch.stack([maps[0, 0, 15], maps[1, 15, 0]])
    assert float(term.detach()) == pytest.approx(float(terms.rho((corners / SIZE) ** 2, 0.03).mean()))
    assert surface.grad is not None
    assert not surface.grad.any()


def test_silhouette_term_pulls_the_nearest_point_to_the_outline():
    surface = at_px(f64([[[0, 0], [10, 0], [0, 30]], [[0, 0], [1, 1], [2, 2]]]))
    contour = f64([[[12, 0], [0, 33], [-4, 0], [500, 500]], [[0, 0], [1, 1], [2, 2], [2, 2]]])
    weight = f64([[1, 1, 1, 0], [1, 1, 1, 1]])
    given = silhouettes(contour_px=contour, contour_weight=weight)
    expected = sum(d**2 / (1 + d**2 / 0.04**2) for d in (0.02, 0.03, 0.04)) / 7
    assert float(terms.silhouette_term(surface, BOTH, given, SIZE, LENS)) == pytest.approx(expected)
    none = silhouettes(contour_px=contour, contour_weight=torch.zeros(2, 4, dtype=torch.float64))
    assert float(terms.silhouette_term(surface, BOTH, none, SIZE, LENS)) == 0


@pytest.mark.parametrize("spread", [0.02, 8.0, 300.0])
def test_silhouette_term_against_all_distances(spread):
    """Outlines within, around and far from the surface: the bands find the nearest of all points."""
    contour, surface = random(2, 50, 2, seed=8, scale=spread), random(2, 200, 2, seed=9, scale=8.0)
    given = silhouettes(contour_px=contour, contour_weight=torch.ones(2, 50, dtype=torch.float64))
    least = torch.cdist(contour, surface).amin(-1) / SIZE[:, None]
    found = terms.silhouette_term(at_px(surface), BOTH, given, SIZE, LENS)
    assert float(found) == pytest.approx(float(terms.rho(least.square(), 0.04).mean()), rel=1e-9)


@pytest.mark.parametrize("frames", [[0, 1], [1]])
def test_silhouette_term_passes_gradcheck(frames):
    chosen = torch.tensor(frames)
    given = silhouettes(
        outside_px=random(2, 16, 16, seed=6).abs() * 5, contour_px=random(2, 4, 2, seed=5, scale=9)
    )
    place = torch.cat(
        [random(len(frames), 6, 2, seed=7, scale=0.08), 0.8 + random(len(frames), 6, 1).abs()], -1
    )
    place[0, 0, 2] = 0.05  # nearer than NEAREST_Z_M
    surface = place.requires_grad_()
    assert gradcheck(
        lambda points: terms.silhouette_term(points, chosen, given, SIZE[chosen], LENS), (surface,)
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30])
def test_silhouette_term_of_what_has_no_place_is_no_number(bad):
    """A fit that has lost its footing must not read beyond the maps."""
    place = at_px(random(2, 6, 2, seed=7))
    place[1, 3, 0] = bad
    surface = place.requires_grad_()
    term = terms.silhouette_term(surface, BOTH, silhouettes(), SIZE, LENS)
    term.backward()
    assert surface.grad is not None
    assert term.detach().isnan()
    assert surface.grad.isnan().all()
