"""Bodies to write files of, the real command that converts them, and what their meshes must be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.tracking.imported_bodies import ImportedBodies, in_camera, read_bodies

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
TWO = [0, 1, 2, 10, 11]
"""Frames of one person that is away for a while."""


def converted(folder: Path, result: Path, *arguments: str) -> ImportedBodies:
    """The real command, and the file it wrote."""
    out = folder / "clip.npz"
    assert main(["body", "convert", str(result), "--out", str(out), *arguments]) == 0
    return read_bodies(out)


def assert_mesh(
    body: BodyModel,
    found: ImportedBodies,
    pose: np.ndarray = POSE,
    place: np.ndarray = PLACE,
    betas: np.ndarray = BETAS,
) -> None:
    """The body's surface is that of the parameters a file was written from, to 1e-4 m."""
    placed = in_camera(found, body)
    assert placed.translation_m is not None
    mesh = body.vertices(placed.pose, placed.betas, placed.translation_m)
    np.testing.assert_allclose(mesh, body.vertices(pose, betas, place), atol=1e-4)


def whole_smplx(pose: np.ndarray) -> np.ndarray:
    """(N, 55, 3): SMPL-X's joints with jaw, eyes and fingers that are anything."""
    rest = np.random.default_rng(8).normal(0, 0.5, (len(pose), 33, 3))
    return np.concatenate([pose[:, :22], rest], axis=1)
