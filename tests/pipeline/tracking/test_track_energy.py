"""The compiled energy of a track and its slopes against the same terms in torch, and against differences."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.config import TrackingSettings
from pipeline.geometry.camera import Camera
from pipeline.tracking.fit_energy import EnergyWeights
from pipeline.tracking.fit_start import camera_from_ray
from pipeline.tracking.people import Observations
from pipeline.tracking.pose_prior import PRIOR_JOINTS, PosePrior, learned_prior
from pipeline.tracking.silhouette import Silhouettes, silhouettes_of
from pipeline.tracking.skin_sample import spread_vertices
from pipeline.tracking.term_kernels import POSE
from pipeline.tracking.track_energy import SILHOUETTE_FRAMES, SURFACE_VERTICES, Shared, TrackEnergy
from tests.support.torch_energy import TorchEnergy
from tests.support.toy_people import observed_body, walking_person

CAMERA = Camera(np.array([[1400.0, 0, 640], [0, 1400.0, 360], [0, 0, 1]]), (720, 1280))
LIFTER = Path(__file__).parents[2] / "accuracy" / "lifter.npz"
FRAMES = SILHOUETTE_FRAMES + 6
NONE = EnergyWeights(**{field.name: 0.0 for field in fields(EnergyWeights)})
TERMS = [
    ("landmarks",), ("world_coarse", "world_fine", "world_turn"), ("pose_prior",), ("extremities", "hinge"),
    ("shape", "world_scale"), ("landmark_acceleration",), ("pose_acceleration",), ("depth_acceleration",),
    ("silhouette",), ("lifter_coarse", "lifter_fine", "lifter_turn"),
]  # fmt: skip


@pytest.fixture(scope="module")
def glimpse() -> tuple[Observations, Silhouettes]:
    """Uneven frames, a gap among them; some landmarks hidden."""
    times = np.cumsum(np.random.default_rng(4).uniform(0.02, 0.05, FRAMES))
    times[9:] += 0.4
    seen = observed_body(
        BodyModel.open_body(), walking_person(times), CAMERA, noise=0.01, noise_m=0.05, with_masks=True
    )
    visibility = seen.visibility.copy()
    visibility[3:6, 13:17] = 0.1
    seen = replace(seen, visibility=visibility)
    return seen, silhouettes_of(seen, 0.5)


def somewhere(count: int, seed: int = 0) -> tuple[np.ndarray, Shared]:
    """Bodies about where the person is, bent beyond what knees can do; no rotation is orthogonal."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 0.3, (count, 78))
    values[:, [0, 4]] += [1.0, -1.0]
    values[:, 75:] = [0.1, 0.0, 5.0] + 0.1 * rng.normal(size=(count, 3))
    values[0, 6:75] = 0
    shared = Shared.zeros(3)
    for field in fields(Shared):
        getattr(shared, field.name)[:] = rng.normal(0, 0.2, getattr(shared, field.name).shape)
    return values.astype(np.float32), shared


def both(
    glimpse: tuple[Observations, Silhouettes], weights: EnergyWeights, *, offsets: bool, is_fine: bool
) -> tuple[tuple[float, np.ndarray, Shared], tuple[float, np.ndarray, Shared]]:
    """What the kernels and torch make of the same bodies."""
    settings = TrackingSettings(lifter=str(LIFTER), silhouette_weight=0.4)
    body, rng = BodyModel.open_body(), np.random.default_rng(3)
    body = body if offsets else body.as_named
    ours = TrackEnergy(body, *glimpse, CAMERA, settings, rng, weights)
    twin_rng = np.random.default_rng(3)
    vertices = spread_vertices(body, SURFACE_VERTICES, twin_rng)
    twin = TorchEnergy(body, *glimpse, CAMERA, settings, weights, vertices)
    values, shared = somewhere(FRAMES)
    drawn = twin_rng.permutation(FRAMES)[:SILHOUETTE_FRAMES]
    return (
        ours.value_and_slopes(values, shared, is_fine=is_fine),
        twin.value_and_slopes(values, shared, drawn, is_fine=is_fine),
    )


@pytest.mark.parametrize("is_fine", [False, True])
@pytest.mark.parametrize("terms", TERMS)
def test_every_term_and_its_slopes_are_those_of_torch(glimpse, terms, is_fine) -> None:
    weights = replace(NONE, **{name: getattr(EnergyWeights(), name) for name in terms})
    for offsets in (False, True):
        (value, by_values, by_shared), expected = both(glimpse, weights, offsets=offsets, is_fine=is_fine)
        assert value == pytest.approx(expected[0], rel=2e-5, abs=1e-6)
        assert value > 0 or not is_fine
        size = np.abs(expected[1]).max()
        np.testing.assert_allclose(by_values, expected[1], rtol=1e-3, atol=1e-4 * size + 1e-7)
        for field in fields(Shared):
            found, correct = getattr(by_shared, field.name), getattr(expected[2], field.name)
            np.testing.assert_allclose(found, correct, rtol=1e-3, atol=1e-4 * np.abs(correct).max() + 1e-6)


def test_all_terms_together(glimpse) -> None:
    (value, by_values, _), expected = both(glimpse, EnergyWeights(), offsets=False, is_fine=True)
    assert value == pytest.approx(expected[0], rel=1e-5)
    np.testing.assert_allclose(by_values, expected[1], atol=1e-4 * np.abs(expected[1]).max())


def test_a_given_prior_takes_the_place_of_the_learned_one(glimpse) -> None:
    """The energy changes by how much more surprised it is."""
    seen, silhouettes = glimpse
    body, settings = BodyModel.open_body(), TrackingSettings()
    size = 3 * len(PRIOR_JOINTS)
    given = PosePrior(np.ones(1), np.zeros((1, size)), np.eye(size)[None])
    values, shared = somewhere(FRAMES)
    found = [
        TrackEnergy(
            body, seen, silhouettes, CAMERA, settings, np.random.default_rng(0), EnergyWeights(), prior
        ).value_and_slopes(values, shared, is_fine=False)[0]
        for prior in (given, None)
    ]
    weight = EnergyWeights().pose_prior
    more = [each.add_slopes(values, POSE, weight, np.zeros_like(values)) for each in (given, learned_prior())]
    assert abs(more[0] - more[1]) > 1
    assert found[0] - found[1] == pytest.approx(more[0] - more[1], rel=1e-4)


def test_slopes_are_the_rise_of_the_value(glimpse) -> None:
    """Along a few random directions; but for accelerations, in which the mean depth counts as a divisor only."""
    seen, silhouettes = glimpse
    body, settings, rng = BodyModel.open_body(), TrackingSettings(), np.random.default_rng(0)
    weights = EnergyWeights(landmark_acceleration=0, depth_acceleration=0)
    energy = TrackEnergy(body, seen, silhouettes, CAMERA, settings, rng, weights)
    values, shared = somewhere(FRAMES, 1)
    _, by_values, by_shared = energy.value_and_slopes(values, shared, is_fine=False)
    rng = np.random.default_rng(2)
    for _ in range(4):
        way, along = rng.normal(size=values.shape), rng.normal(size=10)
        ends = [
            energy.value_and_slopes(
                (values + step * way).astype(np.float32),
                replace(shared, betas=(shared.betas + step * along).astype(np.float32)),
                is_fine=False,
            )[0]
            for step in (1e-3, -1e-3)
        ]
        slope = float((by_values * way).sum() + by_shared.betas @ along)
        assert (ends[0] - ends[1]) / 2e-3 == pytest.approx(slope, rel=1e-2)


def test_a_lean_of_all_landmarks_in_space_costs_the_price_of_a_turn_alone(glimpse) -> None:
    """Leaned landmarks, turned back, are as far from any body as they were, but for |turn|^2 for each of two parts."""
    seen, _ = glimpse
    lean = np.array([0.3, -0.1, 0.05])
    axes = camera_from_ray(seen, CAMERA)
    turned = axes.swapaxes(1, 2) @ Rotation.from_rotvec(lean).as_matrix() @ axes
    leaned = replace(seen, world_m=seen.world_m @ turned.swapaxes(1, 2))
    weights = replace(NONE, world_coarse=40.0, world_fine=10.0, world_turn=2.0)
    values, shared = somewhere(FRAMES)
    found = []
    for each, turn in ((seen, np.zeros(3)), (leaned, -lean)):
        shared.world_turns[:] = turn
        settings, rng = TrackingSettings(depth_bias=False), np.random.default_rng(0)
        energy = TrackEnergy(BodyModel.open_body(), each, None, CAMERA, settings, rng, weights)
        found.append(energy.value_and_slopes(values, shared, is_fine=True)[0])
    assert found[0] > 1
    assert found[1] - found[0] == pytest.approx(2 * 2.0 * lean @ lean, rel=1e-3)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_frames_for_an_acceleration(count) -> None:
    seen = observed_body(BodyModel.open_body(), walking_person(np.arange(count) / 30), CAMERA)
    smooth = EnergyWeights(landmark_acceleration=1e9, pose_acceleration=1e9, depth_acceleration=1e9)
    settings, values = TrackingSettings(), somewhere(count)[0]
    found = [
        TrackEnergy(
            BodyModel.open_body(), seen, None, CAMERA, settings, np.random.default_rng(0), weights
        ).value_and_slopes(values, Shared.zeros(count), is_fine=False)[0]
        for weights in (EnergyWeights(), smooth)
    ]
    assert found[0] == found[1]
