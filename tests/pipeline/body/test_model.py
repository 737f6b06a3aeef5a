"""BodyModel against a slow oracle, against smplx, and against the laws of a body."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import smplx
import torch
from scipy.spatial.transform import Rotation
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids

from pipeline.body import model as model_module
from pipeline.body.model import BodyModel
from pipeline.geometry.rigid import rotation_from_rotvec
from schemas.errors import AssetError
from tests.pipeline.body.toy_body import random_motion, toy_arrays, toy_body, write_body

NO_POSE, NO_BETAS, NO_TRANSLATION = np.zeros((24, 3)), np.zeros(10), np.zeros(3)


@pytest.fixture(scope="module")
def open_body() -> BodyModel:
    return BodyModel.open_body()


@pytest.fixture(params=[False, True], ids=["plain", "pose-blend-shapes"])
def toy(tmp_path, request) -> BodyModel:
    return toy_body(tmp_path, posedirs=request.param)


def skinned_slowly(body: BodyModel, pose, betas, translation) -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) vertices and (24, 3) joints one at a time, by 4x4 matrices and scipy's turns."""
    shaped = np.array(
        [
            [body.template[v, c] + body.shapedirs[v, c] @ betas for c in range(3)]
            for v in range(body.vertex_count)
        ]
    )
    joints = [
        sum(body.joint_regressor[j, v] * shaped[v] for v in range(body.vertex_count)) for j in range(24)
    ]
    turns = [Rotation.from_rotvec(pose[j]).as_matrix() for j in range(24)]
    world = []
    for j, parent in enumerate(body.parents):
        local = np.eye(4)
        local[:3, :3] = turns[j]
        local[:3, 3] = joints[j] if parent < 0 else joints[j] - joints[parent]
        world.append(local if parent < 0 else world[parent] @ local)
    if body.posedirs is not None:
        feature = np.concatenate([(turn - np.eye(3)).reshape(9) for turn in turns[1:]])
        shaped = shaped + np.array([body.posedirs[v] @ feature for v in range(body.vertex_count)])
    vertices = np.zeros_like(shaped)
    for v in range(body.vertex_count):
        for j in range(24):
            from_joint = np.append(shaped[v] - joints[j], 1.0)
            vertices[v] += body.weights[v, j] * (world[j] @ from_joint)[:3]
    return vertices + translation, np.array([matrix[:3, 3] for matrix in world]) + translation


def test_vertices_and_joints_match_the_slow_oracle(toy):
    rng = np.random.default_rng(1)
    for _ in range(3):
        motion = random_motion(rng)
        vertices, joints = skinned_slowly(toy, *motion)
        np.testing.assert_allclose(toy.vertices(*motion), vertices, atol=1e-12)
        np.testing.assert_allclose(toy.joints(*motion), joints, atol=1e-12)


@pytest.mark.parametrize("posedirs", [False, True], ids=["zero-posedirs", "posedirs"])
def test_smplx_agrees_on_the_open_body(open_body, tmp_path, posedirs):
    rng = np.random.default_rng(2)
    directions = 0.01 * rng.normal(size=(open_body.vertex_count, 3, 207)) * posedirs
    arrays = {
        "v_template": open_body.template,
        "shapedirs": open_body.shapedirs,
        "J_regressor": open_body.joint_regressor,
        "weights": open_body.weights,
        "kintree_table": np.array([open_body.parents, np.arange(24)]),
        "f": open_body.faces,
        "posedirs": directions,
    }
    ours = BodyModel.load(write_body(tmp_path / "body.npz", arrays)) if posedirs else open_body
    theirs = smplx.SMPL(
        model_path="",
        data_struct=Struct(**arrays),
        vertex_ids=dict.fromkeys(vertex_ids["smplh"], 0),
        dtype=torch.float64,
        batch_size=4,
    )
    pose, betas, translation = random_motion(rng, (4,))
    output = theirs(
        betas=torch.from_numpy(betas),
        body_pose=torch.from_numpy(pose[:, 1:].reshape(4, 69)),
        global_orient=torch.from_numpy(pose[:, 0]),
        transl=torch.from_numpy(translation),
    )
    found = ours.vertices(pose, betas, translation)
    np.testing.assert_allclose(found, output.vertices.detach().numpy(), atol=1e-5)
    joints = output.joints.detach().numpy()[:, :24]
    np.testing.assert_allclose(ours.joints(pose, betas, translation), joints, atol=1e-5)


def test_pose_blend_shapes_change_a_bent_body_only(tmp_path):
    plain, blended = toy_body(tmp_path), toy_body(tmp_path, posedirs=True)
    np.testing.assert_array_equal(
        plain.vertices(NO_POSE, NO_BETAS, NO_TRANSLATION), blended.vertices(NO_POSE, NO_BETAS, NO_TRANSLATION)
    )
    turned = NO_POSE.copy()
    turned[0] = 1.0  # the global rotation is no bend
    np.testing.assert_allclose(
        plain.vertices(turned, NO_BETAS, NO_TRANSLATION), blended.vertices(turned, NO_BETAS, NO_TRANSLATION)
    )
    bent = NO_POSE.copy()
    bent[18] = 1.0
    assert not np.allclose(
        plain.vertices(bent, NO_BETAS, NO_TRANSLATION),
        blended.vertices(bent, NO_BETAS, NO_TRANSLATION),
        atol=1e-3,
    )


def test_zero_pose_is_the_rest_shape_and_linear_in_betas(toy):
    betas = np.random.default_rng(3).normal(size=10)
    rest = toy.vertices(NO_POSE, NO_BETAS, NO_TRANSLATION)
    np.testing.assert_allclose(rest, toy.template, atol=1e-12)
    once = toy.vertices(NO_POSE, betas, NO_TRANSLATION) - rest
    np.testing.assert_allclose(once, toy.shapedirs @ betas, atol=1e-12)
    np.testing.assert_allclose(
        toy.vertices(NO_POSE, -3 * betas, NO_TRANSLATION) - rest, -3 * once, atol=1e-12
    )


def test_the_global_rotation_turns_everything_about_the_pelvis(toy):
    rng = np.random.default_rng(4)
    pose, betas, _ = random_motion(rng)
    pose[0] = 0.0
    turned = pose.copy()
    turned[0] = rng.normal(size=3)
    turn = Rotation.from_rotvec(turned[0]).as_matrix()
    pelvis = (toy.joint_template + toy.joint_shapedirs @ betas)[0]
    for points in (toy.vertices, toy.joints, toy.landmarks):
        before, after = points(pose, betas, NO_TRANSLATION), points(turned, betas, NO_TRANSLATION)
        np.testing.assert_allclose(after - pelvis, (before - pelvis) @ turn.T, atol=1e-12)


def test_the_translation_is_added_last(toy):
    pose, betas, translation = random_motion(np.random.default_rng(5))
    for points in (toy.vertices, toy.joints, toy.landmarks):
        still = points(pose, betas, NO_TRANSLATION)
        np.testing.assert_allclose(points(pose, betas, translation), still + translation, atol=1e-12)


@pytest.mark.parametrize("leading", [(), (3,), (2, 3)])
def test_any_leading_shape_gives_what_single_bodies_give(toy, leading):
    motion = random_motion(np.random.default_rng(6), leading)
    for points, count in ((toy.vertices, toy.vertex_count), (toy.joints, 24), (toy.landmarks, 33)):
        found = points(*motion)
        assert found.shape == (*leading, count, 3)
        for at in np.ndindex(*leading):
            np.testing.assert_allclose(found[at], points(*(part[at] for part in motion)), atol=1e-12)


def test_leading_shapes_broadcast(toy):
    rng = np.random.default_rng(7)
    pose, betas, translation = random_motion(rng, (2, 1))[0], rng.normal(size=10), rng.normal(size=(3, 3))
    found = toy.vertices(pose, betas, translation)
    assert found.shape == (2, 3, toy.vertex_count, 3)
    np.testing.assert_allclose(found[1, 2], toy.vertices(pose[1, 0], betas, translation[2]), atol=1e-12)
    assert toy.vertices(np.zeros((0, 24, 3)), betas, NO_TRANSLATION).shape == (0, toy.vertex_count, 3)


def test_chunks_do_not_show(toy, monkeypatch):
    rng = np.random.default_rng(8)
    motion, other = random_motion(rng, (7,)), random_motion(rng, (7,))
    whole = toy.vertices(*motion)
    toy.vertices(*other)  # memory that is used again now holds other values
    monkeypatch.setattr(model_module, "_CHUNK_BYTES", 3 * toy.vertex_count * 12 * 8)
    np.testing.assert_allclose(toy.vertices(*motion), whole, atol=1e-12)


def test_inputs_are_left_alone_and_arrays_are_read_only(toy):
    motion = random_motion(np.random.default_rng(9), (2,))
    kept = [part.copy() for part in motion]
    toy.vertices(*motion)[:] = 0.0
    for part, before in zip(motion, kept):
        np.testing.assert_array_equal(part, before)
    with pytest.raises(ValueError, match="read-only"):
        toy.template[0] = 0.0


def test_landmarks_are_the_regressor_times_the_vertices(toy, open_body):
    motion = random_motion(np.random.default_rng(10), (3,))
    for body in (toy, open_body):
        expected = body.landmark_regressor @ body.vertices(*motion)
        np.testing.assert_allclose(body.as_named.landmarks(*motion), expected, atol=1e-10)


def test_landmarks_are_linear_in_the_joints_transforms(open_body):
    """x_k = sum_j G_j A_kj(beta) + a_kj offset_j, what tracking fits with, written out."""
    pose, betas, translation = random_motion(np.random.default_rng(11))
    joints = open_body.joint_template + open_body.joint_shapedirs @ betas
    turns = rotation_from_rotvec(pose)
    world, position = [turns[0]], [joints[0]]
    for j in range(1, 24):
        parent = open_body.parents[j]
        world.append(world[parent] @ turns[j])
        position.append(position[parent] + world[parent] @ (joints[j] - joints[parent]))
    placed = open_body.landmark_joint_template + open_body.landmark_joint_shapedirs @ betas
    expected = np.zeros((33, 3))
    for k in range(33):
        for j in range(24):
            offset = position[j] - world[j] @ joints[j]
            expected[k] += world[j] @ placed[k, j] + open_body.landmark_joint_weights[k, j] * offset
    found = open_body.landmarks(pose, betas, translation)
    np.testing.assert_allclose(found, expected + translation, atol=1e-10)


def test_a_body_without_landmarks_says_so(tmp_path):
    body = BodyModel.load(write_body(tmp_path / "bare.npz", toy_arrays(landmarks=False)))
    motion = random_motion(np.random.default_rng(12))
    assert body.vertices(*motion).shape == (body.vertex_count, 3)
    with pytest.raises(AssetError, match=r"bare\.npz: landmark_regressor: found none.*Add the key"):
        body.landmarks(*motion)
    with pytest.raises(AssetError, match="landmark_regressor"):
        _ = body.landmark_joint_weights


@pytest.mark.parametrize(
    ("pose", "betas", "translation", "message"),
    [
        (np.zeros(72), NO_BETAS, NO_TRANSLATION, r"pose must have shape \(\.\.\., 24, 3\), got \(72,\)"),
        (NO_POSE, np.zeros(16), NO_TRANSLATION, r"betas must have shape \(\.\.\., 10\), got \(16,\)"),
        (NO_POSE, NO_BETAS, np.zeros(4), r"translation must have shape \(\.\.\., 3\), got \(4,\)"),
    ],
)
def test_wrong_shapes_are_named(toy, pose, betas, translation, message):
    with pytest.raises(ValueError, match=message):
        toy.vertices(pose, betas, translation)


def test_running_a_body_needs_numpy_alone():
    heavy = "{'torch', 'scipy', 'anny', 'trimesh', 'smplx', 'numba'}"
    code = (
        "import sys; from pipeline.body.model import BodyModel; import numpy as np;"
        "BodyModel.open_body().vertices(np.zeros((24, 3)), np.zeros(10), np.zeros(3));"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
