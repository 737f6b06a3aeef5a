"""The exported TrackNet on ONNX Runtime: square crops in, 85 numbers out. The trainer is not needed to run it.

Only ONNX is taken: a graph and numbers. A `torch.export` file may hold pickles, which are never opened here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from schemas.conventions import VECTOR_SIZE
from schemas.errors import AssetError

_REMEDY = "Give the .onnx that `python -m trainer tracknet export` wrote."
_PREFERRED = ("CUDAExecutionProvider", "CPUExecutionProvider")


class NetworkFile:
    """One network a process; on a GPU where ONNX Runtime has one, else on one thread of the CPU."""

    image_px: int
    """Side of the crops it takes."""
    shape_space: str
    """Whose shape coefficients it gives: `open`, `smpl` or `smplx`."""
    crop_margin: float
    """Side of those crops over the longer side of the person."""

    def __init__(self, path: Path) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise AssetError(
                f"{path} needs onnxruntime, which is not installed.",
                remedy="pip install 'humandepth[export]'",
            ) from error
        if path.suffix != ".onnx":
            raise AssetError(f"{path} is not an .onnx file.", remedy=_REMEDY)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the same sums on every machine
        options.log_severity_level = 3
        available = onnxruntime.get_available_providers()
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=[name for name in _PREFERRED if name in available]
            )
            facts = json.loads(self._session.get_modelmeta().custom_metadata_map["humandepth"])
            if (facts["format"], facts["format_version"]) != ("humandepth-tracknet-export", 1):
                raise ValueError(f"format {facts['format']!r} version {facts['format_version']!r}")
            self.shape_space = str(facts["shape_space"])
            self.image_px, self.crop_margin = int(facts["image_px"]), float(facts["crop_margin"])
        except Exception as error:  # onnxruntime raises many kinds for a damaged file
            raise AssetError(f"{path} is not an exported TrackNet ({error!r}).", remedy=_REMEDY) from error

    def vectors(self, images: np.ndarray) -> np.ndarray:
        """(N, 85) float64 of crops (N, P, P, 3) uint8 sRGB."""
        colours = np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32) / 255
        (found,) = self._session.run(["vectors"], {"images": colours})
        if found.shape != (len(images), VECTOR_SIZE) or not np.isfinite(found).all():
            raise AssetError(
                f"the network gave {found.shape} numbers for {len(images)} pictures, or not finite ones.",
                remedy=_REMEDY,
            )
        return np.asarray(found, np.float64)
