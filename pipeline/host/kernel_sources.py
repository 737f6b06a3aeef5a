"""The source files that decide what a compiled kernel does, and one digest of them.

numba keeps machine code until the kernel's own file changes, but that code holds what the kernel calls and the
constants that it names, wherever they are written. They reach it through imports: the sources of a file are the file,
and over and over the files of this distribution that they import. Found by looking: a list of them would age.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cache
from glob import escape, glob

from pipeline.host.process_start import LOADING_BEGAN_S

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
_PACKAGES = ("pipeline", "schemas")


def kernel_sources(file: str) -> list[str]:
    """The file and all files that it imports directly or through others, sorted.

    Of a package that is imported by its own name every file counts. Raises OSError where one cannot be read.
    """
    found: set[str] = set()
    waiting = {file}
    while waiting:
        found |= waiting
        waiting = {imported for path in waiting for imported in _source(path)[1]} - found
    return sorted(found)


def source_digest(file: str) -> str | None:
    """64 bits of SHA-256, in hex, over names and bytes of `kernel_sources`: the same wherever the tree lies.

    None where nothing compiled from them may be kept, as the digest could belong to other code than was loaded: a
    source cannot be read, or it was written, renamed or linked after this process began to load the package.
    """
    try:
        paths = kernel_sources(file)
        changed_s = max(os.stat(path).st_ctime for path in paths)
    except OSError:
        return None
    if changed_s >= LOADING_BEGAN_S:
        return None
    facts = "".join(f"{path.removeprefix(_ROOT)} {_source(path)[0]}\n" for path in paths)
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


@cache
def _source(path: str) -> tuple[str, frozenset[str]]:
    """SHA-256 of a file, and the files that it imports."""
    with open(path, "rb") as stream:
        text = stream.read()
    imported = frozenset[str]().union(*(_files(module) for module in _imported_modules(text.decode())))
    return hashlib.sha256(text).hexdigest(), imported


def _imported_modules(text: str) -> Iterator[str]:
    """Of this distribution, absolute, one a line, as everywhere in the house; also lazily and for type checkers."""
    for line in text.splitlines():
        words = line.split() if "import " in line else []
        if len(words) > 1 and words[0] in ("from", "import") and words[1].split(".")[0] in _PACKAGES:
            yield words[1]


@cache
def _files(module: str) -> tuple[str, ...]:
    """The file of a module; all of a package's, which may offer the names of any."""
    stem = os.path.join(_ROOT, *module.split("."))
    return (f"{stem}.py",) if os.path.isfile(f"{stem}.py") else tuple(glob(f"{escape(stem)}/*.py"))
