"""What people wear on the mean: how far it lies off a body's skin at every vertex, in a file of a few kilobytes.

`pipeline dataset clothes` writes it, the setting `rendering.clothes` names it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.array_files import read_arrays
from schemas.errors import AssetError, DatasetError

_WHAT, _REMEDY = "a file of clothes", "Make it with `python -m pipeline dataset clothes`."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clothes:
    """An offset of a body's mesh along its outward normals, the same for everybody. V vertices."""

    offset_m: NDArray[np.float64]
    """(V,) metres outwards."""
    body_sha256: str
    """Of the body file whose vertices these are."""
    tracks: int
    """How many tracks it was learned from."""

    def save(self, path: Path) -> None:
        """Writes an npz, the same bytes for the same clothes: offsets to float32."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:  # a path would be given another ending
            np.savez_compressed(
                file,
                offset_m=self.offset_m.astype(np.float32),
                body_sha256=np.array(self.body_sha256),
                tracks=np.array(self.tracks, np.int64),
            )

    @classmethod
    def load(cls, path: Path) -> Clothes:
        """Reads what `save` wrote. Raises AssetError on anything else."""
        try:
            needed = ("offset_m", "body_sha256", "tracks")
            arrays = read_arrays(path, needed, what=_WHAT, remedy=_REMEDY)
        except DatasetError as error:
            raise AssetError(error.message, remedy=error.remedy) from error
        offset, digest, tracks = (arrays[name] for name in needed)
        plain = offset.dtype.kind == "f" and digest.dtype.kind == "U" and tracks.dtype.kind == "i"
        if not plain or offset.ndim != 1 or digest.ndim or tracks.ndim or not np.isfinite(offset).all():
            raise AssetError(
                f"{path} is not {_WHAT}: expected a finite offset_m for every vertex, the digest of a body and "
                "a number of tracks.",
                remedy=_REMEDY,
            )
        return cls(offset_m=offset.astype(np.float64), body_sha256=str(digest), tracks=int(tracks))


def clothes_for(path: Path, *, body_sha256: str) -> Clothes:
    """The clothes of a file, for that body. Raises AssetError where they were learned on another one."""
    clothes = Clothes.load(path)
    if clothes.body_sha256 != body_sha256:
        raise AssetError(
            f"{path} holds clothes of the body with SHA-256 {clothes.body_sha256[:12]}, this one has "
            f"{body_sha256[:12]}: their vertices are not the same places.",
            remedy="Give the body that they were learned on as body.file, or learn them on a dataset of this one: "
            "`python -m pipeline dataset clothes`.",
        )
    return clothes
