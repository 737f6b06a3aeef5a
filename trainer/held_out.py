"""Held-out samples: which are looked at, what the network makes of them, pictures of a few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from schemas.conventions import MAP_PX
from schemas.errors import SettingsError
from trainer.batch import Batch
from trainer.config import Settings
from trainer.data import SampleRef, Samples
from trainer.dressed import DressedDepths
from trainer.learned import Learned, learned_from
from trainer.objective import Validation, validate
from trainer.panels import validation_panels
from trainer.stopping import Stopping
from trainer.truth import Truths

PANELS = 3
"""Held-out samples that are drawn."""


class HeldOut:
    """Held-out samples, always judged at map size: figures of runs with other settings can be compared."""

    def __init__(self, refs: list[SampleRef], settings: Settings, stopping: Stopping) -> None:
        folder = settings.data.dressed
        self._samples = Samples(
            refs,
            settings.data,
            seed=settings.train.seed,
            training=False,
            photo_px=MAP_PX,
            dressed=DressedDepths(Path(folder)) if folder is not None else None,
        )
        self._truths = _truths(settings.data.truth, refs)
        self._settings, self._stopping = settings, stopping

    def __len__(self) -> int:
        return len(self._samples)

    def validate(self, model: nn.Module, device: torch.device) -> Validation:
        """Errors over `train.validation_samples` of them, evenly spread."""
        batches = (self._batch(place) for place in self._places())
        return validate(model, batches, device, self._truths)

    def learned(self, found: Validation) -> Learned | None:
        """What a validation says about anything beyond a constant; the same figures for the same seed."""
        keys = {ref.sample_id: (ref.source_id, ref.track_id) for ref in self._samples.refs}
        return learned_from(found.by_sample, keys, seed=self._settings.train.seed)

    def panels(self, model: nn.Module, device: torch.device) -> NDArray[np.uint8]:
        """Pictures of a few: see `validation_panels`."""
        places = self._places()
        shown = [self._batch(place) for place in places[:: max(1, len(places) // PANELS)][:PANELS]]
        return validation_panels(model, shown, device)

    def _places(self) -> list[int]:
        count = min(self._settings.train.validation_samples, len(self))
        return torch.linspace(0, len(self) - 1, count).round().long().tolist()

    def _batch(self, place: int) -> Batch:
        ref, limit_s = self._samples.refs[place], self._settings.data.time_limit_s
        said = f"sample {ref.sample_id} of {ref.path} was not read within {limit_s:g} s (data.time_limit_s)."
        with self._stopping.limited(limit_s, f"{said} Check that disk or network. Continue with --resume."):
            return self._samples[0, place]


def _truths(folder: str | None, held_out: Sequence[SampleRef]) -> Truths | None:
    if folder is None or not held_out:  # of nobody held out nothing need be known
        return None
    truths = Truths(Path(folder))
    if not any(ref.sample_id in truths for ref in held_out):
        raise SettingsError(
            f"{folder} holds the true depth of none of the {len(held_out)} held-out samples.",
            remedy="Make it with `python -m pipeline studio truth`, or leave data.truth out.",
        )
    return truths


def supervision(settings: Settings, training: Sequence[SampleRef]) -> Truths | None:
    """The true depth that supervises, None without `losses.gamma_truth`. Raises SettingsError where it is missing."""
    if settings.losses.gamma_truth == 0:
        return None
    folder = settings.data.truth
    if folder is None:
        raise SettingsError(
            f"setting 'losses.gamma_truth' is {settings.losses.gamma_truth!r}, but no true depth is given.",
            remedy="Give the folder with --truth (`python -m pipeline studio truth` makes it), or set it to 0.",
        )
    truths = Truths(Path(folder))
    if not any(ref.sample_id in truths for ref in training):
        raise SettingsError(
            f"{folder} holds the true depth of none of the {len(training)} training samples.",
            remedy="Make it with `python -m pipeline studio truth`, or set losses.gamma_truth=0.",
        )
    return truths


def teaching(settings: Settings, training: Sequence[SampleRef]) -> DressedDepths | None:
    """The dressed depths that teach, None without `losses.gamma_dressed`; SettingsError where they are missing."""
    if settings.losses.gamma_dressed == 0:
        return None
    folder, remedy = settings.data.dressed, "Make it with `python -m pipeline dataset dressed`"
    if folder is None:
        raise SettingsError(
            f"setting 'losses.gamma_dressed' is {settings.losses.gamma_dressed!r}, but no dressed depth is given.",
            remedy=f"{remedy} and give the folder with --dressed, or set it to 0.",
        )
    found = DressedDepths(Path(folder))
    if not any(ref.sample_id in found for ref in training):
        raise SettingsError(
            f"{folder} holds the dressed depth of none of the {len(training)} training samples.",
            remedy=f"{remedy}, or set losses.gamma_dressed=0.",
        )
    return found


def validation_lines(step: int, found: Validation) -> Iterator[str]:
    """What is said about a validation."""
    yield (
        f"step {step}: photometric error on {found.samples} held-out samples "
        f"{found.base_photo_error:.5f} with the base depth, {found.photo_error:.5f} refined "
        f"({-100 * found.reduction:+.1f} %; its mean alone {-100 * found.constant_reduction:+.1f} %), "
        f"mean |offset| {1000 * found.mean_offset_m:.1f} mm"
    )
    if found.base_dressed_error_m is not None and found.dressed_error_m is not None:
        yield (
            f"step {step}: {100 * found.dressed_share:+.1f} % of what dressed shapes add beyond a constant is found "
            f"({1000 * found.base_dressed_error_m:.1f} -> {1000 * found.dressed_error_m:.1f} mm left)"
        )
    if found.depth_errors is not None and found.base_depth_errors is not None:
        yield (
            f"step {step}: depth error {found.base_depth_errors.mae_mm:.1f} mm with the base depth, "
            f"{found.depth_errors.mae_mm:.1f} mm refined, after one offset per image"
        )
