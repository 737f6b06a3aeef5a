"""What a worker's C heap holds on to. Freed blocks stay with the process until they are asked for back."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TypeVar

LARGE_BLOCK_BYTES = 8 * 2**20
"""More than any map, motion field or picture that comes and goes with each pair; less than a frame of 4K."""
_TOP_BYTES = 8 * LARGE_BLOCK_BYTES
"""What stays free at the heap's top; else each large array there would be given back and mapped anew."""
FRAMES_BETWEEN_RETURNS = 64
"""Frames, or targets, after which freed memory is handed back: often enough for memory, seldom enough for time. With 16
the demo clip takes 150,000 page faults more (of 470,000, some 2 us each), and 6 MB less."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Of glibc's malloc.h."""
Item = TypeVar("Item")


@cache
def return_large_blocks_when_freed() -> None:
    """From now on blocks of 8 MB and more leave the process as soon as they are freed; only glibc can.

    glibc begins with 128 kB, and raises that limit to the size of whatever was freed, up to 32 MB. With 128 kB held, a
    fifth of a clip's CPU time was the kernel's, which maps and clears pages for arrays that live for milliseconds: 7.5
    million pages of the demo clip, 2.3 us each. With 32 MB large arrays come to lie between small ones that stay, and
    their holes are lost, unless `return_free_memory` is called now and then (`with_memory_returned`).
    """
    for parameter, value in (
        (_MMAP_THRESHOLD, LARGE_BLOCK_BYTES),
        (_TRIM_THRESHOLD, _TOP_BYTES),
        (_ARENA_MAX, 1),
    ):
        _of_glibc("mallopt", ctypes.c_int, ctypes.c_int)(parameter, value)


def return_free_memory() -> None:
    """Hands the pages of freed blocks back to the system; does nothing where the C library cannot (only glibc can).

    glibc gives back the top of its heap only. Blocks that lie between others, as pictures, rasters and encoded maps
    do, add up: 230 MB after 300 samples.
    """
    _of_glibc("malloc_trim", ctypes.c_size_t)(0)


def with_memory_returned(items: Iterable[Item]) -> Iterator[Item]:
    """The items; freed memory is handed back after every few of them."""
    for count, item in enumerate(items, start=1):
        yield item
        if count % FRAMES_BETWEEN_RETURNS == 0:
            return_free_memory()


@cache
def _of_glibc(name: str, *arguments: type) -> Callable[..., int]:
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (OSError, AttributeError, TypeError):
        return lambda *_: 0
    function.argtypes, function.restype = list(arguments), ctypes.c_int
    typed: Callable[..., int] = function
    return typed


def peak_mb() -> int:
    """The most resident memory this process has used, in MB."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) // 1000
    scale = 1_000_000 if os.uname().sysname == "Darwin" else 1000
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // scale
