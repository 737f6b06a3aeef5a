"""What is compiled from changed sources is compiled again, also where only what a kernel calls has changed."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numba.core.dispatcher import Dispatcher

import pipeline
from pipeline.host import kernel_sources as module
from pipeline.host.kernel_cache import kernel_folder
from pipeline.host.kernel_sources import kernel_sources, source_digest

ROOT = Path(pipeline.__file__).parent.parent
CALLER = """
from pipeline.geometry.callee import inlined_part, separate_part
from pipeline.geometry.compiling import kernel

@kernel
def fill(values):
    for i in range(values.shape[0]):
        values[i] = inlined_part(values[i]) + separate_part(values[i])
"""
CALLEE = """
from pipeline.geometry.compiling import inlined, kernel
from pipeline.geometry.constants import OFFSET

@inlined
def inlined_part(value):
    return 10.0 * value

@kernel
def separate_part(value):
    return value + OFFSET
"""
WORK = """
import numpy as np
from pipeline.geometry.caller import fill
from pipeline.host.kernel_cache import kernel_place
values = np.array([1.0])
fill(values)
hits = fill.stats.cache_hits if hasattr(fill, "stats") else {}
print(values[0], "read" if hits else "compiled", kernel_place()[0])
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A kernel in one file that calls functions of a second, one of which names a constant of a third."""
    package = tmp_path / "installed"
    shutil.copytree(ROOT / "schemas", package / "schemas", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "pipeline/host", package / "pipeline/host", ignore=shutil.ignore_patterns("__pycache__")
    )
    (package / "pipeline/geometry").mkdir()
    for file in ("__init__.py", "geometry/__init__.py", "geometry/compiling.py"):
        shutil.copy(ROOT / "pipeline" / file, package / "pipeline" / file)
    (package / "pipeline/geometry/caller.py").write_text(CALLER)
    (package / "pipeline/geometry/callee.py").write_text(CALLEE)
    (package / "pipeline/geometry/constants.py").write_text("OFFSET = 0.5\n")
    return package


def _start(package: Path, **environment: str) -> tuple[float, str, Path]:
    """A new process: what the kernel makes of 1, whether it was read or compiled, and where it is kept."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(package),
        "NUMBA_NUM_THREADS": "1",
    } | environment
    done = subprocess.run(
        [sys.executable, "-B", "-c", WORK],
        env=environment, cwd=package.parent, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    value, how, place = done.stdout.split()
    return float(value), how, Path(place)


def test_a_kernel_follows_what_it_calls(package: Path) -> None:
    value, how, kept = _start(package)
    assert (value, how, kept.parent) == (11.5, "compiled", package / "pipeline/__pycache__")
    (package / "pipeline/geometry/unrelated.py").write_text("VALUE = 1\n")
    assert _start(package) == (11.5, "read", kept)
    callee, constants = (package / f"pipeline/geometry/{name}.py" for name in ("callee", "constants"))
    callee.write_text(CALLEE.replace("10.0 * value", "20.0 * value"))
    assert _start(package) == (21.5, "compiled", kept)
    constants.write_text("OFFSET = 0.75\n")
    assert _start(package) == (21.75, "compiled", kept)
    callee.write_text(CALLEE)
    constants.write_text("OFFSET = 0.5\n")
    assert _start(package) == (11.5, "read", kept)  # what the first process compiled
    assert not list(package.rglob("geometry/**/*.nb?"))  # nothing where numba would keep them


@pytest.mark.parametrize("place", ["given", "user", "temporary"])
def test_trees_that_share_a_place_have_kernels_of_their_own(
    package: Path, tmp_path: Path, place: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(package, other)
    (other / "pipeline/geometry/callee.py").write_text(CALLEE.replace("10.0", "30.0"))
    for tree in (package, other):
        (tree / "pipeline/__pycache__").write_text("no folder")
    folder = tmp_path / place
    folder.mkdir()
    environment = {
        "given": {"NUMBA_CACHE_DIR": str(folder)},
        "user": {"XDG_CACHE_HOME": str(folder)},
        "temporary": {"XDG_CACHE_HOME": str(package / "pipeline/__pycache__"), "TMPDIR": str(folder)},
    }[place]
    kept = _start(package, **environment)[2]
    assert kept.is_relative_to(folder)
    assert _start(other, **environment) == (31.5, "compiled", kept)
    assert _start(package, **environment) == (11.5, "read", kept)


def test_where_numba_cannot_write_kernels_are_compiled_and_not_kept(package: Path) -> None:
    """The place can be written, but not the folders in it: another user's, say."""
    for folder in _start(package)[2].glob("*/geometry_*"):
        shutil.rmtree(folder)
        folder.write_text("no folder")
    assert _start(package)[:2] == (11.5, "compiled")
    shutil.rmtree(package / "pipeline/geometry/__pycache__")  # numba's next choice
    (package / "pipeline/geometry/__pycache__").write_text("no folder")
    assert _start(package, XDG_CACHE_HOME=str(package / "pipeline/__init__.py"))[:2] == (11.5, "compiled")
    assert _start(package, NUMBA_DISABLE_JIT="1")[:2] == (11.5, "compiled")
    assert not list(package.rglob("*.nb?"))


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder whose packages count as this distribution's, and a process that begins after its files were made."""
    (tmp_path / "pipeline/part").mkdir(parents=True)
    for name, text in {
        "a": "import numpy\nfrom pipeline.part.b import (\n    X,\n)\n",
        "b": "if True:\n    import pipeline.part.c as c\nX = c.X\n",
        "c": "import trainer.x\nX = 1\n",
        "d": "from pipeline.part import a\n",
    }.items():
        (tmp_path / f"pipeline/part/{name}.py").write_text(text)
    monkeypatch.setattr(module, "_ROOT", str(tmp_path))
    monkeypatch.setattr(module, "LOADING_BEGAN_S", time.time() + 60)
    yield tmp_path / "pipeline/part"
    _forget()


def _forget() -> None:
    module._source.cache_clear()
    module._files.cache_clear()


def test_sources_are_found_through_imports(tree: Path) -> None:
    found = {name: [Path(path).stem for path in kernel_sources(str(tree / f"{name}.py"))] for name in "abcd"}
    assert found == {"a": ["a", "b", "c"], "b": ["b", "c"], "c": ["c"], "d": ["a", "b", "c", "d"]}


def test_a_digest_is_of_names_and_content_wherever_they_lie(
    tree: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = {name: source_digest(str(tree / f"{name}.py")) for name in "abc"}
    assert len(set(first.values())) == 3
    _forget()
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / "pipeline", elsewhere / "pipeline")
    monkeypatch.setattr(module, "_ROOT", str(elsewhere))
    assert source_digest(str(elsewhere / "pipeline/part/a.py")) == first["a"]
    (elsewhere / "pipeline/part/b.py").write_text("import pipeline.part.c as c\nX = 2\n")
    _forget()
    second = {name: source_digest(str(elsewhere / f"pipeline/part/{name}.py")) for name in "abc"}
    assert [name for name in "abc" if second[name] != first[name]] == ["a", "b"]


def test_nothing_is_kept_of_sources_that_changed_since_the_process_began(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was loaded may be the file as it was before, or after; nor of those that cannot be read."""
    assert source_digest(str(tree / "a.py")) is not None
    began_s = (tree / "c.py").stat().st_ctime
    monkeypatch.setattr(module, "LOADING_BEGAN_S", began_s)
    assert source_digest(str(tree / "a.py")) is None
    assert source_digest("<stdin>") is None


def test_every_kernel_is_kept_with_all_that_it_is_compiled_from() -> None:
    """Callees lie in the sources of their caller, and other names stand for numbers, which imports bring too."""
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "pipeline").rglob("*.py"))
        if "pipeline.geometry.compiling import" in path.read_text()
    ]
    assert len(names) >= 23
    loaded = [importlib.import_module(name) for name in names]
    kernels = {
        id(value): value for each in loaded for value in vars(each).values() if isinstance(value, Dispatcher)
    }
    assert len(kernels) >= 100
    for made in kernels.values():
        file = made.py_func.__code__.co_filename
        sources = kernel_sources(file)
        folder = kernel_folder(file)
        if made.stats.cache_path is not None:
            assert folder is not None
            assert Path(made.stats.cache_path).parent == folder
        for name in made.py_func.__code__.co_names:
            value = made.py_func.__globals__.get(name)
            if isinstance(value, Dispatcher):
                assert value.py_func.__code__.co_filename in sources, (file, name)
            else:
                is_number = isinstance(value, int | float | tuple | np.ndarray) or value is None
                assert is_number or getattr(value, "__name__", "") in ("numpy", "math"), (file, name, value)
