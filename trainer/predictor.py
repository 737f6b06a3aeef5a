"""From people to their depth: base depth plus what a trained network adds, or the base depth alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.errors import CheckpointError
from schemas.prediction import Prediction
from trainer.batch import network_input
from trainer.checkpoint import Checkpoint
from trainer.config import DataSettings
from trainer.devices import device_of
from trainer.model import ReconNet
from trainer.subject import Subject


class DepthPredictor(Protocol):
    """Anything that turns people into depth."""

    def predict_together(self, subjects: Sequence[Subject]) -> list[Prediction]:
        """One prediction for each, in their order."""
        ...


class Predictor:
    """A trained network, ready to use.

    `mirrored_look`: it looks at every mirror image too, and the mean of both offsets counts.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: str | None = None, *, mirrored_look: bool = False
    ) -> None:
        self._device = device_of(device)
        self._model: ReconNet = checkpoint.model().to(self._device).eval()
        self._settings: DataSettings = checkpoint.settings.data
        self._mirrored_look = mirrored_look

    def predict(self, subject: Subject) -> Prediction:
        """depth = base depth + offset inside the mask, 0 outside (method, section 5)."""
        return self.predict_together([subject])[0]

    def predict_together(self, subjects: Sequence[Subject]) -> list[Prediction]:
        """`predict` of several in one pass of the network, in their order."""
        inputs = [
            network_input(each.image.transpose(2, 0, 1), each.input_depth, self._settings)
            for each in subjects
        ]
        offsets = self._offset(torch.stack(inputs))[:, 0].cpu().numpy()
        return [_prediction(subject, offset) for subject, offset in zip(subjects, offsets, strict=True)]

    @torch.no_grad()
    def _offset(self, inputs: Tensor) -> Tensor:
        # Not in TF32, torch's default for convolutions on a GPU: ten bits would cost a tenth of a millimetre.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            inputs = inputs.to(self._device)
            offset: Tensor = self._model(inputs)
            if self._mirrored_look:
                offset = (offset + self._model(inputs.flip(-1)).flip(-1)) / 2
            return offset


class BaseDepth:
    """The base depth as it is: what is predicted without a network."""

    def predict_together(self, subjects: Sequence[Subject]) -> list[Prediction]:
        """Depth and base depth are the same."""
        nothing = np.zeros((MAP_PX, MAP_PX), np.float32)
        return [_prediction(subject, nothing) for subject in subjects]


def _prediction(subject: Subject, offset_m: NDArray[np.floating]) -> Prediction:
    if not np.isfinite(offset_m).all():
        raise CheckpointError(
            f"the network's depth of {subject.name} is not finite.",
            remedy="Train again with a lower train.learning_rate.",
        )
    base = subject.base_depth.astype(np.float32)
    K = subject.K * np.array([[MAP_PX / IMAGE_PX], [MAP_PX / IMAGE_PX], [1.0]])
    depth = np.where(base > 0, base + offset_m, 0).astype(np.float32)
    return Prediction(depth_m=depth, base_depth_m=base, K=K, placement=subject.placement)
