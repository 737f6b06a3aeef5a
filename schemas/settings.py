"""Frozen settings and `section.field=value` overrides. An unknown name or a wrong type is an error, never ignored."""

from __future__ import annotations

import dataclasses
import difflib
import json
import sys
import types
from collections.abc import Iterable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from schemas.documents import abbreviated, json_value
from schemas.errors import SettingsError

SettingsT = TypeVar("SettingsT")


def with_overrides(settings: SettingsT, overrides: Iterable[str]) -> SettingsT:
    """A copy of nested frozen dataclasses with `section.field=value` applied in order.

    Values are read as JSON where the field is not a string, so tuples are written `[1, 2, 3]` and None `null`.
    Raises SettingsError naming the setting, the value and the nearest known name.
    """
    for override in overrides:
        path, separator, text = override.partition("=")
        if not separator:
            raise SettingsError(
                f"{override!r} is no setting and value.",
                remedy="Write SECTION.FIELD=VALUE, for example pairs.max_references=6.",
            )
        settings = _replace(settings, path.strip().split("."), text.strip(), path.strip())
    return settings


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain JSON data, in field order."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return values


def from_dict(kind: type[SettingsT], values: Any) -> SettingsT:
    """The inverse of `as_dict`, with the same checks as overrides. Missing fields keep their defaults."""
    hints = get_type_hints(kind)
    if not isinstance(values, dict):
        raise SettingsError(
            f"{kind.__name__} is {abbreviated(values)}, expected an object.",
            remedy="Write {name: value, ...}.",
        )
    known: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise _unknown(name, name, hints)
        hint = hints[name]
        known[name] = (
            from_dict(hint, value)
            if isinstance(hint, type) and dataclasses.is_dataclass(hint)
            else _checked(value, hint, name)
        )
    return kind(**known)


def _replace(settings: Any, names: list[str], text: str, path: str) -> Any:
    hints = get_type_hints(type(settings))
    name = names[0]
    if name not in hints:
        raise _unknown(path, name, hints)
    is_section = dataclasses.is_dataclass(hints[name])
    if is_section != (len(names) > 1):
        kind = "a section and no single setting" if is_section else "a single setting and no section"
        raise SettingsError(f"setting {path!r}: {name!r} is {kind}.", remedy="Write SECTION.FIELD=VALUE.")
    value = (
        _replace(getattr(settings, name), names[1:], text, path)
        if is_section
        else _parsed(text, hints[name], path)
    )
    return dataclasses.replace(settings, **{name: value})


def _parsed(text: str, hint: Any, path: str) -> Any:
    if hint is str:
        return text
    try:
        value = json_value(text)
    except ValueError:
        value = text  # a bare word: right for strings and literals, refused by the check below otherwise
    return _checked(value, hint, path)


def _checked(value: Any, hint: Any, path: str) -> Any:
    if _fits(value, hint):
        return _converted(value, hint)
    raise SettingsError(
        f"setting {path!r} cannot be {abbreviated(value)}: its type is {type_text(hint)}.",
        remedy="The command `settings` lists names, types and units.",
    )


def type_text(hint: Any) -> str:
    """A type in words: `whole number`, `number or null`, `one of auto, off`, `list of numbers`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return " or ".join(map(type_text, args))
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}"
    if origin is tuple:
        count = "" if len(args) == 2 and args[1] is Ellipsis else f"{len(args)} "
        return f"list of {count}{type_text(args[0])}s"
    words = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null"}
    return words[hint]


def _converted(value: Any, hint: Any) -> Any:
    """Lists become tuples, and whole numbers become floats where only floats are meant."""
    if isinstance(value, list):
        return tuple(value)
    accepted = get_args(hint) or (hint,)
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_whole and float in accepted and int not in accepted else value


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, Union):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args
    if origin is tuple:
        if not isinstance(value, list | tuple):
            return False
        items = [args[0]] * len(value) if len(args) == 2 and args[1] is Ellipsis else list(args)
        return len(items) == len(value) and all(map(_fits, value, items))
    if hint is type(None):
        return value is None
    if hint is float:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return isinstance(value, float) or (is_whole and abs(value) <= sys.float_info.max)
    return isinstance(value, hint) and not (hint is int and isinstance(value, bool))


def _unknown(path: str, name: str, hints: dict[str, Any]) -> SettingsError:
    near = difflib.get_close_matches(name, hints, n=1)
    return SettingsError(
        f"unknown setting {path!r}.",
        remedy=f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(hints)}.",
    )
