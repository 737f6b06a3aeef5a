"""One movement filmed at 24, 30 and 60 frames a second, and lying on its side: the whole tracker gives one answer.

`python -m tests.accuracy` compares longer films, and more rates.
"""

from __future__ import annotations

import pytest

from pipeline.records import Track
from pipeline.tracking.blazepose import PoseModels
from tests.accuracy.agreement import agreement, through_a_file
from tests.accuracy.joints import Scene, scene

SECONDS = 1.0


@pytest.fixture(scope="module")
def films(pose_models: PoseModels) -> dict[int, Scene]:
    """The turning person by frames a second, each film drawn at its own times with its own noise."""
    return {fps: scene("turning", pose_models, seconds=SECONDS, fps=fps) for fps in (24, 30, 60)}


@pytest.fixture(scope="module")
def fast(films: dict[int, Scene]) -> Track:
    return films[60].tracked()[0]


@pytest.mark.parametrize(("fps", "shared"), [(30, 30), (24, 12)])
def test_rates_agree(films: dict[int, Scene], fast: Track, fps: int, shared: int) -> None:
    """Pose and shape to 15 mm (75 without knots); the place to 98 mm of 4.5 m: size and distance look alike."""
    slow = films[fps].tracked()[0]
    assert len(slow.frame_index) == fps * SECONDS
    found = agreement(films[fps].body, fast, slow)
    print(fps, found)
    assert found.frames == shared
    assert found.turned_mean_mm < 20
    assert found.mean_mm < 120


def test_a_film_on_its_side_agrees(films: dict[int, Scene]) -> None:
    film = films[30]
    upright, on_its_side = (film.tracked(frames=through_a_file(film, turn))[0] for turn in (0, 90))
    found = agreement(film.body, upright, on_its_side)
    print(found)
    assert found.frames == 30
    assert found.mean_mm < 10
    assert found.turned_mean_mm < 6
