"""The one place where JSON documents of datasets are read: a damaged one becomes a DatasetError that names it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from schemas.errors import DatasetError

_SHOWN = 200


def json_value(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError, and nothing else, where it is not JSON in UTF-8 or too deep."""
    try:
        return json.loads(text.decode() if isinstance(text, bytes) else text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_object(text: str | bytes) -> dict[str, Any]:
    """`json_value` of a text that holds an object. Raises ValueError."""
    value = json_value(text)
    if not isinstance(value, dict):
        raise ValueError(f"it holds {type(value).__name__}, expected an object")
    return value


def json_sha256(values: Mapping[str, Any]) -> str:
    """SHA-256 of plain data as JSON, which a document holds of the rest of itself. Raises ValueError: too deep."""
    try:
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_document(path: Path, *, remedy: str) -> dict[str, Any]:
    """The object that a JSON file holds. Raises DatasetError naming the file, with this remedy."""
    try:
        return json_object(path.read_bytes())
    except (OSError, ValueError) as error:
        raise damaged(path, error, remedy=remedy) from error


def damaged(path: Path | str, why: object, *, remedy: str) -> DatasetError:
    """The error of a document whose content is not what it should be."""
    return DatasetError(f"{path} cannot be read: {str(why).rstrip('.')}.", remedy=remedy)


def whole_number(value: Any, name: str) -> int:
    """A count or size out of a document. Raises ValueError for anything but an integer from 0 to 2^63 - 1."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError(f"{name} is {abbreviated(value)}, expected a whole number")
    return value


def text_of(value: Any, name: str) -> str:
    """A text out of a document. Raises ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {abbreviated(value)}, expected a text")
    return value


def abbreviated(value: Any) -> str:
    """A value in a message, whatever its size."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # more digits than Python prints, or too deep
        return f"a huge {type(value).__name__}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
