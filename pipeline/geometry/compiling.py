"""How kernels are compiled, stated once: numpy's division, no fast-math, without the interpreter's lock, and kept.

The same input gives the same bits on every x86-64 machine. The decorators keep a function's type. No other module
imports numba: it alone would keep a kernel whose file is the same though what the kernel calls has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar, cast

from numba import config, njit

from pipeline.host.kernel_cache import kernel_folder

Function = TypeVar("Function", bound=Callable[..., Any])
_DECORATING = Lock()


def kernel(function: Function) -> Function:
    """A compiled loop over arrays that callers own; compiled when it is first called, then read from the cache."""
    folder = None if config.DISABLE_JIT else kernel_folder(function.__code__.co_filename)
    kept = None if folder is None else _kept(function, folder)
    return cast(Function, njit(error_model="numpy", nogil=True)(function) if kept is None else kept)


def inlined(function: Function) -> Function:
    """Arithmetic that becomes part of the kernels that call it."""
    return cast(Function, njit(inline="always", error_model="numpy")(function))


def subroutine(function: Function) -> Function:
    """What kernels call without inlining it; kept with them."""
    return cast(Function, njit(error_model="numpy")(function))


def _kept(function: Callable[..., Any], folder: Path) -> Any | None:
    """The kernel kept in a folder and nowhere else; None where numba cannot write there.

    numba reads its setting when it decorates: other packages' kernels stay where they are.
    """
    with _DECORATING:
        elsewhere, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            made = njit(cache=True, error_model="numpy", nogil=True)(function)
        except RuntimeError:  # no place at all can be written
            return None
        finally:
            config.CACHE_DIR = elsewhere
    return made if Path(made.stats.cache_path).is_relative_to(folder) else None
