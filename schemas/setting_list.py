"""What settings there are: type, unit, default and reason of every one, read from the code that declares them.

A reason is the docstring under a field. A unit is the end of a field's name (`window_s`: seconds), or stands in
brackets in the reason: "Frames between detections (count)."
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_origin, get_type_hints

from schemas.command_line import nearest
from schemas.errors import SettingsError
from schemas.settings import type_text

UNITS = {
    "_rad_s2": "radians per second squared",
    "_m_s2": "metres per second squared",
    "_fps": "frames per second",
    "_frames": "frames",
    "_share": "share, 0 to 1",
    "_fraction": "share, 0 to 1",
    "_iou": "share, 0 to 1",
    "_rad": "radians",
    "_deg": "degrees",
    "_px": "pixels",
    "_m": "metres",
    "_s": "seconds",
}
"""Ends of names and what they mean, longer ones first."""
SAID_UNITS = ("count", "ratio", "share", "score", "seed")
"""What brackets in a reason may begin with instead: (count), (score, 0 to 1)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting, as `--set NAME=VALUE` takes it."""

    name: str
    type: str
    unit: str
    """Empty where the type says all: text, choices, true or false."""
    default: Any
    value: Any
    reason: str


def settings_in(default: Any, changed: Any = None, prefix: str = "") -> list[Setting]:
    """Every setting of nested frozen dataclasses in the order of the code; `changed` gives the values."""
    changed = default if changed is None else changed
    hints, reasons = get_type_hints(type(default)), reasons_of(type(default))
    found: list[Setting] = []
    for field in dataclasses.fields(default):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        before, after = getattr(default, field.name), getattr(changed, field.name)
        if dataclasses.is_dataclass(before):
            found += settings_in(before, after, f"{name}.")
            continue
        reason = reasons.get(field.name, "")
        found.append(
            Setting(
                name=name,
                type=type_text(hint),
                unit=unit_of(field.name, hint, reason),
                default=before,
                value=after,
                reason=reason,
            )
        )
    return found


def reasons_of(kind: type) -> dict[str, str]:
    """The docstring under every field of a class, as one line of text."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(node, ast.ClassDef)
    found = {}
    for field, below in zip(node.body, node.body[1:]):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = " ".join(below.value.value.split())
    return found


def unit_of(name: str, hint: Any, reason: str) -> str:
    """The unit that a setting's name or reason states; empty where its type needs none, or where none is stated."""
    if "_over_" in name:
        return "ratio"
    for end, unit in UNITS.items():
        if f"_{name}".endswith(end):
            return unit
    if hint in (bool, str) or get_origin(hint) is Literal:
        return ""
    said = re.search(rf"\(((?:{'|'.join(SAID_UNITS)})\b[^()]*)\)", reason)
    return said[1] if said else ""


def chosen(found: Sequence[Setting], name: str | None) -> list[Setting]:
    """The settings of a section, or the one of that name; all for None. Raises SettingsError for an unknown name."""
    if name is None:
        return list(found)
    some = [each for each in found if name in (each.name, each.name.rpartition(".")[0])]
    if not some:
        sections = list(dict.fromkeys(each.name.rpartition(".")[0] for each in found))
        raise SettingsError(
            f"{name!r} is neither a section nor a setting.",
            remedy=nearest(
                name, [*sections, *(each.name for each in found)], f"Sections: {', '.join(sections)}."
            ),
        )
    return some


def printed_settings(default: Any, changed: Any, name: str | None, *, as_json: bool = False) -> str:
    """What the command `settings` prints: those of a section, and where `changed` is given only what differs in it."""
    found = chosen(settings_in(default, changed), name)
    if changed is not None:
        found = [setting for setting in found if setting.value != setting.default]
    if as_json:
        return json.dumps([dataclasses.asdict(each) for each in found], indent=1)
    return as_text(found) if found else "No setting differs from its default."


def as_text(found: Iterable[Setting], width: int = 80) -> str:
    """The settings for reading: name and value, then type, unit and reason."""
    return "\n\n".join(_entry(each, width) for each in found)


def _entry(setting: Setting, width: int) -> str:
    differs = setting.value != setting.default
    kind = ", ".join(filter(None, (setting.type, setting.unit)))
    first = f"{setting.name} = {shown_value(setting.value)}" + (
        f"   (default: {shown_value(setting.default)})" if differs else ""
    )
    about = f"[{kind}] {setting.reason}".rstrip()
    lines = [
        textwrap.fill(first, width, subsequent_indent="    ", break_long_words=False),
        textwrap.fill(about, width, initial_indent="    ", subsequent_indent="    ", break_long_words=False),
    ]
    return "\n".join(lines)


def shown_value(value: Any) -> str:
    """A value as `--set` takes it, floats in four digits."""
    if isinstance(value, str):
        return value or '""'
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(shown_value, value))}]"
    return json.dumps(value)
