"""True depth of samples and photos: a folder with one NAME.npz for each, plain arrays.

    depth_m  (256, 256) metres, the same crop as the prediction, 0 where nothing is known
    K        (3, 3) intrinsics at that size; must be the prediction's

`python -m pipeline truth` writes such a folder for datasets that were filmed in the studio.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from schemas.errors import DatasetError
from schemas.prediction import prediction_path


def read_truth(path: Path, K: np.ndarray, hw: tuple[int, ...]) -> np.ndarray:
    """(H, W) float64 metres, checked against the camera K and size that it is to be compared with."""
    try:
        with np.load(path, allow_pickle=False) as data:
            depth, found_K = np.asarray(data["depth_m"], np.float64), np.asarray(data["K"], np.float64)
    except (OSError, ValueError, KeyError) as error:
        raise DatasetError(
            f"{path} is not a truth: {error}.", remedy="Give an npz with depth_m and K."
        ) from error
    if depth.shape != hw or not np.isfinite(depth).all() or not (depth > 0).any():
        raise DatasetError(
            f"{path}: depth_m has shape {depth.shape}, {(~np.isfinite(depth)).sum()} values that are not finite and "
            f"{(depth > 0).sum()} known pixels; expected {hw}, 0 and some.",
            remedy="Give metres at 256 x 256, 0 where nothing is known.",
        )
    if found_K.shape != (3, 3) or not np.allclose(found_K, K, rtol=1e-3):
        raise DatasetError(
            f"{path}: K is {found_K.tolist()}, the prediction's is {K.tolist()}.",
            remedy="Give the truth in the same crop, with the same camera.",
        )
    return depth


class Truths:
    """The truth of some of a dataset's samples, by their ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, sample_id: str) -> bool:
        return prediction_path(self._folder, sample_id).is_file()

    def depth_m(self, sample_id: str, K: np.ndarray, hw: tuple[int, ...]) -> np.ndarray | None:
        """(H, W) metres; None where there is none."""
        return read_truth(prediction_path(self._folder, sample_id), K, hw) if sample_id in self else None
