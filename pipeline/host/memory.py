"""What a worker's C heap holds on to. Freed blocks stay with the process until they are asked for back."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

LARGE_BLOCK_BYTES = 128 * 1024
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8
"""Of glibc's malloc.h."""


@cache
def return_large_blocks_when_freed() -> None:
    """From now on blocks of 128 kB and more leave the process as soon as they are freed; only glibc can.

    glibc begins so too, but raises that limit to the size of whatever was freed, up to 32 MB. After the first frame
    large arrays lie between small ones that stay, and their holes are lost: following seven people through 600 frames
    of 640 x 360 took 976 MB, with this limit held 573. A frame's pages are mapped anew, .2 us each.
    """
    for parameter, value in ((_MMAP_THRESHOLD, LARGE_BLOCK_BYTES), (_ARENA_MAX, 1)):
        _of_glibc("mallopt", ctypes.c_int, ctypes.c_int)(parameter, value)


def return_free_memory() -> None:
    """Hands the pages of freed blocks back to the system; does nothing where the C library cannot (only glibc can).

    glibc gives back the top of its heap only. Blocks of a megabyte and less that lie between others, as pictures,
    rasters and encoded maps do, add up: 230 MB after 300 samples.
    """
    _of_glibc("malloc_trim", ctypes.c_size_t)(0)


@cache
def _of_glibc(name: str, *arguments: type) -> Callable[..., int]:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return lambda *_: 0
    function.argtypes, function.restype = list(arguments), ctypes.c_int
    return function


def peak_mb() -> int:
    """The most resident memory this process has used, in MB."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1000
    scale = 1_000_000 if os.uname().sysname == "Darwin" else 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // scale
