"""The command `doctor`: versions, models, codecs, rasterisers, memory and disk of this machine, each with a remedy."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipeline.assets import asset_path, cache_folder, tracking_assets
from pipeline.config import TrackingSettings
from pipeline.host.kernel_cache import kernel_place
from schemas.command_line import Commands
from schemas.errors import HumandepthError
from schemas.escaping import shown

LEAST_MEMORY_GB = 2.0
LEAST_DISK_GB = 2.0
COMPILE_S = 30
"""What compiling every kernel once takes one core (26 s measured)."""
_PACKAGES = (
    "numpy",
    "pyarrow",
    "apache-beam",
    "av",
    "opencv-python-headless",
    "numba",
    "ai-edge-litert",
)
_CODECS = ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was tried."""

    what: str
    works: bool
    detail: str
    remedy: str = ""
    is_fatal: bool = False
    """Whether `run` cannot work without it."""


def add_to(commands: Commands) -> None:
    """Adds the command."""
    doctor = commands.add(
        "doctor",
        "what works on this machine, and the remedy for what does not",
        about="Exit code 1 if `run` cannot work here.",
    )
    doctor.set_defaults(command=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    findings = examine()
    print_findings(findings)
    return 1 if any(finding.is_fatal and not finding.works for finding in findings) else 0


def examine() -> list[Finding]:
    """Tries everything that a run needs; never raises."""
    findings = []
    for name, check in _CHECKS:
        try:
            findings += list(check())
        except HumandepthError as error:
            findings.append(
                Finding(what=name, works=False, detail=error.message, remedy=error.remedy, is_fatal=True)
            )
        except Exception as error:
            findings.append(
                Finding(
                    what=name,
                    works=False,
                    detail=repr(error),
                    remedy="Please report this as a bug.",
                    is_fatal=True,
                )
            )
    return findings


def print_findings(findings: list[Finding]) -> None:
    """A line each; remedies below what does not work."""
    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        mark = "ok     " if finding.works else ("MISSING" if finding.is_fatal else "limited")
        console.print(f"{mark}  {finding.what}: {escape(shown(finding.detail))}")
        if not finding.works:
            console.print(f"         {escape(finding.remedy)}")


def _versions() -> Iterator[Finding]:
    yield Finding(what="python", works=True, detail=f"{platform.python_version()} on {platform.platform()}")
    for name in _PACKAGES:
        try:
            yield Finding(what=name, works=True, detail=metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(
                what=name,
                works=False,
                detail="not installed",
                remedy="pip install 'humandepth[pipeline]'",
                is_fatal=True,
            )


def _models() -> Iterator[Finding]:
    for name in tracking_assets(TrackingSettings()):
        try:
            yield Finding(what="model", works=True, detail=str(asset_path(name)))
        except HumandepthError as error:
            yield Finding(what="model", works=False, detail=error.message, remedy=error.remedy, is_fatal=True)


def _codecs() -> Iterator[Finding]:
    import av

    missing = [name for name in _CODECS if name not in av.codecs_available]
    yield Finding(
        what="video codecs",
        works=not missing,
        detail=f"no decoder for {', '.join(missing)}" if missing else f"{', '.join(_CODECS)}",
        remedy="Clips in these codecs fail: install another build of PyAV, or re-encode them.",
    )


def _rasterizers() -> Iterator[Finding]:
    from pipeline.rendering.choice import automatic_choice, make_rasterizer, opengl

    found = opengl()
    yield Finding(
        what="OpenGL",
        works=found is not None,
        detail=f"{found.renderer}, through {found.platform}"
        if found
        else "not available: no context can be made",
        remedy="Not needed: the compiled rasteriser is used. For OpenGL install libegl1 and libgl1-mesa-dri.",
    )
    name, reason = automatic_choice()
    rasterizer = make_rasterizer(name)
    rasterizer.close()
    detail = f"rendering.rasterizer=auto selects {name}: {reason}"
    yield Finding(what="rasteriser", works=True, detail=detail)


def _kernels() -> Iterator[Finding]:
    place, stays = kernel_place()
    detail = "no folder for them can be written: every process compiles them again"
    if place is not None:
        detail = f"kept in {place}" + ("" if stays else ", a temporary folder")
    yield Finding(
        what="compiled kernels",
        works=stays,
        detail=detail,
        remedy=f"Runs work, but compiling takes about {COMPILE_S} s of one core "
        + ("whenever that folder is emptied" if place is not None else "in every process")
        + ": set NUMBA_CACHE_DIR to a folder that stays and can be written.",
    )


def _memory() -> Iterator[Finding]:
    free_gb = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    yield Finding(
        what="memory",
        works=free_gb >= LEAST_MEMORY_GB,
        detail=f"{free_gb:.1f} GB free, {len(os.sched_getaffinity(0))} core(s); a worker takes about one GB",
        remedy=f"Close other programs: below {LEAST_MEMORY_GB:g} GB a worker may be killed.",
    )


def _disks() -> Iterator[Finding]:
    places: dict[str, tuple[Callable[[], str | Path], str]] = {
        "temporary files": (tempfile.gettempdir, "Free some space, or set TMPDIR to another folder."),
        "this folder": (os.getcwd, "Free some space, or give --out on another disk."),
        "models": (cache_folder, "Free some space, or set HUMANDEPTH_CACHE to another folder."),
    }
    for what, (place, remedy) in places.items():
        try:
            path = os.path.abspath(place())
        except (OSError, HumandepthError) as error:
            detail = getattr(error, "strerror", None) or getattr(error, "message", None) or str(error)
            yield Finding(what=f"disk for {what}", works=False, detail=detail, remedy=remedy, is_fatal=True)
            continue
        while not os.path.exists(path):
            path = os.path.dirname(path)
        free_gb, writable = shutil.disk_usage(path).free / 1e9, os.access(path, os.W_OK)
        yield Finding(
            what=f"disk for {what}",
            works=writable and free_gb >= LEAST_DISK_GB,
            detail=f"{path}: {free_gb:.1f} GB free{'' if writable else ', not writable'}",
            remedy=remedy,
        )


_CHECKS: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
    ("versions", _versions),
    ("models", _models),
    ("codecs", _codecs),
    ("rasterisers", _rasterizers),
    ("compiled kernels", _kernels),
    ("memory", _memory),
    ("disks", _disks),
)
