"""Sources that were forgotten: a file each, which says that no run may bring them back."""

from __future__ import annotations

import hashlib
from pathlib import Path

from schemas.documents import abbreviated, damaged, json_object, text_of
from schemas.files import Files

TOMBSTONES_PATH = "meta/tombstones"
_REMEDY = 'Write {"source_id": ID} into it, with the forgotten source\'s id: its rows must not come back.'


def tombstoned_sources(root: Files | Path | str) -> set[str]:
    """Ids of the sources that were forgotten. Raises DatasetError for a damaged tombstone."""
    files = root if isinstance(root, Files) else Files(root)
    return {read_tombstone(files, file.name) for file in files.listed(TOMBSTONES_PATH, ".json")}


def read_tombstone(files: Files, name: str) -> str:
    """The source that a tombstone is of. Raises DatasetError."""
    path = f"{TOMBSTONES_PATH}/{name}"
    try:
        source_id = text_of(json_object(files.read(path)).get("source_id"), "source_id")
        if tombstone_path(source_id) != path:
            raise ValueError(f"its name is not that of source {abbreviated(source_id)}")
    except (OSError, ValueError) as error:
        raise damaged(files.place(path), error, remedy=_REMEDY) from error
    return source_id


def tombstone_path(source_id: str) -> str:
    """Where a source's tombstone lies, relative to the root: any id makes a safe file name."""
    return f"{TOMBSTONES_PATH}/{hashlib.sha256(source_id.encode()).hexdigest()[:16]}.json"
