"""The settings that a dataset was made with, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import Settings
from pipeline.rendering import resolve_backend
from schemas.dataset import SETTINGS_PATH, SETTINGS_REMEDY, Dataset
from schemas.documents import damaged
from schemas.errors import SettingsError
from schemas.settings import from_dict, with_overrides


def settings_of(dataset: Dataset) -> Settings:
    """The settings a dataset was made with, with a rasteriser that this machine has. Raises DatasetError."""
    settings = made_with(dataset)
    wanted = settings.rendering.rasterizer
    backend = "compiled" if wanted == "compiled" else resolve_backend("auto")
    return with_overrides(settings, [f"rendering.rasterizer={backend}"])


def made_with(dataset: Dataset) -> Settings:
    """The settings a dataset was made with. Raises DatasetError."""
    values, path = dataset.json_document(SETTINGS_PATH), dataset.files.place(SETTINGS_PATH)
    if values is None:
        raise damaged(path, "there is no such file", remedy=SETTINGS_REMEDY)
    return stored_settings(values, path)


def stored_settings(values: dict[str, Any], path: Path | str) -> Settings:
    """Settings as `meta/settings.json` holds them. Raises DatasetError naming that file."""
    try:
        return from_dict(Settings, values)
    except SettingsError as error:
        raise damaged(path, error.message, remedy=SETTINGS_REMEDY) from error
