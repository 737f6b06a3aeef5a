"""An .npz whose bytes depend on its arrays alone."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip entry can carry; the real one would change the file's hash at every build."""


def write_npz(path: Path, arrays: Mapping[str, np.ndarray], *, level: int = 9) -> None:
    """Writes arrays in name order, deflated, without times or host facts; object arrays are refused."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3
            payload = io.BytesIO()
            np.lib.format.write_array(payload, np.asarray(arrays[name], order="C"), allow_pickle=False)
            archive.writestr(member, payload.getvalue(), compresslevel=level)
