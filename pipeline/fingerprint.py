"""What a unit's rows depend on, as one SHA-256: if any of it changes, the unit is made again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import pipeline
import schemas
from pipeline.config import Settings
from pipeline.records import ClipRef, Segment
from schemas.errors import AssetError
from schemas.settings import as_dict
from schemas.tables import TABLES


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 over the source files and body data of `pipeline` and `schemas`."""
    digest = hashlib.sha256()
    for package in (pipeline, schemas):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*")):
            if path.suffix in (".py", ".npz", ".json") and "__pycache__" not in path.parts:
                digest.update(
                    f"{root.name}/{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes()
                )
    return digest.hexdigest()


@lru_cache(maxsize=8)
def file_digest(path: str) -> str:
    """SHA-256 of a file that a setting names. Raises AssetError where it cannot be read."""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise AssetError(
            f"{path} cannot be read ({error}).", remedy="Check the path in the settings."
        ) from error


def row_settings(settings: Settings) -> dict[str, Any]:
    """The settings that rows depend on: all but how the run is carried out."""
    return {name: values for name, values in as_dict(settings).items() if name != "run"}


def fingerprint(work: Segment | ClipRef, settings: Settings) -> str:
    """SHA-256 of code, settings, table versions and the work itself (a segment carries its file's digest)."""
    facts = {
        "code": code_digest(),
        "settings": row_settings(settings),
        "tables": {name: table.version for name, table in TABLES.items()},
        "work": asdict(work),
        "files": [file_digest(file) for file in (settings.body.file,) if file],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
