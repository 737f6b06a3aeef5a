"""Pages of the site that are made from other files, as a hook of mkdocs (`hooks` in mkdocs.yml).

| page | of |
|---|---|
| contributing.md | CONTRIBUTING.md |
| changelog.md | CHANGELOG.md |
| tutorial.md | docs/tutorial.py: cells of text and of code |
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).resolve().parents[1]
_CELL = re.compile(r"^# %%(.*)$", re.MULTILINE)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the made pages."""
    from mkdocs.structure.files import File

    for name, text in made_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def made_pages() -> dict[str, str]:
    """The text of every page that lies in no file of docs/, by its name there."""
    return {
        "contributing.md": inside_docs((ROOT / "CONTRIBUTING.md").read_text()),
        "changelog.md": inside_docs((ROOT / "CHANGELOG.md").read_text()),
        "tutorial.md": page_of_script((ROOT / "docs/tutorial.py").read_text()),
    }


def inside_docs(text: str) -> str:
    """Markdown of the repository's root with its links as they are seen from docs/."""
    for link, seen in (
        ("docs/", ""),
        ("CONTRIBUTING.md", "contributing.md"),
        ("CHANGELOG.md", "changelog.md"),
    ):
        text = text.replace(f"]({link}", f"]({seen}")
    return text


def page_of_script(script: str) -> str:
    """Markdown of a script in cells: those that begin with `# %% [markdown]` as text, the others as code."""
    parts = _CELL.split(script)[1:]
    return (
        "\n\n".join(_cell(kind.strip(), body.strip("\n")) for kind, body in zip(parts[::2], parts[1::2]))
        + "\n"
    )


def _cell(kind: str, body: str) -> str:
    if kind == "[markdown]":
        return "\n".join(line.removeprefix("#").removeprefix(" ") for line in body.splitlines())
    return f"```python\n{body}\n```"
