"""The recipe of a run's datasets: how the base depth was made that a network is trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from schemas.dataset import FILES_PATH, SETTINGS_PATH, Dataset
from schemas.documents import damaged, json_object
from schemas.errors import SettingsError
from schemas.recipe import BODIES, NAMED_FILES, SURFACE, Recipe
from schemas.work_record import file_sha256

_REMEDY = "Run the pipeline again on this folder."


def recipe_of(dataset: Dataset) -> Recipe | None:
    """What the dataset's `meta/` says; None where it says nothing. Raises DatasetError where that is damaged.

    Files are known by `meta/files.json`; a dataset made before there was one is asked for the files themselves.
    """
    values, digests = _document(dataset, SETTINGS_PATH), _document(dataset, FILES_PATH) or {}
    if values is None:
        return None
    try:
        recipe = Recipe.of(values, digests)
        found = {
            name: file_sha256(str(recipe.get(name)))
            for name in NAMED_FILES
            if name not in digests and recipe.get(name) and Path(str(recipe.get(name))).is_file()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise damaged(f"{dataset.name}/{SETTINGS_PATH} or {FILES_PATH}", error, remedy=_REMEDY) from error
    return Recipe.of(values, {**digests, **found})


def common_recipe(
    datasets: Sequence[Dataset], *, allow_unlike: bool, warn: Callable[[str], None]
) -> Recipe | None:
    """The recipe of all datasets: that of the first that has one.

    Datasets whose body, lens or mesh differ give base depths that are wrong in different ways, of which a network
    learns neither: a SettingsError unless allowed. Other trackers only err differently, which `warn` hears of.
    """
    known = [(dataset, recipe) for dataset in datasets if (recipe := recipe_of(dataset)) is not None]
    if not known:
        return None
    first, recipe = known[0]
    for other, theirs in known[1:]:
        unlike = [*recipe.differences(theirs, SURFACE), *recipe.file_differences(theirs)]
        if unlike and not allow_unlike:
            raise SettingsError(
                f"the base depths of {first.name} and {other.name} were made differently: {'; '.join(unlike)}.",
                remedy="Train on one of them, make the other again with the same settings, or accept it: "
                "--set data.allow_unlike_recipes=true.",
            )
        for line in [*unlike, *recipe.differences(theirs, BODIES)]:
            warn(f"{first.name} and {other.name}: {line}; predictions follow the first")
    return recipe


def _document(dataset: Dataset, relative: str) -> dict[str, Any] | None:
    try:
        content = dataset.document(relative)
        return None if content is None else json_object(content)
    except (OSError, ValueError) as error:
        raise damaged(f"{dataset.name}/{relative}", error, remedy=_REMEDY) from error
