"""A body file says whose shape coefficients it takes: imported bodies of that space keep their shape."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.body.model import BodyModel, open_body_path
from pipeline.config import BodySettings, Settings, TrackingSettings
from pipeline.method.resources import Resources
from pipeline.records import Footage, Frame, Track
from pipeline.tracking.imported_bodies import ImportedBodies, write_bodies
from schemas.conventions import VECTOR_BETAS
from schemas.errors import SourceError
from tests.support.rendered_people import Performance, rendered, walking

BETAS = np.array([1.5, -1, 0.5, 0, 0, 0, 0.2, 0, 0, 0])


@pytest.fixture(scope="module")
def performance() -> Performance:
    return walking(turn_deg=20, seconds=0.1, betas=BETAS)


@pytest.fixture(scope="module")
def film(performance: Performance) -> list[Frame]:
    return list(rendered(BodyModel.open_body(), performance))


def tracked(folder: Path, kind: str, space: str, performance: Performance, film: list[Frame]) -> list[Track]:
    """Bodies with betas of a space, on a body of a kind: the open body's surface under another name."""
    with np.load(open_body_path()) as archive:
        np.savez(folder / "body.npz", **{name: archive[name] for name in archive.files}, kind=np.array(kind))
    count = len(performance.pose)
    bodies = ImportedBodies(
        person=np.zeros(count, int), frame_index=np.arange(count), pose=performance.pose,
        betas=np.tile(BETAS, (count, 1)), translation_m=performance.translation,
        focal_px=np.full(count, performance.camera.K[0, 0]), shape_space=space,
    )  # fmt: skip
    write_bodies(folder / "clip.npz", bodies)
    tracking = TrackingSettings(tracker="imported", bodies=str(folder))
    settings = replace(Settings(tracking=tracking), body=BodySettings(file=str(folder / "body.npz")))
    return Resources(settings).tracker.track(iter(film), Footage(unit_id="clip-s000-w000"))


@pytest.mark.parametrize(
    ("kind", "space"), [("smplx", "smplx"), ("smpl", "smpl"), ("smplh", "smpl"), ("open", "open")]
)
def test_shapes_of_the_bodies_own_space_are_kept(
    tmp_path: Path, kind: str, space: str, performance: Performance, film: list[Frame]
) -> None:
    (track,) = tracked(tmp_path, kind, space, performance, film)
    np.testing.assert_allclose(
        track.vector[:, VECTOR_BETAS], np.tile(BETAS, (len(track.vector), 1)), atol=1e-6
    )


@pytest.mark.parametrize(
    ("kind", "space"), [("smplx", "smpl"), ("smpl", "smplx"), ("open", "smpl"), ("smplh", "smplx")]
)
def test_shapes_of_another_space_are_refused(
    tmp_path: Path, kind: str, space: str, performance: Performance, film: list[Frame]
) -> None:
    with pytest.raises(SourceError, match=f"betas of '{space}'"):
        tracked(tmp_path, kind, space, performance, film)
