"""Where a clip was cut, remembered in the dataset, so that a resumed run need not look for shots again."""

from __future__ import annotations

import json
from typing import Any

from pipeline.dataset.storage import publish_text, read_json
from schemas.dataset import CUTS_PATH
from schemas.documents import json_sha256
from schemas.errors import DatasetError


def read_cuts(root: str, clip_id: str) -> dict[str, Any] | None:
    """What `write_cuts` wrote about a clip.

    None where nothing is known or the file is damaged, which its hash tells: the clip is then looked through again.
    """
    try:
        values = read_json(root, f"{CUTS_PATH}/{clip_id}.json")
        expected = values.pop("sha256", None) if values else None
        return values if values and expected == json_sha256(values) else None
    except (DatasetError, ValueError):
        return None


def write_cuts(root: str, clip_id: str, values: dict[str, Any]) -> None:
    """Remembers `fingerprint`, `video` and `segments` of a clip, with their hash."""
    text = json.dumps(values | {"sha256": json_sha256(values)}, indent=1)
    publish_text(text + "\n", root, f"{CUTS_PATH}/{clip_id}.json")
