"""Small random bodies in SMPL layout, with and without the optional arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.smpl_layout import JOINT_PARENTS

VERTICES = 40


def toy_arrays(seed: int = 0, *, posedirs: bool = False, landmarks: bool = True) -> dict[str, np.ndarray]:
    """The keys of an SMPL-layout file with random contents."""
    rng = np.random.default_rng(seed)
    arrays = {
        "v_template": rng.normal(size=(VERTICES, 3)),
        "shapedirs": 0.1 * rng.normal(size=(VERTICES, 3, 10)),
        "J_regressor": rng.dirichlet(np.ones(VERTICES), 24),
        "weights": rng.dirichlet(np.full(24, 0.2), VERTICES),
        "kintree_table": np.array([JOINT_PARENTS, range(24)]),
        "f": rng.integers(0, VERTICES, (60, 3)),
    }
    if posedirs:
        arrays["posedirs"] = 0.05 * rng.normal(size=(VERTICES, 3, 207))
    if landmarks:
        arrays["landmark_regressor"] = rng.dirichlet(np.ones(VERTICES), 33)
    return arrays


def write_body(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """The arrays as an .npz file."""
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def toy_body(folder: Path, seed: int = 0, *, posedirs: bool = False) -> BodyModel:
    """A random body, read through a file."""
    return BodyModel.load(write_body(folder / "toy.npz", toy_arrays(seed, posedirs=posedirs)))


def random_motion(rng: np.random.Generator, leading: tuple[int, ...] = ()) -> tuple[np.ndarray, ...]:
    """pose (..., 24, 3), betas (..., 10), translation (..., 3)."""
    return (
        rng.normal(0, 0.7, (*leading, 24, 3)),
        rng.normal(size=(*leading, 10)),
        rng.normal(0, 3, (*leading, 3)),
    )
