"""The shipped body is a human being, the right way round."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from scipy.spatial import cKDTree

from pipeline.body import model as model_module
from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import JOINT_NAMES, LANDMARK_NAMES, mirrored_names

FACTS = json.loads((Path(model_module.__file__).parent / "data" / "open_body.json").read_text())
MIRROR = np.array([-1.0, 1.0, 1.0])
REST = (np.zeros((24, 3)), np.zeros(10), np.zeros(3))


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.open_body()


@pytest.fixture(scope="module")
def mirror(body) -> np.ndarray:
    """(V,) each vertex's mirror image."""
    distance, pairs = cKDTree(body.template).query(body.template * MIRROR)
    assert distance.max() < 1e-7
    np.testing.assert_array_equal(pairs[pairs], np.arange(body.vertex_count))
    return pairs


def joint(points: np.ndarray, name: str) -> np.ndarray:
    return points[..., JOINT_NAMES.index(name), :]


def landmark(points: np.ndarray, name: str) -> np.ndarray:
    return points[..., LANDMARK_NAMES.index(name), :]


def posed(**turns: list[float]) -> np.ndarray:
    pose = np.zeros((24, 3))
    for name, rotvec in turns.items():
        pose[JOINT_NAMES.index(name)] = rotvec
    return pose


def test_the_facts_are_the_files(body):
    assert FACTS["vertex_count"] == body.vertex_count
    assert FACTS["face_count"] == len(body.faces)
    assert 6_500 < body.vertex_count < 7_500
    assert FACTS["bytes"] < 5_000_000
    assert FACTS["measured"]["joint_error_held_out_mm"]["mean"] < 5


def test_rows_sum_to_one(body):
    for rows in (body.weights, body.joint_regressor, body.landmark_regressor):
        np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=2e-6)
    assert body.weights.min() >= 0
    assert (body.weights > 0).sum(axis=1).max() <= 8


def test_the_surface_is_closed_and_faces_outwards(body):
    mesh = trimesh.Trimesh(body.template, body.faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    parts = mesh.split(only_watertight=False)
    assert len(parts) == 3, "skin and two eyes"
    assert all(part.volume > 0 for part in parts)
    assert 0.04 < mesh.volume < 0.1
    np.testing.assert_array_equal(np.unique(body.faces), np.arange(body.vertex_count))


def test_left_and_right_are_mirror_images(body, mirror):
    joints, landmarks = mirrored_names(JOINT_NAMES), mirrored_names(LANDMARK_NAMES)
    np.testing.assert_allclose(body.shapedirs[mirror] * MIRROR[:, None], body.shapedirs, atol=1e-7)
    np.testing.assert_allclose(body.weights[mirror][:, joints], body.weights, atol=1e-6)
    np.testing.assert_allclose(
        body.landmark_regressor[landmarks][:, mirror], body.landmark_regressor, atol=1e-6
    )
    np.testing.assert_allclose(body.joint_regressor[joints][:, mirror], body.joint_regressor, atol=1e-6)
    faces = np.sort(body.faces, axis=1)
    mirrored = np.sort(mirror[body.faces], axis=1)
    np.testing.assert_array_equal(np.unique(faces, axis=0), np.unique(mirrored, axis=0))


def test_a_mirrored_pose_gives_the_mirrored_body(body, mirror):
    rng = np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.3, (24, 3)), rng.normal(size=10)
    other = pose[mirrored_names(JOINT_NAMES)] * (1.0, -1.0, -1.0)  # a turn's axis mirrors as a pseudo-vector
    one, two = (body.vertices(turned, betas, np.zeros(3)) for turned in (pose, other))
    np.testing.assert_allclose(two[mirror] * MIRROR, one, atol=1e-5)


def test_the_mean_adult_stands_upright_with_the_pelvis_at_the_origin(body):
    joints = body.joints(*REST)
    np.testing.assert_allclose(joint(joints, "pelvis"), 0.0, atol=1e-5)
    height = np.ptp(body.template[:, 1])
    assert 1.5 < height < 2.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hip, knee, ankle = (joint(joints, f"{side}_{name}") for name in ("hip", "knee", "ankle"))
        assert hip[1] > knee[1] > ankle[1]
        assert 0.35 < (hip[1] - knee[1]) / (hip[1] - ankle[1]) < 0.6
        assert joint(joints, f"{side}_foot")[2] > ankle[2] + 0.05, "toes point to the front"
        reach = [
            sign * joint(joints, f"{side}_{name}")[0]
            for name in ("collar", "shoulder", "elbow", "wrist", "hand")
        ]
        assert (np.diff(reach) > 0).all()
        assert reach[0] > 0
        arm = np.stack([joint(joints, f"{side}_{name}") for name in ("shoulder", "elbow", "wrist")])
        assert np.ptp(arm[:, 1:], axis=0).max() < 0.01, "arms of the T pose lie along x"
    spine = [joint(joints, name)[1] for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head")]
    assert (np.diff(spine) > 0).all()


def test_the_first_beta_is_stature(body):
    heights = [
        np.ptp(body.vertices(REST[0], first * np.eye(10)[0], REST[2])[:, 1]) for first in (-2.0, 0.0, 2.0)
    ]
    assert (np.diff(heights) > 0.1).all()
    assert heights[0] > 1.3
    assert heights[2] < 2.1


def test_joints_lie_inside_the_body_for_many_shapes(body):
    shapes = np.random.default_rng(1).normal(size=(5, 10))
    for betas in shapes:
        mesh = trimesh.Trimesh(body.vertices(REST[0], betas, REST[2]), body.faces, process=False)
        winding = _winding(mesh.triangles, body.joints(REST[0], betas, REST[2]))
        np.testing.assert_allclose(winding, 1.0, atol=1e-6)


def _winding(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(P,) how often a closed surface winds around points: solid angles / 4 pi (van Oosterom and Strackee 1983)."""
    a, b, c = np.moveaxis(triangles[None] - points[:, None, None], 2, 0)
    la, lb, lc = (np.linalg.norm(side, axis=-1) for side in (a, b, c))
    volume = np.einsum("pfi,pfi->pf", a, np.cross(b, c))
    dots = [np.einsum("pfi,pfi->pf", one, two) for one, two in ((a, b), (b, c), (c, a))]
    below = la * lb * lc + dots[0] * lc + dots[1] * la + dots[2] * lb
    return 2 * np.arctan2(volume, below).sum(axis=1) / (4 * np.pi)


def test_landmarks_sit_where_their_names_say(body):
    points, joints = body.as_named.landmarks(*REST), body.joints(*REST)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            gap = np.linalg.norm(landmark(points, f"{side}_{name}") - joint(joints, f"{side}_{name}"))
            assert gap < 0.06, f"{side}_{name}: {gap:.3f} m from its joint"
        eye = {part: sign * landmark(points, f"{side}_eye{part}")[0] for part in ("_inner", "", "_outer")}
        assert 0 < eye["_inner"] < eye[""] < eye["_outer"] < sign * landmark(points, f"{side}_ear")[0]
        mouth, nose = landmark(points, f"{side}_mouth"), landmark(points, "nose")
        assert mouth[1] < nose[1] < landmark(points, f"{side}_eye")[1]
        assert nose[2] > landmark(points, f"{side}_eye")[2] > landmark(points, f"{side}_ear")[2]
        thumb, index, pinky = (landmark(points, f"{side}_{name}") for name in ("thumb", "index", "pinky"))
        assert thumb[2] > index[2] > pinky[2], "palms down, thumbs to the front"
        heel, toe = landmark(points, f"{side}_heel"), landmark(points, f"{side}_foot_index")
        ankle = landmark(points, f"{side}_ankle")
        assert heel[2] < ankle[2] < toe[2]
        assert max(heel[1], toe[1]) < ankle[1]
    skin = cKDTree(body.template)
    faces = [name for name in LANDMARK_NAMES if any(part in name for part in ("nose", "eye", "mouth", "ear"))]
    assert max(skin.query(landmark(points, name))[0] for name in faces) < 0.02


def test_limbs_bend_the_way_they_do(body):
    rest = body.joints(*REST)
    heel_back = body.joints(posed(left_knee=[1.5, 0, 0]), *REST[1:])
    assert joint(heel_back, "left_ankle")[2] < joint(rest, "left_ankle")[2] - 0.2
    knee_up = body.joints(posed(left_hip=[-1.5, 0, 0]), *REST[1:])
    assert joint(knee_up, "left_knee")[2] > joint(rest, "left_knee")[2] + 0.2
    for side, sign in (("left", 1.0), ("right", -1.0)):
        hand_front = body.joints(posed(**{f"{side}_elbow": [0, -1.5 * sign, 0]}), *REST[1:])
        assert joint(hand_front, f"{side}_wrist")[2] > joint(rest, f"{side}_wrist")[2] + 0.1
        arm_down = body.joints(posed(**{f"{side}_shoulder": [0, 0, -1.2 * sign]}), *REST[1:])
        assert joint(arm_down, f"{side}_wrist")[1] < joint(rest, f"{side}_wrist")[1] - 0.2


def test_a_half_turn_about_x_stands_upright_in_camera_axes_and_faces_the_camera(body):
    pose = posed(pelvis=[np.pi, 0, 0])
    points = body.landmarks(pose, np.zeros(10), np.array([0.0, 0.0, 4.0]))
    assert landmark(points, "nose")[1] < landmark(points, "left_ankle")[1], "y points down"
    assert landmark(points, "nose")[2] < landmark(points, "left_ear")[2], "the face is nearer than the ears"
    assert landmark(points, "left_hip")[0] > landmark(points, "right_hip")[0], (
        "the person's left is the image's right"
    )


def test_mirrored_names_swap_sides():
    order = mirrored_names(JOINT_NAMES)
    np.testing.assert_array_equal(order[order], np.arange(24))
    assert JOINT_NAMES[order[JOINT_NAMES.index("left_knee")]] == "right_knee"
    assert JOINT_NAMES[order[JOINT_NAMES.index("spine1")]] == "spine1"
