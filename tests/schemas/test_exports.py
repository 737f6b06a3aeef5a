"""What `import schemas`, `import trainer` and `import trainer.tracknet` offer, and that it costs no import of torch."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import pipeline
import schemas
import trainer

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("schemas", "trainer", "trainer.tracknet")


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_is_what_type_checkers_see(name: str) -> None:
    package = importlib.import_module(name)
    (typed,) = [
        node
        for node in ast.parse(inspect.getsource(package)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    homes = {
        alias.name: node.module
        for node in typed.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert set(homes) == set(package.__all__) - {"__version__"}
    for exported, home in homes.items():
        assert getattr(package, exported) is getattr(importlib.import_module(str(home)), exported)
        assert exported in dir(package)
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018 - asked for to see it refused


@pytest.mark.parametrize("name", PACKAGES)
def test_importing_a_package_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pyarrow", "cv2"} & set(done.stdout.split())


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert schemas.__version__ == trainer.__version__ == pipeline.__version__ == project["version"]


@pytest.mark.parametrize("name", ["schemas", "pipeline", "trainer"])
def test_packages_say_that_they_are_typed(name: str) -> None:
    assert (ROOT / name / "py.typed").is_file()
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "py.typed" in data[name]
