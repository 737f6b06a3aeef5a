"""Pages of the site that are made from other files, as a hook of mkdocs (`hooks` in mkdocs.yml).

| page | of |
|---|---|
| contributing.md | CONTRIBUTING.md |
| changelog.md | CHANGELOG.md |
| tutorial.md | docs/tutorial.py: cells of text and of code |
| settings.md | the settings that the code declares, as `python -m pipeline settings` lists them |

Pages in docs/ link to the files themselves, so that links work where the repository is read; on the site they lead to
the pages made of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

    from schemas.setting_list import Setting

ROOT = Path(__file__).resolve().parents[1]
SITE_LINKS = {
    "../CONTRIBUTING.md": "contributing.md",
    "../CHANGELOG.md": "changelog.md",
    "tutorial.py": "tutorial.md",
    "../pipeline/config/__init__.py": "settings.md#pipeline",
    "../trainer/config.py": "settings.md#trainer",
}
"""Where links of pages in docs/ lead on the site."""
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the made pages."""
    from mkdocs.structure.files import File

    for name, text in made_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """A page with its links as the site needs them."""
    return with_site_links(markdown)


def with_site_links(text: str) -> str:
    """Links to files that the site shows as pages lead to those pages."""
    for link, page in SITE_LINKS.items():
        text = text.replace(f"]({link})", f"]({page})")
    return text


def made_pages() -> dict[str, str]:
    """The text of every page that lies in no file of docs/, by its name there."""
    return {
        "contributing.md": inside_docs((ROOT / "CONTRIBUTING.md").read_text()),
        "changelog.md": inside_docs((ROOT / "CHANGELOG.md").read_text()),
        "tutorial.md": page_of_script((ROOT / "docs/tutorial.py").read_text()),
        "settings.md": settings_page(),
    }


def inside_docs(text: str) -> str:
    """Markdown of the repository's root with its links as they are seen from docs/."""
    return with_site_links(
        re.sub(r"\]\((?!https?:|#)([^)]*)\)", r"](../\1)", text).replace("](../docs/", "](")
    )


def page_of_script(script: str) -> str:
    """Markdown of a script in cells: those that begin with `# %% [markdown]` as text, the others as code."""
    parts = _CELL.split(script)[1:]
    cells = [_cell(kind.strip(), body.strip("\n")) for kind, body in zip(parts[::2], parts[1::2])]
    return "\n\n".join(cells) + "\n"


def _cell(kind: str, body: str) -> str:
    if kind == "[markdown]":
        return "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
    return f"```python\n{body}\n```"


def settings_page() -> str:
    """Every setting with its default, type, unit and reason."""
    from pipeline.config import Settings as PipelineSettings
    from pipeline.studio.settings import StudioSettings
    from schemas.setting_list import settings_in
    from trainer.config import Settings as TrainerSettings
    from trainer.tracknet.config import TrackNetSettings

    programs = {
        "Pipeline": PipelineSettings(),
        "Trainer": TrainerSettings(),
        "TrackNet": TrackNetSettings(),
        "Studio": StudioSettings(),
    }
    parts = [
        "# Settings\n\n`--set NAME=VALUE` changes one of these: of the pipeline in `python -m pipeline run`, of the "
        "trainer in `python -m trainer fit`, of TrackNet in `python -m trainer tracknet fit`, of the studio in "
        "`python -m pipeline studio film`."
    ]
    for title, default in programs.items():
        parts.append(f"## {title}")
        for section, found in groupby(settings_in(default), lambda setting: setting.name.rpartition(".")[0]):
            if section:
                parts.append(f"### {title}: {section}\n\n{_about(default, section)}")
            parts.append(_settings_table(found))
    return "\n\n".join(parts) + "\n"


def _about(settings: Any, section: str) -> str:
    for part in section.split("."):
        settings = getattr(settings, part)
    return (type(settings).__doc__ or "").strip()


def _settings_table(found: Iterable[Setting]) -> str:
    from schemas.setting_list import shown_value

    lines = ["| setting | default | type, unit | what it does |", "|---|---|---|---|"]
    for each in found:
        kind = ", ".join(filter(None, (each.type, each.unit)))
        cells = (f"`{each.name}`", f"`{shown_value(each.default)}`", kind, each.reason)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)
