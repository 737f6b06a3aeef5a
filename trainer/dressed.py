"""The depth of the dressed shape of samples, out of the folder that `pipeline dataset dressed` wrote."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from schemas.dressed import REMEDY, DressedDepth
from schemas.errors import DatasetError
from schemas.prediction import prediction_path
from trainer.batch import Batch


class DressedDepths:
    """What the tracks say of some of a dataset's samples, by their ids."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, sample_id: str) -> bool:
        return prediction_path(self._folder, sample_id).is_file()

    def maps(self, batch: Batch) -> NDArray[np.float32]:
        """(2, H, W) depth and standard deviation, metres, of a batch of one; 0 everywhere where there is none of it.

        Raises DatasetError where the file is of another crop.
        """
        (sample_id,), hw = batch.sample_ids, tuple(batch.base_depth.shape[-2:])
        if sample_id not in self:
            return np.zeros((2, *hw), np.float32)
        path = prediction_path(self._folder, sample_id)
        found, K = DressedDepth.load(path), batch.K[0].double().numpy()
        if found.depth_m.shape != hw or found.K.shape != K.shape or not np.allclose(found.K, K, rtol=1e-3):
            raise DatasetError(
                f"{path}: its maps are {found.depth_m.shape} with K {found.K.tolist()}, the sample's {hw} with "
                f"{K.tolist()}.",
                remedy=REMEDY,
            )
        return np.stack([found.depth_m, found.sigma_m]).astype(np.float32)
