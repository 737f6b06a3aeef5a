"""Every setting has a reason and a unit, and `settings` lists them as `--set` takes them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest

from pipeline.commands.main import main
from pipeline.config import Settings, preset
from pipeline.studio.settings import StudioSettings
from schemas.errors import SettingsError
from schemas.setting_list import Setting, printed_settings, settings_in
from schemas.settings import as_dict, with_overrides

PIPELINE = settings_in(Settings())
STUDIO = settings_in(StudioSettings())


@dataclass(frozen=True, kw_only=True)
class Inner:
    window_s: float = 0.5
    """Half the width
    of the window."""
    count: int | None = None
    """Frames (count) that are kept."""
    bare: float = 1.0
    kind: Literal["a", "b"] = "a"
    """Which; `b` (ratio) is slow."""


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    levels_px: tuple[int, ...] = (64, 128)
    """Sides."""


@pytest.mark.parametrize("setting", [*PIPELINE, *STUDIO], ids=lambda setting: setting.name)
def test_every_setting_says_its_reason_and_unit(setting: Setting) -> None:
    assert len(setting.reason) > 10, f"{setting.name} has no docstring"
    assert setting.reason[0] not in ".…", f"{setting.name}: its reason does not stand alone"
    assert setting.reason.endswith("."), setting.name
    assert setting.unit or "number" not in setting.type, (
        f"{setting.name}: say (count), (ratio), (score) or a unit"
    )


def test_none_is_left_out() -> None:
    leaves = sum(len(values) for values in as_dict(Settings()).values())
    assert len(PIPELINE) == leaves
    for setting in PIPELINE:  # by the names that --set takes, in the order of the code
        with_overrides(Settings(), [f"{setting.name}={_written(setting.default)}"])


def _written(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_reasons_types_and_units_are_read_from_the_code() -> None:
    found = {setting.name: setting for setting in settings_in(Outer())}
    assert list(found) == ["inner.window_s", "inner.count", "inner.bare", "inner.kind", "levels_px"]
    window = found["inner.window_s"]
    assert (window.type, window.unit, window.reason) == ("number", "seconds", "Half the width of the window.")
    assert (found["inner.count"].type, found["inner.count"].unit) == ("whole number or null", "count")
    assert (found["inner.bare"].unit, found["inner.bare"].reason) == ("", "")
    assert (found["inner.kind"].type, found["inner.kind"].unit) == ("one of a, b", "")
    assert (found["levels_px"].type, found["levels_px"].unit) == ("list of whole numbers", "pixels")


def test_a_section_a_setting_and_what_differs() -> None:
    changed = with_overrides(Outer(), ["inner.kind=b"])
    assert printed_settings(Outer(), changed, None) == (
        "inner.kind = b   (default: a)\n    [one of a, b] Which; `b` (ratio) is slow."
    )
    assert printed_settings(Outer(), None, "inner").count("inner.") == 4
    assert printed_settings(Outer(), None, "levels_px").startswith("levels_px = [64, 128]\n")
    assert printed_settings(Outer(), Outer(), None) == "No setting differs from its default."
    with pytest.raises(SettingsError, match=r"neither a section nor a setting\. Did you mean inner\?"):
        printed_settings(Outer(), None, "iner")


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    text = capsys.readouterr().out
    assert all(len(line) <= 80 for line in text.splitlines())
    assert all(f"{setting.name} = " in text for setting in PIPELINE)
    assert main(["settings", "--preset", "released", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    released, paper = as_dict(preset("released")), as_dict(Settings())
    differing = {
        f"{section}.{name}": value
        for section, values in released.items()
        for name, value in values.items()
        if value != paper[section][name]
    }
    assert {each["name"]: each["value"] for each in listed} == differing
    assert set(listed[0]) == {"name", "type", "unit", "default", "value", "reason"}
    assert main(["settings", "studio"]) == 0
    assert "duration_s = 4\n    [number, seconds] Length of a clip." in capsys.readouterr().out
    assert main(["settings", "studio", "--preset", "released"]) == 2
    assert main(["settings", "pears"]) == 2
    assert "Did you mean pairs?" in capsys.readouterr().err
