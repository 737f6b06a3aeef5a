"""Where compiled kernels are kept: a folder for every state of their sources, in the first place that can be written.

The places, in this order: $NUMBA_CACHE_DIR, the package's own folder, the user's cache folder, a private folder among
the temporary files. Where none can be written every process compiles anew.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from pipeline.host.kernel_sources import source_digest

_ENVIRONMENT = "NUMBA_CACHE_DIR"
_FOLDER = "humandepth-kernels"
IDLE_S = 7 * 86400.0
"""Folders of earlier sources that no process opened for so long are removed; one takes some 0.3 MB."""
_TOUCHED_EVERY_S = 86400.0


@cache
def kernel_folder(file: str) -> Path | None:
    """The folder for kernels that a source file defines, made where it was missing; None where none may be kept.

    Its name holds the digest of all that those kernels are compiled from: after a change of any of it another folder is
    used, and processes of older code go on with theirs. Whoever makes a folder removes the idle ones of the same file.
    """
    place, _ = kernel_place()
    digest = source_digest(file) if place is not None else None
    if place is None or digest is None:
        return None
    name = f"{Path(file).parent.name}.{Path(file).stem}"
    folder = place / f"{name}-{digest}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        _touch(folder)
    except OSError:
        return None
    else:
        _remove_idle(place, name)
    return folder


@cache
def kernel_place() -> tuple[Path | None, bool]:
    """The folder that holds those of all kernels, None for nowhere, and whether it is there for good."""
    given = os.environ.get(_ENVIRONMENT)
    package = Path(__file__).absolute().parent.parent
    user = _user_cache()
    lasting = [Path(given).absolute()] if given else []
    lasting += [package / "__pycache__"] + ([user / "numba"] if user is not None else [])
    for place in lasting:
        if _can_hold(place / _FOLDER):
            return place / _FOLDER, True
    return _temporary_place(), False


def _can_hold(folder: Path) -> bool:
    """Whether a folder, or the one that it can be made in, can be written: tried, because rights do not tell all."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _user_cache() -> Path | None:
    """The user's cache folder as numba looks for it; None for a user without a home."""
    home = os.path.expanduser("~")
    chosen = os.environ.get("XDG_CACHE_HOME")
    if chosen:
        return Path(chosen)
    return Path(home, ".cache") if os.path.isabs(home) else None


def _temporary_place() -> Path | None:
    """A folder that only this user can have written: numba unpickles what lies in it."""
    try:
        folder = Path(tempfile.gettempdir(), f"{_FOLDER}-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    is_private = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077
    return folder if is_private and _can_hold(folder) else None


def _touch(folder: Path) -> None:
    """Notes in its time that a folder is in use, at most once a day."""
    with suppress(OSError):  # another user's, or just removed
        if time.time() - folder.stat().st_mtime > _TOUCHED_EVERY_S:
            os.utime(folder)


def _remove_idle(place: Path, name: str) -> None:
    """A process that still runs with such a folder misses nothing: numba makes it again where it is gone."""
    for folder in place.glob(f"{name}-*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > IDLE_S:
                shutil.rmtree(folder)
