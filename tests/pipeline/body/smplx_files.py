"""Files in the layout that the `smplx` package loads, SMPL-H's and SMPL-X's, with made-up numbers."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from scipy import sparse

from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import JOINT_PARENTS
from tests.pipeline.body.smpl_files import sphere

HAND = (0, 1, 2) * 5
"""Five fingers of three joints: each hangs on the wrist or on the joint before it."""


def tree(joints: int) -> np.ndarray:
    """(2, J) of 52 or 55 joints: SMPL's first 22, jaw and eyes of SMPL-X, fifteen a hand."""
    parents = list(JOINT_PARENTS[:22]) + [15] * (joints - 52)
    for wrist in (20, 21):
        parents += [wrist if step == 0 else len(parents) + at - 1 for at, step in enumerate(HAND)]
    return np.array([[2**32 - 1, *parents[1:]], range(joints)])


def ellipsoid(rings: int, segments: int, size: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A closed surface of 2 + rings x segments vertices."""
    vertices, faces = sphere(rings, segments)
    return vertices / [0.4, 0.9, 0.2] * size, faces


def smplx_surface() -> tuple[np.ndarray, np.ndarray]:
    """10475 vertices and 20908 faces: a body, and two eyeballs with holes at the back."""
    body = ellipsoid(53, 177, (0.4, 0.9, 0.2))
    eye = ellipsoid(16, 34, (0.012, 0.012, 0.012))
    vertices, faces = [body[0]], [body[1]]
    for side in (-1, 1):
        faces.append(eye[1][15:] + sum(map(len, vertices)))
        vertices.append(eye[0] + [0.03 * side, 0.6, 0.1])
    return np.concatenate(vertices), np.concatenate(faces)


def body_arrays(kind: str, seed: int = 0, betas: int = 16) -> dict[str, np.ndarray]:
    """Random but valid: joints inside the surface, four weights a vertex, all hands' and face's joints in use."""
    rng, joints = np.random.default_rng(seed), {"smplh": 52, "smplx": 55}[kind]
    vertices, faces = sphere() if kind == "smplh" else smplx_surface()
    count, places = len(vertices), BodyModel.open_body().joint_template
    regressor = np.zeros((joints, count))
    for joint in range(joints):
        place = places[joint] if joint < 22 else rng.uniform(-0.4, 0.4, 3)
        near = np.argsort(np.linalg.norm(vertices - place, axis=1))[:8]
        regressor[joint, near] = rng.dirichlet(np.ones(8))
    weights = np.zeros((count, joints))
    for _ in range(4):
        weights[np.arange(count), rng.integers(0, joints, count)] += 0.25
    return {
        "v_template": vertices,
        "shapedirs": (0.01 * rng.standard_normal((count, 3, betas), np.float32)),
        "posedirs": (1e-3 * rng.standard_normal((count, 3, 9 * (joints - 1)), np.float32)),
        "J_regressor": regressor,
        "weights": weights,
        "kintree_table": tree(joints),
        "f": faces.astype(np.uint32),
    }


def hands_and_face(kind: str, seed: int = 1) -> dict[str, np.ndarray]:
    """What else those files hold; only smplx reads it."""
    rng = np.random.default_rng(seed)
    arrays = {f"hands_components{side}": np.eye(45) for side in "lr"}
    arrays |= {f"hands_mean{side}": rng.normal(0, 0.3, 45) for side in "lr"}
    if kind == "smplx":
        arrays |= {"lmk_faces_idx": np.zeros(51, np.int64), "lmk_bary_coords": np.tile([1.0, 0, 0], (51, 1))}
    return arrays


def write_model(path: Path, kind: str, arrays: dict[str, np.ndarray]) -> Path:
    """As .npz (with an array of objects beside the others, as SMPL-X's has), or as .pkl with a sparse regressor."""
    contents = arrays | hands_and_face(kind)
    if path.suffix == ".npz":
        np.savez(path, **contents, joint2num=np.array({"pelvis": 0}, dtype=object))  # type: ignore[arg-type]
    else:
        data = contents | {"J_regressor": sparse.csc_matrix(arrays["J_regressor"]), "bs_type": "lrotmin"}
        path.write_bytes(pickle.dumps(data, protocol=2))
    return path
