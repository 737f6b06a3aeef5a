"""The true depth of a sample on disk: `pipeline studio truth` writes it, `trainer evaluate` reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.array_files import read_arrays
from schemas.errors import DatasetError

PARTS = ("head", "torso", "upper arms", "forearms and hands", "thighs", "shanks and feet")
"""Parts of the body that errors are reported by; a part map holds 1 + the place in this list."""
JOINTS_OF_PARTS = (
    (12, 15),
    (0, 3, 6, 9, 13, 14),
    (16, 17),
    (18, 19, 20, 21, 22, 23),
    (1, 2),
    (4, 5, 7, 8, 10, 11),
)
"""The joints of the SMPL layout that each part hangs on."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Truth:
    """What a sample should have found, in its own crop. Maps (H, W), metres, 0 = background."""

    depth_m: NDArray[np.floating]
    """The surface that the camera sees."""
    K: NDArray[np.float64]
    """(3, 3) at map size."""
    body_depth_m: NDArray[np.floating] | None = None
    """The naked body in its true pose and shape: the base depth of a perfect tracker."""
    part: NDArray[np.uint8] | None = None
    """uint8, 1 + the place in PARTS, 0 = background."""
    pose: str = ""
    """What the person does."""

    def save(self, path: Path) -> None:
        """Writes an npz; plain arrays only."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {
            "depth_m": self.depth_m,
            "K": self.K,
            "pose": np.array(self.pose),
            "body_depth_m": self.body_depth_m,
            "part": self.part,
        }
        known: dict[str, Any] = {name: array for name, array in arrays.items() if array is not None}
        np.savez_compressed(path, **known)

    @classmethod
    def load(cls, path: Path) -> Truth:
        """Reads what `save` wrote, or any npz with depth_m and K. Raises DatasetError on anything else."""
        remedy = "Give an npz with depth_m and K."
        arrays = read_arrays(
            path,
            ("depth_m", "K"),
            optional=("body_depth_m", "part", "pose"),
            what="a file of true depth",
            remedy=remedy,
        )
        pose = str(arrays.pop("pose", ""))
        if not all(array.dtype.kind in "fiub" for array in arrays.values()) or arrays["depth_m"].ndim != 2:
            raise DatasetError(
                f"{path} is not a file of true depth: its arrays are not maps of numbers.", remedy=remedy
            )
        depth, K = np.asarray(arrays["depth_m"], np.float64), np.asarray(arrays["K"], np.float64)
        body = np.asarray(arrays["body_depth_m"], np.float64) if "body_depth_m" in arrays else None
        part = np.asarray(arrays["part"], np.uint8) if "part" in arrays else None
        for name, array in (("body_depth_m", body), ("part", part)):
            if array is not None and array.shape != depth.shape:
                raise DatasetError(
                    f"{path}: {name} has shape {array.shape}, depth_m {depth.shape}.",
                    remedy="Make it with `python -m pipeline studio truth`.",
                )
        return cls(depth_m=depth, K=K, body_depth_m=body, part=part, pose=pose)
