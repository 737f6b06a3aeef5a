"""What a unit's rows depend on, as one SHA-256: if any of it changes, the unit is made again.

Code counts where it makes rows, not in commands, runner or audit: a changed message of `doctor` leaves finished units
finished. The versions of libraries whose numbers reach the rows count, and the digests of models, settings and films.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pipeline.assets import ASSETS
from pipeline.config import Settings
from pipeline.method.named_files import file_digest
from pipeline.records import ClipRef, Segment
from pipeline.tracking.imported_bodies import bodies_path
from schemas.settings import as_dict
from schemas.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]
ROW_MAKING = (
    "pipeline/config", "pipeline/records.py", "pipeline/geometry", "pipeline/body", "pipeline/video",
    "pipeline/rendering", "pipeline/tracking", "pipeline/refine", "pipeline/method",
    "schemas/column.py", "schemas/conventions.py", "schemas/errors.py", "schemas/escaping.py", "schemas/map_cells.py",
    "schemas/settings.py", "schemas/table.py", "schemas/tables.py",
)  # fmt: skip
"""What `pipeline.method` imports and the tables that it fills; not how files are named, stored and read (a test)."""
LIBRARIES = {
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "numba": ("numba",),
    "OpenCV": (
        "opencv-python-headless",
        "opencv-python",
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
    ),
    "PyAV": ("av",),
    "PySceneDetect": ("scenedetect-headless", "scenedetect"),
    "LiteRT": ("ai-edge-litert",),
    "ONNX Runtime": ("onnxruntime",),
}
"""Libraries whose numbers reach the rows, and the distributions that each of them comes in."""


@cache
def code_digest(places: Sequence[str] = ROW_MAKING, root: Path = ROOT) -> str:
    """SHA-256 over source files and data of files and folders below a root: names and bytes, in order."""
    digest = hashlib.sha256()
    for place in places:
        files = [root / place] if place.endswith(".py") else sorted((root / place).rglob("*"))
        for path in files:
            if path.suffix in (".py", ".npz", ".json") and "__pycache__" not in path.parts:
                digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """The installed version of each of `LIBRARIES`; empty where there is none."""
    return {name: _version(distributions) for name, distributions in LIBRARIES.items()}


def _version(distributions: Sequence[str]) -> str:
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return ""


def _files(work: Segment | ClipRef, settings: Settings) -> list[str]:
    """The files besides the film that its rows depend on."""
    files = [settings.body.file] if settings.body.file else []
    if settings.tracking.tracker == "network" and settings.tracking.network:
        files.append(settings.tracking.network)
    if settings.tracking.lifter:
        files.append(settings.tracking.lifter)
    if settings.rendering.clothes:
        files.append(settings.rendering.clothes)
    if settings.tracking.tracker == "imported":
        clip = work.clip if isinstance(work, Segment) else work
        bodies = bodies_path(Path(settings.tracking.bodies), clip.clip_id)
        files += [] if bodies is None else [str(bodies)]
    return files


def row_settings(settings: Settings) -> dict[str, Any]:
    """The settings that rows depend on: all but how the run is carried out."""
    return {name: values for name, values in as_dict(settings).items() if name != "run"}


def fingerprint(
    work: Segment | ClipRef, settings: Settings, made_by: Callable[..., Any] | None = None
) -> str:
    """SHA-256 of code, libraries, models, settings, table versions and the work (a segment carries its file's digest).

    `made_by` is what makes the tracker where it is not the settings' own: its folder and its arguments count too.
    """
    facts = {
        "code": code_digest(),
        "libraries": library_versions(),
        "models": {name: asset.sha256 for name, asset in ASSETS.items() if name.endswith(".tflite")},
        "settings": row_settings(settings),
        "tables": {name: table.version for name, table in TABLES.items()},
        "work": asdict(work),
        "files": [file_digest(file) for file in _files(work, settings)],
        "made_by": _maker_facts(made_by),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _maker_facts(made_by: Callable[..., Any] | None) -> dict[str, str]:
    """Of a maker outside the folders that count anyway. Paths among its arguments do not count, files may move."""
    function = made_by.func if isinstance(made_by, partial) else made_by
    names = getattr(function, "__module__", "").split(".")
    place = "/".join(names[:2])
    if names[0] != "pipeline" or place in ROW_MAKING:
        return {}
    values = made_by.keywords if isinstance(made_by, partial) else {}
    return {"code": code_digest((place,))} | {
        name: repr(value) for name, value in values.items() if not isinstance(value, Path)
    }
