"""Points on the open body in one random pose, and a picture that they are seen in: what the kernels' tests share."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from pipeline.body.model import BodyModel
from pipeline.body.skinning import JointTransforms, chain_joints
from pipeline.geometry.camera import Camera
from pipeline.geometry.rigid import rotation_from_rotvec
from pipeline.refine.equation_kernels import CORRECTIONS, TRANSLATION
from pipeline.refine.surface_points import RestSurface, spread_points

SIDE_PX = 96


class PosedPoints:
    """Q points, their joints and the smooth picture of a camera 4 m away."""

    def __init__(self, count: int = 60) -> None:
        rng = np.random.default_rng(1)
        self.body = BodyModel.open_body()
        self.surface = RestSurface.of(spread_points(self.body, count, 0.5), self.body, np.zeros(10))
        self.rotation = rotation_from_rotvec(0.4 * rng.standard_normal((24, 3)))
        self.translation = np.array([0.1, -0.2, 4.0])
        self.parents = np.array(self.body.parents, np.int64)
        focal = 1.6 * SIDE_PX
        K = np.array([[focal, 0, SIDE_PX / 2], [0, 1.1 * focal, SIDE_PX / 2 - 3], [0, 0, 1]])
        self.camera = Camera(K, (SIDE_PX, SIDE_PX))

    @cached_property
    def picture(self) -> np.ndarray:
        """(SIDE_PX, SIDE_PX, 3) uint8 of noise that changes over some five pixels."""
        import cv2

        noise = np.random.default_rng(2).standard_normal((SIDE_PX, SIDE_PX, 3))
        return np.clip(128 + 300 * cv2.GaussianBlur(noise, (0, 0), 2.5), 0, 255).astype(np.uint8)

    def placed(self, corrections: np.ndarray | None = None) -> JointTransforms:
        """One frame's joints after turns about their own axes and a translation (75,)."""
        corrections = np.zeros(CORRECTIONS) if corrections is None else corrections
        turns = rotation_from_rotvec(corrections[:TRANSLATION].reshape(24, 3))
        moved = chain_joints((self.rotation @ turns)[None], self.body.joint_template[None], self.body.parents)
        move = self.translation + corrections[TRANSLATION:]
        return JointTransforms(moved.rotation, moved.offset + move, moved.position + move)

    def points(self, corrections: np.ndarray | None = None) -> np.ndarray:
        """(Q, 3) as plain blending has them."""
        points, placed = self.surface.points, self.placed(corrections)
        carried = np.einsum("qicd,qd->qic", placed.rotation[0, points.joint], self.surface.rest)
        return (points.weight[..., None] * (carried + placed.offset[0, points.joint])).sum(axis=1)

    def normals(self) -> np.ndarray:
        """(Q, 3), of no particular length."""
        points = self.surface.points
        turned = np.einsum("qicd,qd->qic", self.placed().rotation[0, points.joint], self.surface.normal)
        return (points.weight[..., None] * turned).sum(axis=1)

    def jacobian(self) -> np.ndarray:
        """(Q, 3, 75) derivatives of points by corrections, by differences: exact to 1e-9."""
        columns = []
        for correction in range(CORRECTIONS):
            move = np.zeros(CORRECTIONS)
            move[correction] = 1e-5
            columns.append((self.points(move) - self.points(-move)) / 2e-5)
        return np.stack(columns, axis=2)
