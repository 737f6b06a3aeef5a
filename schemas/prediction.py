"""A predicted depth map on disk: what the trainer's `predict` writes and any page or tool can read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from schemas.array_files import read_arrays
from schemas.errors import DatasetError


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Depth of one person in one crop, with the camera it belongs to."""

    depth_m: np.ndarray
    """(H, W) float32 metres, 0 = background."""
    base_depth_m: np.ndarray
    """(H, W) float32 metres: the base that was refined."""
    K: np.ndarray
    """(3, 3) float64 intrinsics at (H, W)."""

    def save(self, path: Path) -> None:
        """Writes an npz; plain arrays only."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, depth_m=self.depth_m, base_depth_m=self.base_depth_m, K=self.K)

    @classmethod
    def load(cls, path: Path) -> Prediction:
        """Reads what `save` wrote; pickled objects are refused. Raises DatasetError on anything else."""
        remedy = "Make it with `python -m trainer predict`."
        names = ("depth_m", "base_depth_m", "K")
        arrays = read_arrays(path, names, what="a prediction", remedy=remedy)
        depth, base, K = (arrays[name] for name in names)
        numbers = all(array.dtype.kind in "fiu" for array in (depth, base, K))
        if not numbers or depth.ndim != 2 or base.shape != depth.shape or K.shape != (3, 3):
            raise DatasetError(
                f"{path} is not a prediction: its arrays have shapes {depth.shape}, {base.shape} and {K.shape}, "
                "expected numbers of two equal (H, W) and (3, 3).",
                remedy=remedy,
            )
        return cls(depth_m=depth, base_depth_m=base, K=K)


def prediction_path(folder: Path, sample_id: str) -> Path:
    """Where the prediction of a sample lies; every character that could leave the folder becomes '_'."""
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', sample_id).lstrip('.')}.npz"
