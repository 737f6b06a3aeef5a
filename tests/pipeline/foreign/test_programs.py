"""A file or folder as each program leaves it gives the mesh of the parameters it was written from, to 1e-4 m."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.geometry.camera import Camera
from pipeline.tracking.imported_bodies import in_camera, source_camera
from pipeline.tracking.imported_tracker import placed
from tests.pipeline.foreign.performance import (
    BETAS,
    FRAMES,
    HANDLESS,
    HW,
    MATRICES,
    PLACE,
    POSE,
    TWO,
    assert_mesh,
    converted,
    whole_smplx,
)  # fmt: skip

LENS = torch.tensor([[700.0, 0, 321], [0, 700, 242], [0, 0, 1]]).expand(FRAMES, 3, 3)


@pytest.mark.parametrize("compress", [0, 3])
def test_wham(tmp_path: Path, body: BodyModel, compress: int) -> None:
    result: dict[Any, Any] = defaultdict(dict)
    result[np.int64(2)] = {
        "pose": POSE.reshape(FRAMES, 72), "trans": PLACE, "betas": BETAS, "frame_ids": np.array(TWO),
        "pose_world": np.zeros((FRAMES, 72)), "trans_world": np.zeros((FRAMES, 3)),
        "verts": np.zeros((FRAMES, 7, 3), np.float32),
    }  # fmt: skip
    joblib.dump(result, tmp_path / "wham_output.pkl", compress=compress)
    found = converted(tmp_path, tmp_path / "wham_output.pkl", "--format", "wham", "--image", "640x480")
    assert_mesh(body, found)
    assert found.focal_px is not None
    assert found.frame_index is not None
    np.testing.assert_allclose(found.focal_px, 800)
    assert found.frame_index.tolist() == TWO
    assert set(found.person.tolist()) == {2}


def parameters(kind: type = torch.Tensor) -> dict[str, Any]:
    made = {
        "body_pose": torch.tensor(POSE[:, 1:22].reshape(FRAMES, 63)), "betas": torch.tensor(BETAS),
        "global_orient": torch.tensor(POSE[:, 0]), "transl": torch.tensor(PLACE),
    }  # fmt: skip
    return made if kind is torch.Tensor else {key: value.numpy() for key, value in made.items()}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["smpl_params_incam", "body_params_incam"])
def test_gvhmr_and_gem(tmp_path: Path, body: BodyModel, name: str, legacy: bool) -> None:
    contents = {name: parameters(), name.replace("incam", "global"): parameters(), "K_fullimg": LENS}
    torch.save(contents, tmp_path / "hmr4d.pt", _use_new_zipfile_serialization=not legacy)
    for program in ("gvhmr", "gem"):
        found = converted(tmp_path, tmp_path / "hmr4d.pt", "--format", program)
        assert_mesh(body, found, HANDLESS)
        assert found.shape_space == "smplx"
        assert source_camera(found, HW).lens.tolist() == [700, 700, 321, 242]


def test_gem_of_arrays_without_a_lens(tmp_path: Path, body: BodyModel) -> None:
    torch.save({"body_params_incam": parameters(np.ndarray), "net_outputs": None}, tmp_path / "gem.pt")
    found = converted(tmp_path, tmp_path / "gem.pt", "--format", "genmo", "--image", "640x480")
    assert_mesh(body, found, HANDLESS)
    assert source_camera(found, HW).lens.tolist() == [800, 800, 320, 240]


def test_betas_of_smplx_stay_or_are_dropped(
    tmp_path: Path, body: BodyModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kept, they say whose they are and where the pelvis lies is that body's; dropped, it is SMPL-X's mean."""
    torch.save({"smpl_params_incam": parameters(), "K_fullimg": LENS}, tmp_path / "hmr4d.pt")
    kept = converted(tmp_path, tmp_path / "hmr4d.pt", "--format", "gvhmr")
    assert "need an SMPL-X body as body.file" in capsys.readouterr().out
    assert kept.rest_pelvis_m is None
    np.testing.assert_allclose(kept.betas, BETAS)
    dropped = in_camera(converted(tmp_path, tmp_path / "hmr4d.pt", "--format", "gvhmr", "--drop-betas"), body)
    assert dropped.translation_m is not None
    pelvis = body.joints(dropped.pose, dropped.betas, dropped.translation_m)[:, 0]
    np.testing.assert_allclose(pelvis, PLACE + (0.0031, -0.3514, 0.0120), atol=1e-6)
    assert dropped.shape_space == "none"


def tram_folder(folder: Path, tensors: bool, people: list[int]) -> Path:
    """camera.npy, other files, and one track a person one level below."""
    (folder / "hps").mkdir(parents=True)
    make: Any = torch.tensor if tensors else np.array
    for number in people:
        track = {
            "pred_cam": make(np.zeros((FRAMES, 3))), "pred_pose": make(np.zeros((FRAMES, 144))),
            "pred_rotmat": make(MATRICES), "pred_shape": make(BETAS), "pred_trans": make(PLACE[:, None] + number),
            "frame": make(TWO),
        }  # fmt: skip
        np.save(folder / "hps" / f"hps_track_{number}.npy", track, allow_pickle=True)  # type: ignore[arg-type]
    camera = {
        "img_focal": np.float64(910.0),
        "img_center": np.array([300.0, 200]),
        "pred_cam_R": np.zeros((12, 3, 3)),
    }
    np.save(folder / "camera.npy", camera, allow_pickle=True)  # type: ignore[arg-type]
    np.save(folder / "masks.npy", np.array([{"counts": b"x"}] * 3, dtype=object), allow_pickle=True)
    (folder / "notes.txt").write_text("hello")
    return folder


@pytest.mark.parametrize("tensors", [False, True])
def test_tram(tmp_path: Path, body: BodyModel, tensors: bool) -> None:
    folder = tram_folder(tmp_path / "seq", tensors, [0, 2, 10])
    for given in (folder, folder / "hps"):
        found = converted(tmp_path, given, "--format", "tram")
        assert sorted(set(found.person.tolist())) == [0, 2, 10]
        for number in (0, 2, 10):
            rows = found.rows(np.flatnonzero(found.person == number))
            assert_mesh(body, rows, place=PLACE + number)
        assert source_camera(found, HW).lens.tolist() == [910, 910, 300, 200]
    one = converted(tmp_path, folder / "hps/hps_track_0.npy", "--format", "tram", "--image", "640x480")
    assert_mesh(body, one)


def smplerx_folder(folder: Path) -> Path:
    """Two people who swap their detections' numbers in every frame, one of whom is away in frame 2."""
    (folder / "smplx").mkdir(parents=True)
    (folder / "meta").mkdir()
    for at in range(FRAMES):
        people = [0, 1] if at % 2 else [1, 0]
        people = [0] if at == 2 else people
        for detection, who in enumerate(people):
            width = 150.0 + 10 * at
            focal, centre = 5000 / 192 * width, [200.0 + 240 * who + at, 240.0]
            place = (PLACE[at] + [who, 0, 0]) * [1, 1, focal / 820]
            np.savez(
                folder / f"smplx/{at + 1:05d}_{detection}.npz", global_orient=POSE[at, :1], body_pose=POSE[at, 1:22],
                betas=BETAS[at][None], transl=place[None], left_hand_pose=np.zeros((15, 3)),
            )  # fmt: skip
            box = [centre[0] - width / 2, 60.0, width, 360.0]
            meta = {"focal": [focal, focal], "princpt": centre, "bbox": box, "bbox_id": detection}
            (folder / f"meta/{at + 1:05d}_{detection}.json").write_text(json.dumps(meta))
    return folder


def test_smplerx(tmp_path: Path, body: BodyModel) -> None:
    folder = smplerx_folder(tmp_path / "seq")
    camera = Camera(np.array([[820.0, 0, 320], [0, 820, 240], [0, 0, 1]]), HW)
    for given in (folder, folder / "smplx"):
        found = converted(tmp_path, given, "--format", "smpler-x")
        assert found.frame_index is not None
        assert found.focal_is_assumed is not None
        assert found.focal_is_assumed.all()
        assert found.shape_space == "smplx"
        assert len(found) == 9
        depth = placed(found, camera)[:, 2]
        np.testing.assert_allclose(depth, PLACE[found.frame_index, 2], rtol=1e-6)
        np.testing.assert_allclose(found.pose, HANDLESS[found.frame_index], atol=1e-9)
        for number in (0, 1):  # each keeps to their side of the picture
            rows = found.rows(np.flatnonzero(found.person == number))
            assert rows.frame_index is not None
            assert rows.centre_px is not None
            assert len(set((rows.centre_px[:, 0] > 300).tolist())) == 1
        frames = [found.frame_index[found.person == number].tolist() for number in (0, 1)]
        assert sorted(frames) == [[0, 1, 2, 3, 4], [0, 1, 3, 4]]


def romp_rows(at: int, people: list[int], *, tracked: bool) -> dict[str, Any]:
    """The people of a frame in some order; person 9 stands two metres beside person 7."""
    rows = {
        "cam": np.zeros((len(people), 3)), "smpl_thetas": np.tile(POSE[at].reshape(1, 72), (len(people), 1)),
        "smpl_betas": np.tile(np.append(BETAS[at], 0.1), (len(people), 1)),
        "cam_trans": np.stack([STEADY[at] + [2.0 * (who == 9), 0, 0] for who in people]),
        "verts": np.zeros((len(people), 4, 3), np.float32),
    }  # fmt: skip
    return rows | ({"track_ids": np.array(people)} if tracked else {})


STEADY = PLACE[:1] + np.arange(FRAMES)[:, None] * [0.02, 0, 0.01]
NUMBERS = [0, 1, 3, 4, 6]
"""Frames with people."""


def people_at(at: int) -> list[int]:
    return [7, 9] if at % 2 else [9, 7]


def assert_romp(body: BodyModel, tmp_path: Path, path: Path, people: list[int]) -> None:
    found = converted(tmp_path, path, "--format", "romp", "--image", "640x480")
    assert found.frame_index is not None
    assert found.focal_px is not None
    assert found.focal_is_assumed is not None
    assert found.translation_m is not None
    np.testing.assert_allclose(found.focal_px, 443.4 / 512 * 640)
    assert found.focal_is_assumed.all()
    assert sorted(set(found.person.tolist())) == people
    beside = set()
    for who in people:
        rows = found.rows(np.flatnonzero(found.person == who))
        assert rows.frame_index is not None
        assert rows.translation_m is not None
        assert rows.frame_index.tolist() == NUMBERS
        offset = round(rows.translation_m[0, 0] - STEADY[0, 0])
        beside.add(offset)
        assert_mesh(body, rows, place=STEADY + [offset, 0, 0])
    assert beside == {0, 2}


@pytest.mark.parametrize("tracked", [True, False])
def test_romp(tmp_path: Path, body: BodyModel, tracked: bool) -> None:
    """One file of the film, and a folder of frame files beside pictures where frames without people have none."""
    people = [7, 9] if tracked else [0, 1]
    rows = [romp_rows(at, people_at(at), tracked=tracked) for at in range(FRAMES)]
    results = {f"{number:08d}.jpg": row for number, row in zip(NUMBERS, rows)}
    np.savez(tmp_path / "video_results.npz", results=results, sequence_output=np.array({}))  # type: ignore[arg-type]
    assert_romp(body, tmp_path, tmp_path / "video_results.npz", people)
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, row in zip(NUMBERS, rows):
        np.savez(folder / f"{number:08d}.npz", results=row)  # type: ignore[arg-type]
    for number in range(7):
        (folder / f"{number:08d}.png").write_bytes(b"\x89PNG")
    assert_romp(body, tmp_path, folder, people)
    one = converted(tmp_path, folder / "00000003.npz", "--format", "romp", "--image", "640x480")
    assert one.frame_index is not None
    assert one.frame_index.tolist() == [3, 3]


def test_prompthmr(tmp_path: Path, body: BodyModel) -> None:
    joints = whole_smplx(POSE)
    matrices = Rotation.from_rotvec(joints.reshape(-1, 3)).as_matrix().reshape(FRAMES, 55, 3, 3)

    def person(number: int, names: dict[str, Any]) -> dict[str, Any]:
        body = names | {"shape": BETAS.astype(np.float32), "trans": PLACE + number}
        return {
            "track_id": number, "frames": np.array(TWO), "bboxes": np.zeros((FRAMES, 4)), "smplx_cam": body,
            "smplx_world": {"pose": np.zeros((FRAMES, 165))},
        }  # fmt: skip

    people = {
        1: person(1, {"rotmat": matrices.astype(np.float32), "pose": joints.reshape(FRAMES, 165)}),
        12: person(12, {"pose": joints.reshape(FRAMES, 165)}),
    }
    camera = {
        "img_focal": np.float64(910.0),
        "img_center": np.array([300.0, 200]),
        "pred_cam_R": np.zeros((12, 3, 3)),
    }
    joblib.dump({"camera": camera, "people": people, "timings": {}, "masks": None}, tmp_path / "results.pkl")
    found = converted(tmp_path, tmp_path / "results.pkl", "--format", "prompthmr")
    for number in (1, 12):
        rows = found.rows(np.flatnonzero(found.person == number))
        assert_mesh(body, rows, HANDLESS, PLACE + number)
        assert rows.frame_index is not None
        assert rows.frame_index.tolist() == TWO
    assert found.shape_space == "smplx"
    assert source_camera(found, HW).lens.tolist() == [910, 910, 300, 200]


@pytest.mark.parametrize("numbered", [True, False])
def test_cliff(tmp_path: Path, body: BodyModel, numbered: bool) -> None:
    detection = np.zeros((2 * FRAMES, 8))
    for row in range(len(detection)):
        who = row % 2
        detection[row] = [
            TWO[row // 2],
            100 + 200 * who,
            50,
            220 + 200 * who,
            400,
            0.9,
            0.9,
            4 + who if numbered else 0,
        ]
    focal = np.full(len(detection), 800.0)
    twice = np.repeat(np.arange(FRAMES), 2)
    np.savez(
        tmp_path / "clip_cliff.npz", pose=POSE.reshape(FRAMES, 72)[twice], shape=BETAS[twice],
        global_t=PLACE[twice] + np.arange(2 * FRAMES)[:, None] % 2, focal_l=focal, detection_all=detection,
        imgname=np.array(["a.jpg"] * 2 * FRAMES), verts=np.zeros((2 * FRAMES, 6, 3)),
    )  # fmt: skip
    found = converted(tmp_path, tmp_path / "clip_cliff.npz", "--format", "cliff")
    people = [4, 5] if numbered else [0, 1]
    assert sorted(set(found.person.tolist())) == people
    for at, number in enumerate(people):
        rows = found.rows(np.flatnonzero(found.person == number))
        assert_mesh(body, rows, place=PLACE + at)
        assert rows.frame_index is not None
        assert rows.frame_index.tolist() == TWO
    assert found.focal_px is not None
    np.testing.assert_allclose(found.focal_px, 800)


@pytest.mark.parametrize(
    ("rate", "joints"), [("mocap_framerate", 52), ("mocap_frame_rate", 55), ("mocap_framerate", 24)]
)
def test_amass_stands_in_a_world(
    tmp_path: Path, body: BodyModel, rate: str, joints: int, capsys: pytest.CaptureFixture[str]
) -> None:
    turn, move = Rotation.from_rotvec([0.4, -1.9, 0.3]).as_matrix(), np.array([0.3, -0.2, 4.0])
    camera = np.eye(4)
    camera[:3, :3], camera[:3, 3] = turn, move
    poses = POSE if joints == 24 else whole_smplx(POSE)[:, :joints]
    arrays = {
        "poses": poses.reshape(FRAMES, -1), "trans": PLACE, "betas": np.append(BETAS[0], np.zeros(6)), rate: 120.0,
        "gender": "female", "dmpls": np.zeros((FRAMES, 8)),
    }  # fmt: skip
    np.savez(tmp_path / "walk.npz", **arrays)  # type: ignore[arg-type]
    out = ["--out", str(tmp_path / "x.npz")]
    assert main(["body", "convert", str(tmp_path / "walk.npz"), "--format", "amass", *out]) == 1
    np.savez(tmp_path / "walk.npz", **arrays, cam_from_world=camera)  # type: ignore[arg-type]
    found = converted(tmp_path, tmp_path / "walk.npz", "--format", "amass", "--focal-px", "900")
    assert "shaped as a female body" in capsys.readouterr().out
    assert found.pts_s is not None
    assert found.shape_space == ("smplx" if joints == 55 else "smpl")
    np.testing.assert_allclose(found.pts_s, np.arange(FRAMES) / 120)
    placed_bodies = in_camera(found, body)
    assert placed_bodies.translation_m is not None
    expected = body.vertices(POSE if joints == 24 else HANDLESS, BETAS[0], PLACE) @ turn.T + move
    mesh = body.vertices(placed_bodies.pose, placed_bodies.betas, placed_bodies.translation_m)
    np.testing.assert_allclose(mesh, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("program", "word"),
    [("sam-3d-body", "MHR-to-SMPL"), ("camerahmr", "numpy.savez"), ("smplest-x", "--mapping"),
     ("multi-hmr", "--mapping"), ("nlf", "--mapping"), ("comotion", "--focal-px")],
)  # fmt: skip
def test_programs_without_results_say_what_to_do(
    tmp_path: Path, program: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["body", "convert", str(tmp_path), "--format", program, "--out", str(tmp_path / "o.npz")]
    assert main(arguments) == 2
    assert word in capsys.readouterr().err
