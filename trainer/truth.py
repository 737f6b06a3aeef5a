"""The truth of what is predicted, checked against the camera and size it is compared with (see `schemas.truth`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.errors import DatasetError
from schemas.prediction import prediction_path
from schemas.truth import Truth


def read_truth(path: Path, K: NDArray[np.floating], hw: tuple[int, ...]) -> Truth:
    """The truth of a map (H, W) seen by the camera K. Raises DatasetError where it is another's, or not finite."""
    return checked_truth(Truth.load(path), path, K, hw)


def checked_truth(truth: Truth, path: Path, K: NDArray[np.floating], hw: tuple[int, ...]) -> Truth:
    """A truth that was read already, checked likewise."""
    depth = truth.depth_m
    if depth.shape != hw or not np.isfinite(depth).all() or not (depth > 0).any():
        raise DatasetError(
            f"{path}: depth_m has shape {depth.shape}, {(~np.isfinite(depth)).sum()} values that are not finite and "
            f"{(depth > 0).sum()} known pixels; expected {hw}, 0 and some.",
            remedy="Give metres at 256 x 256, 0 where nothing is known.",
        )
    if truth.K.shape != (3, 3) or not np.allclose(truth.K, K, rtol=1e-3):
        raise DatasetError(
            f"{path}: K is {truth.K.tolist()}, the prediction's is {K.tolist()}.",
            remedy="Give the truth in the same crop, with the same camera.",
        )
    return truth


class Truths:
    """The truth of some of a dataset's samples, by their ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, sample_id: str) -> bool:
        return prediction_path(self._folder, sample_id).is_file()

    def depth_m(
        self, sample_id: str, K: NDArray[np.floating], hw: tuple[int, ...]
    ) -> NDArray[np.floating] | None:
        """(H, W) metres; None where there is none."""
        return (
            read_truth(prediction_path(self._folder, sample_id), K, hw).depth_m if sample_id in self else None
        )
