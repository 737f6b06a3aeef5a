"""Where compiled kernels are kept: chosen before numba is imported, because numba fails where it finds no place.

In this order: $NUMBA_CACHE_DIR, the package's own folders, the user's cache folder (both are numba's own choices), a
private folder among the temporary files. Where none can be written every process compiles anew.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

_ENVIRONMENT = "NUMBA_CACHE_DIR"
_PARTS = ("geometry", "refine", "rendering")
"""Of the package, that hold kernels."""


def prepared_kernel_cache() -> tuple[Path | None, bool]:
    """The folder where kernels are kept, None for nowhere, and whether it is there for good.

    Sets $NUMBA_CACHE_DIR where numba would not find that folder itself.
    """
    given = os.environ.get(_ENVIRONMENT)
    if given and _can_hold(Path(given)):
        return Path(given), not _is_temporary(Path(given))
    package = Path(__file__).resolve().parent.parent
    if all(_can_hold(package / part / "__pycache__") for part in _PARTS):
        return package, True
    user = _user_cache()
    if user is not None and _can_hold(user / "numba"):
        return user / "numba", True
    temporary = _temporary_cache()
    if temporary is not None:
        os.environ[_ENVIRONMENT] = str(temporary)
    return temporary, False


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


def _temporary_cache() -> Path | None:
    """A folder that only this user can have written: numba unpickles what lies in it."""
    try:
        folder = Path(tempfile.gettempdir(), f"humandepth-kernels-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return None
    is_private = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077
    return folder if is_private and _can_hold(folder) else None


def _is_temporary(folder: Path) -> bool:
    return folder.name == f"humandepth-kernels-{os.getuid()}"


KERNEL_CACHE, KERNEL_CACHE_STAYS = prepared_kernel_cache()
KERNELS_ARE_CACHED = KERNEL_CACHE is not None
"""What every kernel's `cache=` is."""
