"""Knots in time: their weights by algebra, and what they are for: the same bodies at every frame rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.body.model import BodyModel
from pipeline.tracking.fit_energy import Acceleration
from pipeline.tracking.knots import KNOT_SPACINGS_S, SwingingTracks, knot_weights
from pipeline.tracking.people import Observations
from tests.pipeline.tracking.test_fit import CAMERA, fit
from tests.support.torch_energy import mean_square, scale_free
from tests.support.toy_people import observed_body, walking_person


def test_weights_give_back_what_is_linear_in_time() -> None:
    pts_s = np.cumsum(np.random.default_rng(0).uniform(0.02, 0.05, 60)) + 7.0
    weights, columns = knot_weights(pts_s), 0
    for spacing_s in KNOT_SPACINGS_S:
        knots_s = spacing_s * np.arange(int(np.ceil((pts_s[-1] - pts_s[0]) / spacing_s)) + 1)
        part = weights[:, columns : columns + len(knots_s)]
        columns += len(knots_s)
        assert np.allclose(part.sum(axis=1), 1, atol=1e-5)
        assert np.allclose(part @ knots_s, pts_s - pts_s[0], atol=1e-5)
    assert columns == weights.shape[1]


@pytest.mark.parametrize(
    ("fps", "count", "expected"), [(30.0, 60, 4), (12.0, 60, 3), (30.0, 7, 2), (30.0, 1, 0)]
)
def test_spacings_that_add_nothing_are_left_out(fps: float, count: int, expected: int) -> None:
    """Each spacing's weights sum to one."""
    assert knot_weights(np.arange(count) / fps).sum(axis=1) == pytest.approx(expected)


def test_tracks_begin_as_they_are_and_every_leaf_moves_them() -> None:
    own = np.random.default_rng(1).normal(size=(30, 78)).astype(np.float32)
    tracks = SwingingTracks(own, np.arange(30) / 30)
    np.testing.assert_array_equal(tracks.values(), own)
    leaves = tracks.parameters()
    leaves[1][:] = np.random.default_rng(2).normal(size=leaves[1].shape)
    twins = [torch.tensor(leaf, requires_grad=True) for leaf in leaves]
    values = torch.addmm(twins[0], torch.from_numpy(knot_weights(np.arange(30) / 30)), twins[1])
    np.testing.assert_allclose(tracks.values(), values.detach().numpy(), atol=1e-5)
    by_values = torch.randn(30, 78, generator=torch.Generator().manual_seed(1))
    expected = torch.autograd.grad((values * by_values).sum(), twins)
    assert len(leaves) == 2
    for slope, correct in zip(tracks.slopes(by_values.numpy()), expected, strict=True):
        np.testing.assert_allclose(slope, correct.numpy(), atol=1e-5)


def test_smoothness_gains_nothing_by_smaller_people() -> None:
    """d/ds of the acceleration of s x, at s = 1, is 0 with `scale_free` and 2 E without."""
    points = torch.randn(20, 5, 3, generator=torch.Generator().manual_seed(2)) + torch.tensor([0, 0, 4.0])
    acceleration = Acceleration(np.arange(20) / 30)
    slopes = []
    for is_free in (True, False):
        scale = torch.ones((), requires_grad=True)
        grown = scale * points
        one = scale_free(grown[:, 0, 2]) if is_free else 1.0
        energy = mean_square(acceleration, grown * one)
        energy.backward()
        assert scale.grad is not None
        slopes.append(float(scale.grad) / float(energy.detach()))
    assert slopes[0] == pytest.approx(0, abs=1e-4)
    assert slopes[1] == pytest.approx(2, rel=1e-4)


def observed(fps: float) -> Observations:
    """A second of a walk with noise that is the same at the same time, whatever the rate."""
    times_s = np.arange(72) / 72
    walk = walking_person(times_s)
    seen = observed_body(BodyModel.open_body(), walk, CAMERA, noise=0.0005, noise_m=0.002)
    every = round(72 / fps)
    by_frame = ("frame_index", "pts_s", "xy_px", "visibility", "presence", "world_m", "score", "segmentation",
                "image_from_segmentation")  # fmt: skip
    return replace(seen, **{name: getattr(seen, name)[::every] for name in by_frame})


def disagreement_mm() -> float:
    """Between bodies fitted at 72 and at 24 frames a second, at the frames both have, each about its own mean."""
    body = BodyModel.open_body()
    fast, slow = (fit(observed(fps)) for fps in (72.0, 24.0))
    one, other = (body.joints(each.pose, each.betas, each.translation) for each in (fast, slow))
    one = one[::3]
    centred = [each - each.mean(axis=1, keepdims=True) for each in (one, other)]
    return 1000 * float(np.linalg.norm(centred[0] - centred[1], axis=-1).mean())


def test_rates_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    with_knots = disagreement_mm()
    monkeypatch.setattr("pipeline.tracking.knots.KNOT_SPACINGS_S", ())
    without = disagreement_mm()
    print(f"{with_knots:.1f} mm with knots, {without:.1f} mm without")
    assert with_knots < 17  # 14 measured, 28 without
    assert without > 1.5 * with_knots
