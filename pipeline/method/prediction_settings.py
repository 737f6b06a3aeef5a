"""Settings of a prediction: those of the dataset that its network was trained on, checked against the files here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pipeline.config import Settings, preset
from pipeline.method.named_files import check_named_files, named_file_digests
from pipeline.rendering import resolve_backend
from schemas.errors import SettingsError
from schemas.recipe import BODIES, CLOTHES, NAMED_FILES, SURFACE, Recipe
from schemas.settings import as_dict, from_dict, with_overrides


def prediction_settings(
    recipe: Recipe | None,
    *,
    preset_name: str | None = None,
    overrides: Sequence[str] = (),
    allow_mismatch: bool = False,
    warn: Callable[[str], None],
) -> Settings:
    """Settings to find people in pictures with: a recipe's, or a preset's, with `section.field=value` overrides.

    `warn` hears of every setting that changes base depth and is not the recipe's. Raises SettingsError where a file
    that the settings name is missing, or is another one than the recipe's and that is not allowed.
    """
    if recipe is not None and preset_name is None:
        try:
            settings = from_dict(Settings, {name: dict(values) for name, values in recipe.settings.items()})
        except SettingsError as error:
            raise SettingsError(
                f"the checkpoint's base depth was made by another version: {error.message}",
                remedy="Use that version, or --preset paper.",
            ) from error
    else:
        settings = preset(preset_name or "paper")
    drawn_by = settings.rendering.rasterizer
    backend = "compiled" if drawn_by == "compiled" else resolve_backend("auto")
    settings = with_overrides(settings, [f"rendering.rasterizer={backend}", *overrides])
    check_named_files(settings)
    if recipe is not None:
        for line in recipe.differences(Recipe.of(as_dict(settings), {}), (*SURFACE, *BODIES)):
            warn(f"in training and now, {line}")
        _check_files(recipe, settings, allow_mismatch, warn)
    return settings


def _check_files(
    recipe: Recipe, settings: Settings, allow_mismatch: bool, warn: Callable[[str], None]
) -> None:
    digests = named_file_digests(settings)
    paths = {
        "body.file": settings.body.file or "the open body",
        "tracking.network": settings.tracking.network,
        "tracking.lifter": settings.tracking.lifter,
        "rendering.clothes": settings.rendering.clothes,
    }
    for name in NAMED_FILES:
        found, expected = digests.get(name), recipe.sha256.get(name)
        is_known_to_both = found is not None and expected is not None
        if found == expected or not (is_known_to_both or name == CLOTHES):
            continue
        now, then = _file(paths[name], found), _file(recipe.get(name) or "the open body", expected)
        said = f"{name}: this is {now}, the network was trained with {then}."
        if not allow_mismatch:
            raise SettingsError(
                said, remedy=f"Give that file: --set {name}=PATH. Or accept this one: --allow-mismatch."
            )
        warn(said)


def _file(path: str, sha256: str | None) -> str:
    return "none" if sha256 is None else f"{path} of SHA-256 {sha256[:12]}"
