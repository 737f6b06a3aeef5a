"""How kernels are compiled, stated once: numpy's division, no fast-math, without the interpreter's lock, and kept.

The same input gives the same bits on every x86-64 machine. The decorators keep a function's type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

from pipeline.host.kernel_cache import KERNELS_ARE_CACHED

Function = TypeVar("Function", bound=Callable[..., Any])


def kernel(function: Function) -> Function:
    """A compiled loop over arrays that callers own; compiled when it is first called, then read from the cache."""
    return cast(Function, njit(cache=KERNELS_ARE_CACHED, error_model="numpy", nogil=True)(function))


def called(function: Function) -> Function:
    """What kernels call as it is, too long to become part of each."""
    return cast(Function, njit(error_model="numpy")(function))


def inlined(function: Function) -> Function:
    """Arithmetic that becomes part of the kernels that call it."""
    return cast(Function, njit(inline="always", error_model="numpy")(function))
