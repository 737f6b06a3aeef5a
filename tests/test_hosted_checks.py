"""What runs on other machines: the workflow of hosted CI and the hooks of pre-commit are made of what is here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from pipeline.assets import cache_folder

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
JOBS = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
STEPS = [step for job in JOBS.values() for step in job["steps"]]


def test_the_workflow_runs_the_parts_of_make_test() -> None:
    run = {
        target for step in STEPS for target in re.findall(r"^make PYTHON=python (\w+)$", step.get("run", ""))
    }
    parts = re.search(r"^test: (.*)$", MAKEFILE, re.M)
    assert parts is not None
    assert run == {*parts[1].split(), "docs"}
    for target in run:
        assert re.search(rf"^{target}:", MAKEFILE, re.M), target


def test_the_workflow_tests_pythons_that_are_supported() -> None:
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(
        ">="
    )
    versions = JOBS["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13"]
    assert versions[0] == oldest


def test_fetched_models_are_cached_by_the_table_that_pins_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUMANDEPTH_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    (cache,) = [step["with"] for step in STEPS if step.get("uses", "").startswith("actions/cache@")]
    assert Path(cache["path"]).expanduser() == cache_folder()
    (table,) = re.findall(r"hashFiles\('(.*)'\)", cache["key"])
    assert "sha256=" in (ROOT / table).read_text()


def test_the_hooks_are_those_of_make_lint() -> None:
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    recipe = MAKEFILE.split("\nlint: ")[1].split("\n\n")[0]
    wanted = [line.removeprefix("@$(BIN)/") for line in re.findall(r"\t(.*)", recipe)]
    found = [hook["entry"] for hook in local["hooks"]]
    assert [entry.removeprefix(".venv/bin/").split(" --")[0] for entry in found] == [
        line.replace(" .", "").split(" --")[0] for line in wanted
    ]
    assert all(entry.startswith(".venv/bin/") for entry in found)
