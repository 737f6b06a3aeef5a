"""The documents: links and navigation are whole, commands and settings exist, snippets and the tutorial run."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from pipeline.config import Settings as PipelineSettings
from pipeline.studio.settings import StudioSettings
from schemas.tables import TABLES
from tests.support.datasets import write_dataset
from tests.support.sphere_scene import sphere_row
from tools.docs_pages import inside_docs, made_pages, page_of_script, settings_page, with_site_links
from tools.draw_imports import drawing, read_rooms
from trainer.config import Settings as TrainerSettings
from trainer.config import preset
from trainer.tracknet.config import TrackNetSettings

ROOT = Path(__file__).resolve().parent.parent
WRITTEN = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text() for path in (ROOT / "docs").rglob("*.md")
}
SITE = WRITTEN | made_pages()
ROOT_PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")}
REPOSITORY = {f"docs/{name}": text for name, text in WRITTEN.items()} | ROOT_PAGES
PAGES = {f"docs/{name}": text for name, text in SITE.items()} | ROOT_PAGES
SETTINGS = (PipelineSettings, TrainerSettings, TrackNetSettings)


def test_the_navigation_names_every_page_once() -> None:
    nav = (ROOT / "mkdocs.yml").read_text().split("\nnav:\n")[1]
    assert sorted(re.findall(r": (\S+\.md)$", nav, re.M)) == sorted(SITE)


@pytest.mark.parametrize("name", REPOSITORY)
def test_links_of_the_repository_lead_somewhere(name: str) -> None:
    assert [link for link in links(REPOSITORY[name]) if not is_in_repository(name, link)] == []


@pytest.mark.parametrize("name", SITE)
def test_links_of_the_site_lead_somewhere(name: str) -> None:
    assert [link for link in links(with_site_links(SITE[name])) if not is_on_site(name, link)] == []


def links(text: str) -> Iterator[str]:
    """Targets of links and pictures, those of other sites left out."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if "://" not in link:
            yield link


def without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.S)


def is_in_repository(page: str, link: str) -> bool:
    target, _, anchor = link.partition("#")
    path = ROOT / os.path.normpath(Path(page).parent / target) if target else ROOT / page
    return path.is_file() and (not anchor or anchor in anchors(path.read_text()))


def is_on_site(page: str, link: str) -> bool:
    target, _, anchor = link.partition("#")
    path = os.path.normpath(Path(page).parent / target) if target else page
    if path not in SITE:
        return (ROOT / "docs" / path).is_file() and path == Path(path).name
    return not anchor or anchor in anchors(SITE[path])


def anchors(text: str) -> set[str]:
    """Ids of the headings, as the site and GitHub make them of plain titles."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.S), re.M)
    return {
        re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower())
        for title in titles
    }


def test_planted_bad_links_are_seen() -> None:
    assert is_in_repository("docs/gpu.md", "experiments.md#the-trainer-on-a-gpu")
    assert is_on_site("gpu.md", "experiments.md#the-trainer-on-a-gpu")
    assert not is_in_repository("docs/gpu.md", "experiments.md#no-such-heading")
    assert not is_on_site("gpu.md", "experiments.md#no-such-heading")
    assert not is_in_repository("docs/gpu.md", "docs/experiments.md")
    assert not is_in_repository("docs/gpu.md", "tutorial.md")
    assert is_on_site("gpu.md", "tutorial.md")
    assert not is_on_site("gpu.md", "../CONTRIBUTING.md")


@pytest.mark.parametrize("name", [name for name in PAGES if "changelog" not in name.lower()])
def test_settings_exist(name: str) -> None:
    """Settings in the text and after --set, but for the list of changes: it names what is no more."""
    text = PAGES[name]
    known = {
        f"{part.name}.{field}"
        for kind in SETTINGS
        for part in fields(kind)
        for field in fields_of(kind, part.name)
    }
    known |= {field.name for field in fields(StudioSettings)} | set(fields_of(TrainerSettings, "losses"))
    given = set(re.findall(r"--set ([a-z_0-9.]+)=", text))
    sections = {part.name for kind in SETTINGS for part in fields(kind)} - {*TABLES}
    named = {
        f"{section}.{field}"
        for section, field in re.findall(r"`([a-z]+)\.([a-z_0-9]+)(?:=[^`]*)?`", text)
        if section in sections and field != "py" and not (ROOT / f"pipeline/{section}/{field}.py").exists()
    }
    assert given | named <= known


def fields_of(kind: type, section: str) -> list[str]:
    return [field.name for field in fields(getattr(kind(), section))]


@pytest.mark.parametrize("name", PAGES)
def test_files_that_are_named_exist(name: str) -> None:
    files = [
        path
        for package in ("schemas", "pipeline", "trainer", "tools", "tests", "docs")
        for path in (ROOT / package).rglob("*.py")
    ]
    for path, _, symbol in re.findall(r"`([\w/]+\.py)(: (\w+))?`", PAGES[name]):
        found = [file for file in files if file.as_posix().endswith(f"/{path}")]
        assert found, path
        assert not symbol or any(
            re.search(rf"^(def|class) {symbol}\b", file.read_text(), re.M) for file in found
        ), symbol


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small dataset in it, called as the documents call theirs."""
    work = tmp_path_factory.mktemp("docs")
    write_dataset(work / "dataset", [sphere_row(1, base_radius_m=0.59)])
    return work


@pytest.mark.parametrize(
    "name", [name for name in PAGES if "```python" in PAGES[name] and "tutorial" not in name]
)
def test_python_blocks_run(name: str, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(work)
    for block in re.findall(r"```python\n(.*?)```", PAGES[name], re.S):
        exec(compile(block, name, "exec"), {})


def test_the_tutorial_computes_what_the_trainer_does(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["tutorial.py", str(work / "dataset"), str(work / "out")])
    made = runpy.run_path(str(ROOT / "docs/tutorial.py"))
    for name, value in made["by_hand"].items():
        assert value > 1e-4
        assert value == pytest.approx(made["theirs"][name], abs=1e-6), name
    assert made["settings"] == preset("paper").losses
    assert (work / "out/pair.jpg").stat().st_size > 10_000
    assert "total" in capsys.readouterr().out


def test_a_script_of_cells_becomes_a_page() -> None:
    script = '"""Help."""\n\n# %% [markdown]\n# # Title\n#\n# Text.\n\n# %%\nx = 1\n'
    assert page_of_script(script) == "# Title\n\nText.\n\n```python\nx = 1\n```\n"


def test_links_follow_a_page_from_the_root_to_the_site() -> None:
    text = (
        "[a](docs/gpu.md) [b](CHANGELOG.md) [c](LICENSE) [d](https://e.org) [e](#here) [f](docs/tutorial.py)"
    )
    assert with_site_links(inside_docs(text)) == (
        "[a](gpu.md) [b](changelog.md) [c](../LICENSE) [d](https://e.org) [e](#here) [f](tutorial.md)"
    )


def test_the_settings_page_holds_every_setting_once() -> None:
    page = settings_page()
    for kind in SETTINGS:
        for part in fields(kind):
            for field in fields_of(kind, part.name):
                assert f"| `{part.name}.{field}` | " in page
    assert "| `pairs.min_mean_baseline_m` | `0.5` | number, metres | " in page


def test_the_picture_of_the_imports_is_current() -> None:
    stated = (ROOT / "docs/imports.svg").read_text()
    assert stated == drawing(read_rooms(ROOT)), "run: python -m tools.draw_imports --out docs/imports.svg"


def test_a_circle_of_rooms_is_drawn_red(tmp_path: Path) -> None:
    for room, other in (("ground", ""), ("left", "right"), ("right", "left"), ("top", "left")):
        path = tmp_path / "pipeline" / room / "part.py"
        path.parent.mkdir(parents=True)
        path.write_text(f"from pipeline.{other} import part\n" if other else "")
    rooms = read_rooms(tmp_path)
    assert rooms.rows() == [["ground", "left", "right"], ["top"]]
    assert rooms.circles == [["left", "right"]]
    assert drawing(rooms).count('class="c"') == 2


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="pip install '.[docs]'")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--quiet",
        "--strict",
        "--site-dir",
        str(tmp_path / "site"),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "site/api/trainer.html").read_text()
    assert "reference_points" in page
    assert "photo_loss" in page
