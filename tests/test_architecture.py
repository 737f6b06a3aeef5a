"""The dependency rule, the size rule and the naming rule, read from the code itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("schemas", "pipeline", "trainer")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}

# layer of each part of `pipeline`: a module may import its own layer or lower ones
LAYERS = {
    "errors": 0, "logs": 0, "kernel_cache": 0, "temporary": 0, "heap": 0, "config": 0,
    "geometry": 1, "records": 2, "assets": 2,
    "body": 3, "tracking": 4, "rendering": 3, "video": 3,
    "toolbox": 5, "pairs": 5, "views": 5, "rows": 5, "samples": 5, "refine": 5, "nobody": 5, "steps": 6, "photo": 8,
    "sink": 7, "fingerprint": 7, "progress": 7, "card": 7, "audit": 7, "studio": 9, "inspection": 7, "download": 4,
    "croissant": 7, "cuts": 7, "body_commands": 7, "conversion": 6, "portraits": 7, "run_lock": 7, "isolation": 7,
    "packs": 8,
    "units": 8, "compaction": 8, "verification": 8, "forgetting": 8, "stopping": 9, "planning": 9, "doctor": 9,
    "beam_worker": 10,
    "graph": 8, "run": 9, "run_commands": 9, "summary": 9, "cli": 10, "__main__": 11, "__init__": 0,
}  # fmt: skip
ONLY_IN = {
    "apache_beam": ("pipeline/graph.py", "pipeline/sink.py", "pipeline/run.py"),
    "pyrender": ("pipeline/rendering/pyrender_gl.py",),
    "OpenGL": ("pipeline/rendering/pyrender_gl.py",),
    "numba": (
        "pipeline/geometry/",
        "pipeline/rendering/compiled.py",
        "pipeline/refine/alignment_kernels.py",  # 20 passes over every frame's surface: 100 times slower in numpy
        "pipeline/refine/static_lighting_kernels.py",
        "pipeline/refine/matching_kernel.py",
    ),
    "smplx": ("pipeline/body/smplx_check.py",),
    "anny": ("pipeline/body/",),
    "av": ("pipeline/video/", "pipeline/doctor.py"),
    "scenedetect": ("pipeline/video/",),
    "ai_edge_litert": ("pipeline/tracking/",),
    "onnxruntime": ("pipeline/tracking/",),
    "rerun": ("pipeline/inspection/",),
    "yt_dlp": ("pipeline/download/",),
    "pickle": (),
}


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
                assert relative(path).startswith(("pipeline/body/", "pipeline/tracking/")), module
        if package == "trainer" and top == "pipeline":
            assert relative(path) == "trainer/predict.py", f"{path} imports {module}"
            assert module == "pipeline.photo", module
        if top in ONLY_IN and package != "trainer":
            assert any(relative(path).startswith(place) for place in ONLY_IN[top]), f"{path} imports {module}"


@pytest.mark.parametrize("path", [p for p in SOURCES if relative(p).startswith("pipeline/")], ids=relative)
def test_pipeline_layers_point_downwards(path: Path) -> None:
    part = relative(path).split("/")[1].removesuffix(".py")
    for module in imports_of(path):
        names = module.split(".")
        if names[0] == "pipeline" and len(names) > 1:
            assert LAYERS[names[1]] <= LAYERS[part], f"{relative(path)} ({part}) imports {module}"
            siblings = {"body", "rendering", "video"}
            if part in siblings:
                assert names[1] not in siblings - {part}, f"{relative(path)} imports its sibling {module}"


def test_trainer_crosses_into_pipeline_lazily() -> None:
    tree = ast.parse((ROOT / "trainer/predict.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            assert not any(name.split(".")[0] == "pipeline" for name in names)


def test_the_graph_holds_no_arrays() -> None:
    assert "numpy" not in {module.split(".")[0] for module in imports_of(ROOT / "pipeline/graph.py")}


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_names_and_sizes(path: Path) -> None:
    assert not FORBIDDEN_NAMES & {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
    assert path.stem in ("__init__", "__main__") or path.stem not in sys.stdlib_module_names, path
    assert len(path.read_text().splitlines()) <= 350, f"{relative(path)} is too long to read in one go"


def test_a_planted_violation_would_be_seen(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from trainer.model import ReconNet\n    return ReconNet\n")
    assert list(imports_of(planted)) == ["trainer.model"]
