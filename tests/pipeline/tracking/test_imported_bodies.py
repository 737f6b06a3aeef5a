"""The neutral format: what a file of it must be, and where its bodies stand through another lens."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.body.model import BodyModel
from pipeline.foreign.rows import SMPL_PELVIS_M, at_rate, without_betas
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.tracking.imported_bodies import (
    bodies_from_arrays,
    in_camera,
    read_bodies,
    require_shape_space,
    translation_with_same_image,
    write_bodies,
)
from schemas.errors import SourceError

RNG = np.random.default_rng(3)
FRAMES, HW = 5, (480, 640)
PLACE = RNG.uniform([-1, -0.5, 4], [1, 0.5, 7], (FRAMES, 3))


def test_another_lens_keeps_the_image_of_the_body() -> None:
    focal, centre = np.full(FRAMES, 5000.0), np.full((FRAMES, 2), (300.0, 250.0))
    camera = Camera(np.array([[700.0, 0, 320], [0, 700, 240], [0, 0, 1]]), HW)
    far = PLACE * [1, 1, 8]
    moved = translation_with_same_image(far, focal, centre, camera)
    np.testing.assert_allclose(camera.px_from_cam(moved), far[:, :2] / far[:, 2:] * 5000 + centre, atol=1e-9)
    np.testing.assert_allclose(moved[:, 2] / 700, far[:, 2] / 5000)


def test_weak_perspective_lands_where_its_crop_says() -> None:
    camera = Camera(np.array([[700.0, 0, 320], [0, 700, 240], [0, 0, 1]]), HW)
    weak, crop = np.array([0.8, 0.1, -0.05]), np.array([400.0, 200, 180])
    place = translation_from_weak_perspective(weak, camera.cropped(crop, 224))
    np.testing.assert_allclose(camera.px_from_cam(place), crop[:2] + 90 * weak[0] * weak[1:], atol=1e-9)


GOOD = {
    "person": np.zeros(2, int), "frame_index": np.arange(2), "pose": np.zeros((2, 24, 3)), "betas": np.zeros(10),
    "translation_m": np.ones((2, 3)), "focal_px": 900.0,
}  # fmt: skip
BAD = {
    "no camera": ("translation_m", {"focal_px": None}),
    "no time": ("frame_index", {"frame_index": None}),
    "no shape": ("betas", {"betas": None}),
    "another count": ("person", {"person": np.zeros(3, int)}),
    "objects": ("pose", {"pose": np.full((2, 24, 3), None)}),
    "infinite": ("pose", {"pose": np.full((2, 24, 3), np.inf)}),
    "no size": ("focal_px", {"focal_px": 0.0}),
    "one frame twice": ("frame_index", {"frame_index": np.zeros(2, int)}),
    "unknown name": ("poses", {"poses": np.zeros(2)}),
    "unknown body": ("shape_space", {"shape_space": "flame"}),
}


def test_one_value_may_stand_for_all_rows() -> None:
    bodies = bodies_from_arrays("good", GOOD)
    assert bodies.focal_px is not None
    assert bodies.betas.shape == (2, 10)
    assert bodies.focal_px.tolist() == [900, 900]


@pytest.mark.parametrize("kind", BAD)
def test_files_that_do_not_fit_are_refused_by_name(kind: str) -> None:
    key, change = BAD[kind]
    given = {name: value for name, value in (GOOD | change).items() if value is not None}
    with pytest.raises(SourceError, match=f"bad: {key}: found"):
        bodies_from_arrays("bad", given)


def test_pickles_are_not_bodies_and_the_error_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "clip.pkl").write_bytes(pickle.dumps(GOOD))
    with pytest.raises(SourceError, match="body convert"):
        read_bodies(tmp_path / "clip.pkl")
    np.savez(tmp_path / "clip.npz", pose=np.array([{"a": 1}], dtype=object))
    with pytest.raises(SourceError, match="body convert"):
        read_bodies(tmp_path / "clip.npz")


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_both_containers_keep_every_column(tmp_path: Path, suffix: str) -> None:
    given = GOOD | {
        "pts_s": np.arange(2) / 30, "centre_px": np.array([[320.0, 240]]), "shape_space": "smplx",
        "focal_is_assumed": np.array([True, False]), "cam_from_world": np.eye(4),
    }  # fmt: skip
    bodies = bodies_from_arrays("good", given)
    write_bodies(tmp_path / f"clip{suffix}", bodies)
    found = read_bodies(tmp_path / f"clip{suffix}")
    assert found.shape_space == "smplx"
    for key in ("person", "pose", "betas", "pts_s", "centre_px", "focal_is_assumed", "cam_from_world"):
        np.testing.assert_array_equal(getattr(found, key), getattr(bodies, key))


def test_without_its_betas_a_body_keeps_its_pelvis() -> None:
    body = BodyModel.open_body()
    bodies = bodies_from_arrays("good", GOOD | {"translation_m": PLACE[:2], "betas": np.ones(10)})
    dropped = without_betas(bodies)
    assert dropped.shape_space == "none"
    placed = in_camera(dropped, body)
    assert placed.translation_m is not None
    pelvis = body.joints(placed.pose, placed.betas, placed.translation_m)[:, 0]
    np.testing.assert_allclose(pelvis, PLACE[:2] + SMPL_PELVIS_M, atol=1e-6)
    weak = np.array([[0.8, 0.1, -0.05]])
    flat = bodies_from_arrays("weak", {
        "person": 0, "frame_index": 0, "pose": np.zeros((1, 24, 3)), "betas": np.zeros(10), "weak": weak,
        "crop_px": np.array([100.0, 100, 50]), "rest_pelvis_m": np.array(SMPL_PELVIS_M),
    })  # fmt: skip
    moved = in_camera(flat, body).weak
    assert moved is not None
    origin = body.joint_template[0, :2] + moved[0, 1:]
    np.testing.assert_allclose(origin, weak[0, 1:] + SMPL_PELVIS_M[:2], atol=1e-12)


def test_bodies_of_another_shape_space_are_refused() -> None:
    bodies = bodies_from_arrays("good", GOOD | {"shape_space": "smplx"})
    require_shape_space(bodies, "smplx", Path("clip.npz"))
    require_shape_space(replace(bodies, shape_space="none"), "open", Path("clip.npz"))
    with pytest.raises(SourceError, match="betas of 'smplx', the body in use those of 'smpl'"):
        require_shape_space(bodies, "smpl", Path("clip.npz"))


def test_a_rate_gives_times_in_place_of_frames() -> None:
    timed = at_rate(bodies_from_arrays("good", GOOD), 12.5)
    assert timed.frame_index is None
    assert timed.pts_s is not None
    assert timed.pts_s.tolist() == [0, 0.08]
    assert timed.spacing_s == 0.08
    with pytest.raises(SourceError, match="--fps cannot be combined"):
        at_rate(timed, 25)
