"""Fields of a track's pairs: fitted once for two frames, and dropped when both have been targets."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.geometry.motion import MotionField, motion_field
from pipeline.geometry.posed_surface import RenderedSurface
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.geometry.rings import Rings, two_ring
from pipeline.method.pair_fields import PairFields
from tests.support.scenes import icosphere, square_camera
from tests.support.surfaces import rendered

FRAMES = 5


@pytest.fixture(scope="module")
def surfaces() -> list[RenderedSurface]:
    """A ball that turns and is dented, in front of one camera."""
    rng, ball = np.random.default_rng(0), icosphere(3, 0.4)
    turns = [rotation_from_rotvec(np.array([0.0, 0.3 * at, 0.0])) for at in range(FRAMES)]
    return [
        rendered(
            ball.vertices @ turn.T + rng.normal(size=ball.vertices.shape) * 0.002 + [0.05 * at, 0, 3.0],
            ball.faces,
            square_camera(64),
        )
        for at, turn in enumerate(turns)
    ]


@pytest.fixture(scope="module")
def rings(surfaces: list[RenderedSurface]) -> Rings:
    return two_ring(surfaces[0].faces, surfaces[0].vertex_count)


def fields_of(
    surfaces: list[RenderedSurface], rings: Rings, targets: range
) -> tuple[dict[tuple[int, int], MotionField], PairFields]:
    kept, fields = PairFields(), {}
    for target in targets:
        others = {at: surface for at, surface in enumerate(surfaces) if at != target}
        made = kept.of_target(target, surfaces[target], others, rings)
        fields |= {(target, at): field for at, field in made.items()}
    return fields, kept


def test_every_field_is_the_fitted_one(surfaces: list[RenderedSurface], rings: Rings) -> None:
    fields, _ = fields_of(surfaces, rings, range(FRAMES))
    assert len(fields) == FRAMES * (FRAMES - 1)
    for (target, at), field in fields.items():
        shown = surfaces[target].shown.of_faces
        fitted = motion_field(target=surfaces[target], reference=surfaces[at], rings=rings, vertices=shown)
        np.testing.assert_allclose(field.rotation[shown], fitted.rotation[shown], atol=1e-11)
        np.testing.assert_allclose(field.translation[shown], fitted.translation[shown], atol=1e-10)


def test_the_second_of_two_frames_takes_the_first_one_s_rotations(
    surfaces: list[RenderedSurface], rings: Rings
) -> None:
    fields, _ = fields_of(surfaces, rings, range(FRAMES))
    both = np.intersect1d(surfaces[0].shown.of_faces, surfaces[1].shown.of_faces)
    assert len(both) > 50
    turned = fields[1, 0].rotation[both].swapaxes(1, 2)
    np.testing.assert_array_equal(turned, fields[0, 1].rotation[both])


@pytest.mark.parametrize("stride", [1, 2])
def test_no_field_is_kept_for_a_frame_that_was_a_target(
    stride: int, surfaces: list[RenderedSurface], rings: Rings
) -> None:
    _, kept = fields_of(surfaces, rings, range(0, FRAMES, stride))
    assert not kept._kept
