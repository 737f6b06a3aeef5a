"""TensorBoard, where it is wanted and installed; a board without a folder writes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.errors import SettingsError


class Board:
    """Curves and pictures of a run in FOLDER/tensorboard."""

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise SettingsError(
                "setting 'train.tensorboard' needs the package tensorboard.",
                remedy="Run: pip install 'humandepth[tensorboard]'",
            ) from error
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def scalars(self, group: str, numbers: Mapping[str, float], step: int) -> None:
        """One point on each curve."""
        if self._writer is not None:
            for name, value in numbers.items():
                self._writer.add_scalar(f"{group}/{name}", value, step)
            self._writer.flush()

    def picture(self, name: str, image: NDArray[np.uint8], step: int) -> None:
        """(H, W, 3) uint8 RGB."""
        if self._writer is not None:
            self._writer.add_image(name, image, step, dataformats="HWC")
            self._writer.flush()
