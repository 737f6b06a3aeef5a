"""What a run learns from and is judged by: datasets opened, filtered, split, and mixed in their shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.dataset import Dataset
from schemas.errors import SettingsError
from schemas.recipe import Recipe
from schemas.selections import Selection
from trainer.config import DataSettings
from trainer.data import SampleRef, read_index, split
from trainer.order import Mix
from trainer.progress import warn
from trainer.recipes import common_recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class RunData:
    """The samples of a run."""

    training: list[SampleRef]
    held_out: list[SampleRef]
    mix: Mix
    """How the datasets share what is seen."""
    recipe: Recipe | None
    """How their base depth was made, where one of them says so."""
    datasets: list[Dataset]
    """In the order of `SampleRef.dataset`."""
    selections: dict[str, Selection]
    """What `data.selection` said, by dataset; empty where no selection was asked for."""


def read_run_data(roots: Sequence[str], settings: DataSettings) -> RunData:
    """The samples of datasets, local or remote. Raises DatasetError or SettingsError."""
    if settings.weights and len(settings.weights) != len(roots):
        raise SettingsError(
            f"{len(settings.weights)} weights for {len(roots)} datasets.",
            remedy="Give one for each (--weights).",
        )
    datasets = [Dataset.open(root) for root in roots]
    recipe = common_recipe(datasets, allow_unlike=settings.allow_unlike_recipes, warn=warn)
    index = [
        ref
        for number, dataset in enumerate(datasets)
        for ref in read_index(dataset, settings.where, number, selection=settings.selection)
    ]
    training, held_out = split(index, settings)
    counts = [sum(ref.dataset == number for ref in training) for number in range(len(roots))]
    if 0 in counts:
        raise SettingsError(
            f"{roots[counts.index(0)]} has no training samples: all of it is held out.",
            remedy="Name other keys in data.held_out, or leave the dataset out.",
        )
    return RunData(
        training=training,
        held_out=held_out,
        mix=Mix.of(counts, settings.weights),
        recipe=recipe,
        datasets=datasets,
        selections={root: Selection.load(root, name) for root in roots if (name := settings.selection)},
    )
