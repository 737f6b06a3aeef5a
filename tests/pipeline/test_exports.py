"""What packages offer by name: every name is there, and importing the package alone loads none of it."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

PACKAGES = ("pipeline.geometry", "pipeline.method")
HEAVY = ("numba", "scipy", "torch", "cv2", "av")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    assert sorted(package.__all__) == dir(package)
    for exported in package.__all__:
        assert getattr(package, exported) is not None


@pytest.mark.parametrize("name", PACKAGES)
def test_the_package_alone_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print([each for each in {HEAVY} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_names_that_are_not_there_are_said() -> None:
    with pytest.raises(AttributeError, match=r"module 'pipeline\.geometry' has no attribute 'nothing'"):
        importlib.import_module("pipeline.geometry").nothing  # noqa: B018
