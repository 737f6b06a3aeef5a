"""Overrides: right ones land, wrong ones are named with the nearest known setting."""

from __future__ import annotations

import pytest

from pipeline.config import Settings, preset
from schemas.errors import SettingsError
from schemas.settings import as_dict, from_dict, with_overrides


def test_overrides_land_with_their_types() -> None:
    settings = with_overrides(
        Settings(),
        [
            "pairs.max_references=4",
            "video.sample_fps=15",
            "rendering.rasterizer=compiled",
            "tracking.iterations=[1, 2]",
        ],
    )
    assert settings.pairs.max_references == 4
    assert settings.video.sample_fps == 15.0
    assert isinstance(settings.video.sample_fps, float)
    assert settings.rendering.rasterizer == "compiled"
    assert settings.tracking.iterations == (1, 2)
    assert with_overrides(settings, ["video.sample_fps=null"]).video.sample_fps is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pairs.max_refrences=4", "max_references"),
        ("pears.max_references=4", "pairs"),
        ("pairs.max_references=four", "its type is whole number"),
        ("pairs.max_references=true", "its type is whole number"),
        ("pairs.max_references=2.5", "its type is whole number"),
        ("pairs.max_references=0", "1 or more"),
        ("rendering.rasterizer=vulkan", "vulkan"),
        ("tracking.iterations=[1, 2, 3]", "iterations"),
        ("pairs=4", "section"),
        ("pairs.max_references", "SECTION.FIELD=VALUE"),
        ("pairs.max_references.deep=1", "single setting"),
    ],
)
def test_wrong_overrides_are_named(override: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        with_overrides(Settings(), [override])
    assert caught.value.exit_code == 2


def test_settings_survive_json() -> None:
    settings = preset("released")
    assert from_dict(Settings, as_dict(settings)) == settings
    assert settings.rendering.smoothing_passes == 4
    with pytest.raises(SettingsError, match="unknown setting"):
        from_dict(Settings, {"pairz": {}})
    with pytest.raises(SettingsError, match="unknown preset"):
        preset("papper")
