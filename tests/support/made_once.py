"""What is dear to make and only read: made by whichever test process comes first, taken by the others."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The folder that `make` filled, the same for every process of this test run; nobody may change what is in it.

    Whoever comes while it is being made waits. One that fails leaves no mark, so that the next one tries (and fails)
    by itself.
    """
    of_run = factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        of_run = of_run.parent  # every process of pytest-xdist has a folder of its own in it
    folder, mark = of_run / name, of_run / f"{name}.made"
    with open(of_run / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            mark.touch()
    return folder
