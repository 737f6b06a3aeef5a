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
from pipeline.method.named_files import file_digest
from pipeline.records import ClipRef, Segment
from pipeline.tracking.imported_bodies import bodies_path
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


def _files(work: Segment | ClipRef, settings: Settings) -> list[str]:
    """The files besides the film that its rows depend on."""
    files = [settings.body.file] if settings.body.file else []
    if settings.tracking.tracker == "network" and settings.tracking.network:
        files.append(settings.tracking.network)
    if settings.tracking.tracker == "imported":
        clip = work.clip if isinstance(work, Segment) else work
        bodies = bodies_path(Path(settings.tracking.bodies), clip.clip_id)
        files += [] if bodies is None else [str(bodies)]
    return files


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
        "files": [file_digest(file) for file in _files(work, settings)],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
