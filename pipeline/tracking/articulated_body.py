"""What tracking needs of a body model, without torch: a run's driver names bodies and files, and never fits."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.body.landmark_offsets import LandmarkOffsets


class ArticulatedBody(Protocol):
    """What tracking needs of a body model (`pipeline.body.model.BodyModel` is one). All arrays float64, metres."""

    @property
    def shape_space(self) -> str:
        """Whose shape coefficients it takes: `open`, `smpl` or `smplx`."""

    @property
    def joint_template(self) -> np.ndarray:
        """(24, 3)."""

    @property
    def joint_shapedirs(self) -> np.ndarray:
        """(24, 3, 10)."""

    @property
    def landmark_offsets(self) -> LandmarkOffsets | None:
        """From the points that landmarks are named for to where the landmark network draws them; in A_kj already."""

    @property
    def landmark_joint_weights(self) -> np.ndarray:
        """(33, 24) a_kj."""

    @property
    def landmark_joint_template(self) -> np.ndarray:
        """(33, 24, 3) A_kj at the mean shape."""

    @property
    def landmark_joint_shapedirs(self) -> np.ndarray:
        """(33, 24, 3, 10)."""

    @property
    def template(self) -> np.ndarray:
        """(V, 3)."""

    @property
    def shapedirs(self) -> np.ndarray:
        """(V, 3, 10)."""

    @property
    def weights(self) -> np.ndarray:
        """(V, 24)."""

    @property
    def parents(self) -> np.ndarray:
        """(24,), -1 for the root."""

    @property
    def faces(self) -> np.ndarray:
        """(F, 3)."""

    def vertices(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., V, 3) of pose (..., 24, 3), betas (..., 10), translation (..., 3)."""

    def joints(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., 24, 3)."""

    def landmarks(self, pose: np.ndarray, betas: np.ndarray, translation: np.ndarray) -> np.ndarray:
        """(..., 33, 3)."""
