"""The depth of a track's dressed shape as one sample sees it, on disk.

`pipeline dataset dressed` writes it, `trainer fit` learns from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.array_files import read_arrays
from schemas.errors import DatasetError

REMEDY = "Make it with `python -m pipeline dataset dressed`."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DressedDepth:
    """What all frames of a track say about the surface that one of them shows. Maps (H, W), metres, 0 = background."""

    depth_m: NDArray[np.floating]
    """z of the posed skin moved along its normals by the track's offset."""
    sigma_m: NDArray[np.floating]
    """Standard deviation of that offset, along the normal; above 0 wherever depth is."""
    K: NDArray[np.float64]
    """(3, 3) at map size."""

    def save(self, path: Path) -> None:
        """Writes an npz; plain arrays only. Depths to float32, standard deviations to float16."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path, depth_m=self.depth_m.astype(np.float32), sigma_m=self.sigma_m.astype(np.float16), K=self.K
        )

    @classmethod
    def load(cls, path: Path) -> DressedDepth:
        """Reads what `save` wrote. Raises DatasetError on anything else, or where the two maps disagree."""
        what = "a file of dressed depth"
        arrays = read_arrays(path, ("depth_m", "sigma_m", "K"), optional=(), what=what, remedy=REMEDY)
        if not all(array.dtype.kind == "f" for array in arrays.values()) or arrays["depth_m"].ndim != 2:
            raise DatasetError(
                f"{path} is not {what}: its arrays are not maps of floating-point numbers.", remedy=REMEDY
            )
        depth, sigma = np.asarray(arrays["depth_m"], np.float64), np.asarray(arrays["sigma_m"], np.float64)
        wrong = depth.shape != sigma.shape or not (np.isfinite(depth).all() and np.isfinite(sigma).all())
        if wrong or ((depth > 0) != (sigma > 0)).any():
            raise DatasetError(
                f"{path}: depth_m and sigma_m are not finite and above 0 at the same pixels.", remedy=REMEDY
            )
        return cls(depth_m=depth, sigma_m=sigma, K=np.asarray(arrays["K"], np.float64))
