"""The dependency rule, the size rule and the naming rule, read from the code itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("schemas", "pipeline", "trainer")
T = TypeVar("T")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FILES = frozenset(SOURCES)
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}

ORDER = (
    ("host",), ("config",), ("geometry",), ("records", "assets"), ("body", "rendering", "video"), ("tracking",),
    ("refine",), ("method",), ("dataset",), ("audit",), ("foreign", "inspection", "studio", "download"), ("runner",),
    ("commands",),
)  # fmt: skip
"""The folders of `pipeline` from the ground up: each imports those before it, never its neighbours in a bracket."""
RANK = {part: rank for rank, parts in enumerate(ORDER) for part in parts}
CROSSINGS = ("pipeline.method.picture_bodies", "pipeline.method.prediction_settings")
"""What of `pipeline` the trainer may use: a photo's base depth."""
ENTRIES = ("pipeline/__init__.py", "pipeline/__main__.py")
ONLY_IN = {
    "apache_beam": (
        "pipeline/runner/graph.py",
        "pipeline/runner/beam_engine.py",
        "pipeline/runner/beam_flags.py",
        "pipeline/runner/beam_options.py",
        "pipeline/runner/beam_service.py",
        "pipeline/dataset/buckets.py",
    ),
    "grpc": ("pipeline/runner/beam_options.py", "pipeline/runner/beam_service.py"),
    "pyspark": ("pipeline/runner/spark_",),
    "argparse": (
        "pipeline/commands/",
        "schemas/command_line.py",
        "pipeline/runner/beam_flags.py",  # Beam's parser raises argparse's error
    ),
    "pyrender": ("pipeline/rendering/pyrender_gl.py",),
    "OpenGL": ("pipeline/rendering/pyrender_gl.py",),
    "numba": ("pipeline/geometry/compiling.py",),
    "smplx": ("pipeline/body/smplx_check.py",),
    "anny": ("pipeline/body/",),
    "av": ("pipeline/video/", "pipeline/commands/doctor.py"),
    "scenedetect": ("pipeline/video/",),
    "ai_edge_litert": ("pipeline/tracking/",),
    "onnxruntime": ("pipeline/tracking/",),
    "rerun": ("pipeline/inspection/",),
    "yt_dlp": ("pipeline/download/",),
    "pickle": (),
}
WITH_TORCH = ("pipeline/body/anny_source.py", "pipeline/body/smplx_check.py")
"""Of the extras `body-build` and `smplx`; a torch with CUDA has gigabytes."""


def imports_of(path: Path) -> Iterator[str]:
    """Every module a file imports, lazily or not, absolute names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_packages_import_only_what_they_may(path: Path) -> None:
    package = relative(path).split("/")[0]
    for module in imports_of(path):
        top = module.split(".")[0]
        if package == "schemas":
            assert top in {"schemas", "numpy", "pyarrow"} | set(sys.stdlib_module_names), module
        if package == "pipeline":
            assert top != "trainer", f"{path} imports {module}"
            if top == "torch":
                assert relative(path) in WITH_TORCH, (
                    f"{path} imports torch, which [pipeline] does not install"
                )
        if package == "trainer" and top == "pipeline":
            assert relative(path) == "trainer/predict.py", f"{path} imports {module}"
            assert module in CROSSINGS, module
        if top in ONLY_IN and package != "trainer":
            assert any(relative(path).startswith(place) for place in ONLY_IN[top]), f"{path} imports {module}"


def test_every_part_of_the_pipeline_has_its_place_in_the_order() -> None:
    found = {
        relative(path).split("/")[1].removesuffix(".py")
        for path in SOURCES
        if path.is_relative_to(ROOT / "pipeline")
    }
    assert found == set(RANK) | {"__init__", "__main__"}


def test_folders_import_those_before_them() -> None:
    upwards = [
        f"{relative(path)} imports {module}"
        for path in SOURCES
        if relative(path).startswith("pipeline/") and relative(path) not in ENTRIES
        for module in imports_of(path)
        if module.startswith("pipeline.")
        and not _may_import(relative(path).split("/")[1], module.split(".")[1])
    ]
    assert not upwards


def _may_import(part: str, other: str) -> bool:
    part = part.removesuffix(".py")
    return part == other or RANK[other] < RANK[part]


def test_no_module_imports_itself_by_way_of_others() -> None:
    found = circles({path: set(imported_files(path)) for path in SOURCES})
    assert [[relative(path) for path in group] for group in found] == []


def test_a_planted_circle_is_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [["b", "c"], ["d"]]


def imported_files(path: Path) -> Iterator[Path]:
    """Our own files that a file imports: lazily, for type checkers, or by a package's name."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            stem = ROOT / name.replace(".", "/")
            for file in (stem.with_suffix(".py"), stem / "__init__.py"):
                if file in FILES and file != path:
                    yield file


def circles(imports: Mapping[T, set[T]]) -> list[list[T]]:
    """Groups of modules that reach each other (Tarjan's strongly connected components), sorted."""
    number: dict[T, int] = {}
    lowest: dict[T, int] = {}
    stack: list[T] = []
    found: list[list[T]] = []

    def visit(module: T) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            at = stack.index(module)
            group, stack[at:] = stack[at:], []
            if len(group) > 1 or module in imports[module]:
                found.append(sorted(group))

    for module in sorted(imports):
        if module not in number:
            visit(module)
    return sorted(found)


def test_trainer_crosses_into_pipeline_lazily() -> None:
    tree = ast.parse((ROOT / "trainer/predict.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not any(name.split(".")[0] == "pipeline" for name in names)


def test_the_graph_holds_no_arrays() -> None:
    assert "numpy" not in {module.split(".")[0] for module in imports_of(ROOT / "pipeline/runner/graph.py")}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_names_and_sizes(path: Path) -> None:
    assert not FORBIDDEN_NAMES & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
    assert path.stem in ("__init__", "__main__") or path.stem not in sys.stdlib_module_names, path
    assert len(path.read_text().splitlines()) <= 300, f"{relative(path)} is too long to read in one go"


def test_a_planted_violation_would_be_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from trainer.model import ReconNet\n    return ReconNet\n")
    assert list(imports_of(planted)) == ["trainer.model"]
