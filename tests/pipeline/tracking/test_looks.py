"""Looks at a crop and at its mirror image: algebra."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from pipeline.tracking.landmark_twins import mirror_permutation
from pipeline.tracking.looks import Look, mean_look, mirrored_look

SIZE = 256


def any_look(seed: int) -> Look:
    rng = np.random.default_rng(seed)
    return Look(
        xy=rng.uniform(0, SIZE, (39, 2)),
        visibility=rng.uniform(size=33),
        presence=rng.uniform(size=33),
        world_m=rng.normal(size=(33, 3)),
        score=float(rng.uniform()),
        person=rng.uniform(size=(SIZE, SIZE)),
    )


def assert_same(a: Look, b: Look) -> None:
    for each in fields(Look):
        np.testing.assert_allclose(getattr(a, each.name), getattr(b, each.name), atol=1e-12)


def test_mirrored_twice_is_as_before():
    assert_same(mirrored_look(mirrored_look(any_look(0))), any_look(0))


def test_the_mirror_exchanges_sides():
    look = any_look(1)
    mirrored = mirrored_look(look)
    left, right = 15, 16  # wrists
    np.testing.assert_allclose(mirrored.xy[left], [SIZE - look.xy[right, 0], look.xy[right, 1]])
    np.testing.assert_allclose(mirrored.world_m[left], look.world_m[right] * [-1, 1, 1])
    assert mirrored.visibility[left] == look.visibility[right]
    assert mirrored.presence[left] == look.presence[right]
    assert mirrored.person[3, 5] == look.person[3, SIZE - 1 - 5]
    # what has no twin stays itself
    np.testing.assert_allclose(mirrored.xy[33:], look.xy[33:] * [-1, 1] + [SIZE, 0])
    assert (mirror_permutation()[mirror_permutation()] == np.arange(33)).all()


def test_the_mean_prefers_no_side():
    """The mean of a look and the mirrored one is as it is in a mirror of both."""
    a, b = any_look(2), any_look(3)
    assert_same(mirrored_look(mean_look(a, mirrored_look(b))), mean_look(b, mirrored_look(a)))
    assert_same(mean_look(a, a), a)
    assert mean_look(a, replace(a, score=0.0)).score == a.score / 2
