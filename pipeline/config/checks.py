"""Refusing settings that cannot be."""

from __future__ import annotations

from schemas.errors import SettingsError


def require(condition: bool, setting: str, value: object, remedy: str) -> None:
    """Raises SettingsError naming setting, value and remedy unless the condition holds."""
    if not condition:
        raise SettingsError(f"setting {setting!r} cannot be {value!r}.", remedy=remedy)
