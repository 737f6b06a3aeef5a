"""A capture of one's own becomes portraits whose vectors place the body where the picture shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.geometry.camera import weak_perspective_from_translation
from pipeline.records import Frame
from pipeline.tracking.imported_bodies import ImportedBodies, write_bodies
from schemas.conventions import VECTOR_BETAS, VECTOR_POSE
from schemas.portraits import PORTRAIT_PX, PORTRAITS
from schemas.shard import read_rows
from tests.support.rendered_people import Performance, rendered, walking


@pytest.fixture(scope="module")
def performance() -> Performance:
    return walking(turn_deg=-30, seconds=0.1, hw=(270, 360), focal_px=450)


@pytest.fixture(scope="module")
def film(performance: Performance) -> list[Frame]:
    return list(rendered(BodyModel.open_body(), performance))


def bodies_of(performance: Performance) -> ImportedBodies:
    count = len(performance.pose)
    return ImportedBodies(
        person=np.zeros(count, int), frame_index=np.arange(count), pose=performance.pose,
        betas=np.tile(performance.betas, (count, 1)), translation_m=performance.translation,
        focal_px=np.full(count, performance.camera.K[0, 0]), shape_space="open",
    )  # fmt: skip


def made(folder: Path, film: list[Frame], bodies: ImportedBodies, *arguments: str) -> list[dict]:
    """The real command on a folder of pictures."""
    pictures = folder / "capture"
    pictures.mkdir()
    for frame in film:
        cv2.imwrite(str(pictures / f"{frame.index:04d}.png"), frame.image[..., ::-1])
    write_bodies(folder / "bodies.npz", bodies)
    out = folder / "capture.parquet"
    common = ["body", "portraits", str(pictures), "--bodies", str(folder / "bodies.npz"), "--out", str(out)]
    assert main([*common, *arguments]) == 0
    return list(read_rows(PORTRAITS, out))


def assert_on_the_person(rows: list[dict]) -> None:
    body = BodyModel.open_body()
    for row in rows:
        vector, mask = row["body_vector"].astype(float), row["mask"] > 0
        mesh = body.vertices(vector[VECTOR_POSE].reshape(24, 3), vector[VECTOR_BETAS], np.zeros(3))
        px = PORTRAIT_PX / 2 * (1 + vector[0] * (mesh[:, :2] + vector[1:3]))
        rows_px, columns_px = np.nonzero(mask)
        box = np.array([columns_px.min(), rows_px.min(), columns_px.max() + 1, rows_px.max() + 1])
        found = np.concatenate([px.min(axis=0), px.max(axis=0)])
        np.testing.assert_allclose(
            found, box, atol=0.03 * PORTRAIT_PX
        )  # weak perspective of a perspective view
        image = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_COLOR).astype(float)
        assert np.abs(image[mask].mean(axis=0) - image[~mask].mean(axis=0)).max() > 10


def test_a_capture_in_perspective(tmp_path: Path, performance: Performance, film: list[Frame]) -> None:
    rows = made(tmp_path, film, bodies_of(performance))
    assert [row["sample_id"] for row in rows] == [f"capture/p0/{at:06d}" for at in range(len(film))]
    assert_on_the_person(rows)


def test_a_capture_in_weak_perspective(tmp_path: Path, performance: Performance, film: list[Frame]) -> None:
    crop = np.array([180.0, 135, 250])
    camera = performance.camera.cropped(crop, 224)
    weak = weak_perspective_from_translation(performance.translation, camera)
    bodies = replace(
        bodies_of(performance),
        translation_m=None,
        focal_px=None,
        weak=weak,
        crop_px=np.tile(crop, (len(weak), 1)),
    )
    rows = made(tmp_path, film, bodies, "--focal-px", "450", "--every", "2")
    assert len(rows) == (len(film) + 1) // 2
    assert_on_the_person(rows)


def test_a_capture_of_nobody_is_an_error(tmp_path: Path, performance: Performance, film: list[Frame]) -> None:
    bodies = bodies_of(performance)
    assert bodies.frame_index is not None
    write_bodies(tmp_path / "bodies.npz", replace(bodies, frame_index=bodies.frame_index + 1000))
    pictures = tmp_path / "capture"
    pictures.mkdir()
    cv2.imwrite(str(pictures / "0.png"), film[0].image)
    common = ["body", "portraits", str(pictures), "--bodies", str(tmp_path / "bodies.npz")]
    assert main([*common, "--out", str(tmp_path / "out.parquet")]) == 1
    assert not (tmp_path / "out.parquet").exists()
