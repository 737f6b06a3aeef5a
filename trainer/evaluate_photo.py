"""Photometric errors of predictions over a dataset's own references: refined, base, and base plus each one's mean."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.prediction import Prediction, prediction_path
from trainer.batch import Batch
from trainer.config import DataSettings
from trainer.data import SampleRef, Samples, read_index
from trainer.learned import Learned, learned_from
from trainer.objective import SampleErrors, sample_errors

SEED = 6666
"""Of the bootstrap."""
_ALL_REFERENCES = 1000
_SAME_BASE_M = 2e-3


def evaluate_photo(predictions: Path, root: str) -> Learned:
    """What predictions of a dataset's samples (`predict --dataset`) have beyond a constant, as `fit` says it.

    Every sample that has a prediction counts, with all its references. Raises DatasetError where none has one, or where
    a prediction was made from another base depth than the dataset's.
    """
    index = [
        ref for ref in read_index(Dataset.open(root)) if prediction_path(predictions, ref.sample_id).is_file()
    ]
    if not index:
        raise DatasetError(
            f"{predictions} holds no prediction of a sample of {root}.",
            remedy="Make them: python -m trainer predict --dataset DATASET --checkpoint CHECKPOINT --out FOLDER.",
        )
    keys = {ref.sample_id: (ref.source_id, ref.track_id) for ref in index}
    learned = learned_from(list(_errors(predictions, index)), keys, seed=SEED)
    if learned is None:
        raise DatasetError(
            f"no reference of {root} shows a pixel of a predicted sample.", remedy="Predict other samples."
        )
    return learned


def _errors(predictions: Path, index: list[SampleRef]) -> Iterator[SampleErrors]:
    settings = DataSettings(max_references=_ALL_REFERENCES, colour_jitter=False)
    samples = Samples(index, settings, seed=0, training=False)
    for at, ref in enumerate(index):
        batch = samples[0, at]
        if batch.bad_rows:
            raise DatasetError(batch.bad_rows[0], remedy="Run `python -m pipeline dataset verify`.")
        yield from sample_errors(batch, _offset(predictions, ref, batch))


def _offset(predictions: Path, ref: SampleRef, batch: Batch) -> torch.Tensor:
    """(1, 1, 256, 256) what the prediction adds to the dataset's base depth."""
    path = prediction_path(predictions, ref.sample_id)
    prediction, base = Prediction.load(path), batch.base_depth[0, 0].numpy()
    same = prediction.depth_m.shape == base.shape
    on_body = base > 0
    if not same or np.abs(prediction.base_depth_m - base)[on_body].max() > _SAME_BASE_M:
        raise DatasetError(
            f"{path}: its base depth is not that of sample {ref.sample_id}.",
            remedy="Predict from the dataset itself: python -m trainer predict --dataset DATASET.",
        )
    return torch.from_numpy(np.where(on_body, prediction.depth_m - base, 0).astype(np.float32))[None, None]
