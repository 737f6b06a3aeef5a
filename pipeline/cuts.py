"""Where a clip was cut, remembered in the dataset, so that a resumed run need not look for shots again."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pipeline.sink import publish_text, read_json
from schemas.dataset import CUTS_PATH
from schemas.errors import DatasetError


def read_cuts(root: str, clip_id: str) -> dict[str, Any] | None:
    """What `write_cuts` wrote about a clip.

    None where nothing is known or the file is damaged, which its hash tells: the clip is then looked through again.
    """
    try:
        values = read_json(root, f"{CUTS_PATH}/{clip_id}.json")
    except DatasetError:
        return None
    if values is None or values.pop("sha256", None) != _digest(values):
        return None
    return values


def write_cuts(root: str, clip_id: str, values: dict[str, Any]) -> None:
    """Remembers `fingerprint`, `video` and `segments` of a clip, with their hash."""
    text = json.dumps(values | {"sha256": _digest(values)}, indent=1)
    publish_text(text + "\n", root, f"{CUTS_PATH}/{clip_id}.json")


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
