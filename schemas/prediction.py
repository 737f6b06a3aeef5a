"""A predicted depth map on disk: what the trainer's `predict` writes and any page or tool can read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.array_files import read_arrays
from schemas.errors import DatasetError

_PLACEMENT_ARRAYS = ("picture", "picture_hw", "crop_px", "box_px", "frame_index", "pts_s")


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """Where a square crop lies in the picture it was cut from.

    Pixels are those of the upright picture: a photo turned by its EXIF orientation, a frame by its film's rotation.
    Both cameras have one centre and the same axes, so a point has the same coordinates and depth in either.
    """

    picture: str
    """What it was cut from: a file's name, or a clip's id."""
    picture_hw: tuple[int, int]
    crop_px: NDArray[np.float64]
    """(3,) float64 centre u, centre v, side. The crop may reach beyond the picture."""
    box_px: NDArray[np.float64]
    """(4,) float64 left, top, right, bottom of the person."""
    frame_index: int | None = None
    """Of a video: the frame, counted from its start."""
    pts_s: float | None = None
    """Its presentation time."""

    def crop_from_picture(self, side_px: int) -> NDArray[np.float64]:
        """(3, 3) map of the picture's pixels to those of the crop resampled to `side_px`; centres at +0.5 in both."""
        centre_u, centre_v, side = self.crop_px
        scale = side_px / side
        return np.array(
            [
                [scale, 0.0, (side / 2 - centre_u) * scale],
                [0.0, scale, (side / 2 - centre_v) * scale],
                [0.0, 0.0, 1.0],
            ]
        )

    def picture_K(self, crop_K: NDArray[np.floating], side_px: int) -> NDArray[np.float64]:
        """(3, 3) intrinsics of the whole picture, from those of the crop at `side_px`."""
        return np.asarray(np.linalg.inv(self.crop_from_picture(side_px)) @ crop_K, np.float64)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """As plain arrays, by the names they have in a file; -1 and NaN where there is no frame."""
        return {
            "picture": np.array(self.picture),
            "picture_hw": np.array(self.picture_hw, np.int64),
            "crop_px": np.asarray(self.crop_px, np.float64),
            "box_px": np.asarray(self.box_px, np.float64),
            "frame_index": np.array(-1 if self.frame_index is None else self.frame_index, np.int64),
            "pts_s": np.array(np.nan if self.pts_s is None else self.pts_s, np.float64),
        }

    @classmethod
    def from_arrays(cls, data: Mapping[str, NDArray[Any]]) -> Placement | None:
        """The inverse of `arrays`; None where a file has none. Raises KeyError or ValueError on anything else."""
        if "crop_px" not in data:
            return None
        height, width = (int(value) for value in data["picture_hw"])
        frame_index, pts_s = int(data["frame_index"]), float(data["pts_s"])
        crop_px, box_px = data["crop_px"], data["box_px"]
        if crop_px.shape != (3,) or box_px.shape != (4,) or min(height, width) < 1 or not crop_px[2] > 0:
            raise ValueError(f"crop_px is {crop_px!r} and box_px {box_px!r} in {height} x {width} pixels")
        return cls(
            picture=str(data["picture"]),
            picture_hw=(height, width),
            crop_px=crop_px,
            box_px=box_px,
            frame_index=None if frame_index < 0 else frame_index,
            pts_s=None if np.isnan(pts_s) else pts_s,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Depth of one person in one crop, or of everybody in a whole picture, with the camera it belongs to."""

    depth_m: NDArray[np.float32]
    """(H, W) float32 metres, 0 = background."""
    base_depth_m: NDArray[np.float32]
    """(H, W) float32 metres: the base that was refined."""
    K: NDArray[np.float64]
    """(3, 3) float64 intrinsics at (H, W)."""
    placement: Placement | None = None
    """Where the crop lies in its picture, where that is known."""
    person: NDArray[np.uint8] | None = None
    """(H, W) uint8 of a whole picture: 0 = background, else the number of the person who is seen, from 1."""
    person_K: NDArray[np.float64] | None = None
    """(N, 3, 3) of a whole picture: each person's intrinsics in its pixels. One and the same where the focal length
    was known; where it was assumed, each person's own, and `K` is the first one's."""

    def save(self, path: Path) -> None:
        """Writes an npz; plain arrays only. With a placement, `picture_K` are the whole picture's intrinsics."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {"depth_m": self.depth_m, "base_depth_m": self.base_depth_m, "K": self.K}
        if self.placement is not None:
            picture_K = self.placement.picture_K(self.K, self.depth_m.shape[0])
            arrays |= self.placement.arrays() | {"picture_K": picture_K}
        if self.person is not None:
            arrays["person"] = self.person
        if self.person_K is not None:
            arrays["person_K"] = self.person_K
        np.savez_compressed(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Prediction:
        """Reads what `save` wrote; pickled objects are refused. Raises DatasetError on anything else."""
        remedy = "Make it with `python -m trainer predict`."
        needed = ("depth_m", "base_depth_m", "K")
        optional = (*_PLACEMENT_ARRAYS, "person", "person_K")
        arrays = read_arrays(path, needed, optional=optional, what="a prediction", remedy=remedy)
        depth, base, K = (arrays[name] for name in needed)
        numbers = all(array.dtype.kind in "fiu" for array in (depth, base, K))
        if not numbers or depth.ndim != 2 or base.shape != depth.shape or K.shape != (3, 3):
            raise DatasetError(
                f"{path} is not a prediction: its arrays have shapes {depth.shape}, {base.shape} and {K.shape}, "
                "expected numbers of two equal (H, W) and (3, 3).",
                remedy=remedy,
            )
        try:
            placement = Placement.from_arrays(arrays)
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{path} is not a prediction: {error}.", remedy=remedy) from error
        return cls(
            depth_m=depth,
            base_depth_m=base,
            K=K,
            placement=placement,
            person=arrays.get("person"),
            person_K=arrays.get("person_K"),
        )


def prediction_path(folder: Path, sample_id: str) -> Path:
    """Where the prediction of a sample lies; every character that could leave the folder becomes '_'."""
    return folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '_', sample_id).lstrip('.')}.npz"
