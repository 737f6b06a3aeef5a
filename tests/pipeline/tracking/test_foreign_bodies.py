"""A file in each estimator's layout gives the mesh of the parameters it was written from, to 1e-4 m."""

from __future__ import annotations

import json
import pickle
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.cli import main
from pipeline.geometry.camera import Camera, translation_from_weak_perspective
from pipeline.tracking import result_files
from pipeline.tracking.foreign_bodies import SMPL_PELVIS_M, SMPLX_PELVIS_M, rotvecs_from
from pipeline.tracking.imported_bodies import (
    ImportedBodies,
    bodies_from_arrays,
    in_camera,
    read_bodies,
    source_camera,
    translation_with_same_image,
)
from pipeline.tracking.result_files import read_result
from schemas.errors import SourceError
from tests.support.joblib_files import dump

FRAMES, HW = 5, (480, 640)
RNG = np.random.default_rng(3)
POSE = np.concatenate(
    [np.array([np.pi, 0, 0]) + RNG.normal(0, 0.2, (FRAMES, 1, 3)), RNG.normal(0, 0.4, (FRAMES, 23, 3))],
    axis=1,
)
HANDLESS = POSE * (np.arange(24) < 22)[:, None]
BETAS = RNG.normal(size=(FRAMES, 10))
PLACE = RNG.uniform([-1, -0.5, 4], [1, 0.5, 7], (FRAMES, 3))
MATRICES = Rotation.from_rotvec(POSE.reshape(-1, 3)).as_matrix().reshape(FRAMES, 24, 3, 3)
SIX = MATRICES[..., :2].reshape(FRAMES, 144)
"""view(-1, 3, 2): row after row of the first two columns."""
TWO = [0, 1, 2, 10, 11]
"""Frames of one person that is away for a while."""


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.open_body()


def converted(folder: Path, result: Path, *arguments: str) -> ImportedBodies:
    """The real command, and the file it wrote."""
    out = folder / "clip.npz"
    assert main(["body", "convert", str(result), "--out", str(out), *arguments]) == 0
    return read_bodies(out)


def assert_mesh(
    body: BodyModel, found: ImportedBodies, pose: np.ndarray = POSE, place: np.ndarray = PLACE
) -> None:
    placed = in_camera(found, body)
    assert placed.translation_m is not None
    mesh = body.vertices(placed.pose, placed.betas, placed.translation_m)
    np.testing.assert_allclose(mesh, body.vertices(pose, BETAS, place), atol=1e-4)


def phalp() -> dict:
    frames = {}
    for at, frame in enumerate(TWO):
        frames[f"outputs/{frame:06d}.jpg"] = {
            "time": frame,
            "tid": [4],
            "tracked_ids": [4],
            "bbox": [np.array([10.0, 20, 100, 200])],
            "smpl": [
                {
                    "global_orient": MATRICES[at, :1].astype(np.float32),
                    "body_pose": MATRICES[at, 1:].astype(np.float32),
                    "betas": BETAS[at].astype(np.float32),
                }
            ],
            "camera": [PLACE[at].astype(np.float32)],
            "size": [[*HW]],
            "img_name": f"{frame:06d}.jpg",
        }
    return frames


def test_4d_humans(tmp_path: Path, body: BodyModel) -> None:
    found = converted(tmp_path, dump(phalp(), tmp_path / "demo.pkl"), "--format", "4d-humans")
    assert_mesh(body, found)
    assert found.frame_index is not None
    assert found.focal_px is not None
    assert found.focal_is_assumed is not None
    assert found.frame_index.tolist() == TWO
    assert found.person.tolist() == [4] * FRAMES
    np.testing.assert_allclose(found.focal_px, 5000 / 256 * 640)
    assert found.focal_is_assumed.all()


def test_wham(tmp_path: Path, body: BodyModel) -> None:
    result = {
        2: {
            "pose": POSE.reshape(FRAMES, 72), "trans": PLACE, "betas": BETAS, "frame_ids": np.array(TWO),
            "pose_world": np.zeros((FRAMES, 72)), "trans_world": np.zeros((FRAMES, 3)),
            "verts": np.zeros((FRAMES, 7, 3), np.float32),
        }
    }  # fmt: skip
    path = dump(result, tmp_path / "wham_output.pkl")
    found = converted(tmp_path, path, "--format", "wham", "--image", "640x480")
    assert_mesh(body, found)
    assert found.focal_px is not None
    assert found.frame_index is not None
    np.testing.assert_allclose(found.focal_px, 800)
    assert found.frame_index.tolist() == TWO


def test_gvhmr(tmp_path: Path, body: BodyModel) -> None:
    lens = torch.tensor([[700.0, 0, 321], [0, 700, 242], [0, 0, 1]]).expand(FRAMES, 3, 3)
    params = {
        "body_pose": torch.tensor(POSE[:, 1:22].reshape(FRAMES, 63)), "betas": torch.tensor(BETAS),
        "global_orient": torch.tensor(POSE[:, 0]), "transl": torch.tensor(PLACE),
    }  # fmt: skip
    torch.save(
        {"smpl_params_incam": params, "smpl_params_global": params, "K_fullimg": lens}, tmp_path / "hmr4d.pt"
    )
    found = converted(tmp_path, tmp_path / "hmr4d.pt", "--format", "gvhmr")
    pelvis = body.joint_template[0] + BETAS @ body.joint_shapedirs[0].T
    assert_mesh(body, found, HANDLESS, PLACE + SMPLX_PELVIS_M - pelvis)
    assert found.shape_space == "smplx"
    assert source_camera(found, HW).lens.tolist() == [700, 700, 321, 242]


def test_tram(tmp_path: Path, body: BodyModel) -> None:
    folder = tmp_path / "hps"
    folder.mkdir()
    track = {
        "pred_cam": np.zeros((FRAMES, 3)), "pred_pose": MATRICES, "pred_rotmat": MATRICES, "pred_shape": BETAS,
        "pred_trans": PLACE[:, None], "frame": np.array(TWO),
    }  # fmt: skip
    np.save(folder / "hps_track_0.npy", track, allow_pickle=True)  # type: ignore[arg-type]
    np.save(
        folder / "camera.npy", {"img_focal": 910.0, "img_center": np.array([300.0, 200])}, allow_pickle=True
    )  # type: ignore[arg-type]
    found = converted(tmp_path, folder, "--format", "tram")
    assert_mesh(body, found)
    assert source_camera(found, HW).lens.tolist() == [910, 910, 300, 200]


def test_smplerx(tmp_path: Path, body: BodyModel) -> None:
    folder = tmp_path / "smplx"
    folder.mkdir()
    for at in range(FRAMES):
        np.savez(
            folder / f"{at + 1:05d}_0.npz", global_orient=POSE[at, :1], body_pose=POSE[at, 1:22],
            betas=BETAS[at][None], transl=PLACE[at][None], left_hand_pose=np.zeros((15, 3)),
        )  # fmt: skip
        meta = {"focal": [820.0, 820.0], "princpt": [320.0, 240.0], "bbox": [0, 0, 1, 1]}
        (folder / f"{at + 1:05d}_0.json").write_text(json.dumps(meta))
    found = converted(tmp_path, folder, "--format", "smpler-x")
    pelvis = body.joint_template[0] + BETAS @ body.joint_shapedirs[0].T
    assert_mesh(body, found, HANDLESS, PLACE + SMPLX_PELVIS_M - pelvis)
    assert found.frame_index is not None
    assert found.frame_index.tolist() == list(range(FRAMES))


def test_romp(tmp_path: Path, body: BodyModel) -> None:
    results = {
        f"{at:08d}.jpg": {
            "cam": np.zeros((2, 3)), "smpl_thetas": np.tile(POSE[at].reshape(1, 72), (2, 1)),
            "smpl_betas": np.tile(np.append(BETAS[at], 0.1), (2, 1)), "cam_trans": np.stack([PLACE[at], PLACE[at]]),
            "track_ids": np.array([7, 9]),
        }
        for at in range(FRAMES)
    }  # fmt: skip
    np.savez(tmp_path / "video_results.npz", results=results, sequence_output=np.array({}))  # type: ignore[arg-type]
    found = converted(tmp_path, tmp_path / "video_results.npz", "--format", "romp", "--image", "640x480")
    for person in (7, 9):
        assert_mesh(body, found.rows(np.flatnonzero(found.person == person)))
    assert found.focal_px is not None
    np.testing.assert_allclose(found.focal_px, 443.4 / 512 * 640)


def test_amass_stands_in_a_world(tmp_path: Path, body: BodyModel) -> None:
    turn, move = Rotation.from_rotvec([0.4, -1.9, 0.3]).as_matrix(), np.array([0.3, -0.2, 4.0])
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, move
    poses = np.concatenate([HANDLESS[:, :22].reshape(FRAMES, 66), np.zeros((FRAMES, 90))], axis=1)
    arrays = {
        "poses": poses, "trans": PLACE, "betas": np.append(BETAS[0], np.zeros(6)), "mocap_framerate": 120.0,
        "gender": "neutral", "dmpls": np.zeros((FRAMES, 8)),
    }  # fmt: skip
    np.savez(tmp_path / "walk.npz", **arrays)
    assert main(["body", "convert", str(tmp_path / "walk.npz"), "--format", "amass", "--out", "x.npz"]) == 1
    np.savez(tmp_path / "walk.npz", **arrays, cam_from_world=camera)
    found = converted(tmp_path, tmp_path / "walk.npz", "--format", "amass", "--focal-px", "900")
    assert found.pts_s is not None
    np.testing.assert_allclose(found.pts_s, np.arange(FRAMES) / 120)
    placed = in_camera(found, body)
    assert placed.translation_m is not None
    expected = body.vertices(HANDLESS, BETAS[0], PLACE) @ turn.T + move
    np.testing.assert_allclose(
        body.vertices(placed.pose, placed.betas, placed.translation_m), expected, atol=1e-4
    )


def test_a_mapping_names_the_arrays_of_any_other_file(tmp_path: Path, body: BodyModel) -> None:
    contents = OrderedDict(
        smpl={"rot6d": SIX, "shape": BETAS},
        t=PLACE,
        who=np.zeros(FRAMES, np.int32),
        when=np.arange(FRAMES) / 30,
    )
    (tmp_path / "out.pkl").write_bytes(pickle.dumps(contents))
    names = {
        "pose": "smpl/rot6d",
        "betas": "smpl/shape",
        "translation_m": "t",
        "person": "who",
        "pts_s": "when",
    }
    (tmp_path / "names.json").write_text(json.dumps(names))
    found = converted(
        tmp_path, tmp_path / "out.pkl", "--format", "mapping", "--mapping", str(tmp_path / "names.json"),
        "--focal-px", "1000",
    )  # fmt: skip
    assert_mesh(body, found)


def test_parquet_is_the_same_format(tmp_path: Path, body: BodyModel) -> None:
    out = tmp_path / "clip.parquet"
    path = dump(phalp(), tmp_path / "demo.pkl")
    assert main(["body", "convert", str(path), "--format", "4d-humans", "--out", str(out)]) == 0
    assert_mesh(body, read_bodies(out))


def test_without_its_betas_a_body_keeps_its_pelvis(tmp_path: Path, body: BodyModel) -> None:
    path = dump(phalp(), tmp_path / "demo.pkl")
    found = converted(tmp_path, path, "--format", "4d-humans", "--drop-betas")
    assert found.shape_space == "none"
    placed = in_camera(found, body)
    assert placed.translation_m is not None
    pelvis = body.joints(placed.pose, placed.betas, placed.translation_m)[:, 0]
    np.testing.assert_allclose(pelvis, PLACE + SMPL_PELVIS_M, atol=1e-6)
    weak = np.array([[0.8, 0.1, -0.05]])
    flat = bodies_from_arrays("weak", {
        "person": 0, "frame_index": 0, "pose": np.zeros((1, 24, 3)), "betas": np.zeros(10), "weak": weak,
        "crop_px": np.array([100.0, 100, 50]), "rest_pelvis_m": np.array(SMPL_PELVIS_M),
    })  # fmt: skip
    moved = in_camera(flat, body).weak
    assert moved is not None
    origin = body.joint_template[0, :2] + moved[0, 1:]
    np.testing.assert_allclose(origin, weak[0, 1:] + SMPL_PELVIS_M[:2], atol=1e-12)


@pytest.mark.parametrize("form", ["axis-angle", "flat", "matrices", "six"])
def test_rotations_come_back_at_every_angle(form: str) -> None:
    rotvec = RNG.normal(size=(6, 24, 3))
    rotvec[0] = 0
    rotvec[1] *= np.pi / np.linalg.norm(rotvec[1], axis=-1, keepdims=True)
    rotvec[2] *= 1e-9
    matrices = Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(6, 24, 3, 3)
    given = {
        "axis-angle": rotvec, "flat": rotvec.reshape(6, 72), "matrices": matrices,
        "six": matrices[..., :2].reshape(6, 144),
    }[form]  # fmt: skip
    found = rotvecs_from(given, 24)
    back = Rotation.from_rotvec(found.reshape(-1, 3)).as_matrix().reshape(6, 24, 3, 3)
    np.testing.assert_allclose(back, matrices, atol=1e-6)


def test_three_frames_of_global_rotations_are_no_matrix() -> None:
    np.testing.assert_array_equal(rotvecs_from(POSE[:3, 0], 1), POSE[:3, :1])


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


def test_a_result_that_runs_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "wham_output.pkl").write_bytes(b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR.")
    for name in ("wham_output.pkl", "hps_track_0.npy"):
        data = (tmp_path / "wham_output.pkl").read_bytes()
        if name.endswith(".npy"):
            np.save(tmp_path / name, np.array({}), allow_pickle=True)
            whole = (tmp_path / name).read_bytes()
            data = whole[: whole.index(b"\n") + 1] + data
        (tmp_path / name).write_bytes(data)
        arguments = [
            "body",
            "convert",
            str(tmp_path / name),
            "--format",
            "wham",
            "--out",
            str(tmp_path / "o.npz"),
        ]
        assert main(arguments) == 1
        assert "it calls os.system" in capsys.readouterr().err
        assert not mark.exists()


def test_archives_that_unpack_to_too_much_and_unknown_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "walk.npz", poses=np.zeros((1000, 156)))
    monkeypatch.setattr(result_files, "MAX_MEMBER_BYTES", 100_000)
    with pytest.raises(SourceError, match=r"poses\.npy claims 1248128 bytes"):
        read_result(tmp_path / "walk.npz")
    torch.save({"a": object}, tmp_path / "class.pt")
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "walk.npz").read_bytes()[:200])
    for name in ("class.pt", "notes.txt", "cut.npz", "missing.npy"):
        with pytest.raises(SourceError):
            read_result(tmp_path / name)


def test_results_of_another_layout_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = dump(phalp(), tmp_path / "demo.pkl")
    out = ["--out", str(tmp_path / "o.npz")]
    for name in ("gvhmr", "wham", "romp"):
        assert main(["body", "convert", str(path), "--format", name, "--image", "640x480", *out]) == 1
        assert f"not laid out as {name} results" in capsys.readouterr().err
    assert main(["body", "convert", str(path), "--format", "other", *out]) == 2
    assert main(["body", "convert", str(path), "--format", "wham", "--image", "large", *out]) == 2
    assert main(["body", "convert", str(path), "--format", "wham", *out]) == 1
    assert not (tmp_path / "o.npz").exists()
