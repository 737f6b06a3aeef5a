"""HTML by Jinja2 from the templates in `page/`. Every value is escaped; markup comes from our own files alone."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


class Cell(NamedTuple):
    """A cell of a sortable table."""

    is_number: bool
    key: str
    """What it is sorted by."""
    text: str


def rendered(template: str, **values: Any) -> str:
    """A template of `page/` with these values; a name that a template asks for and nobody gives is an error."""
    return _environment().get_template(template).render(**values)


def own_file(name: str) -> Markup:
    """A style sheet or script of `page/` as it is: what stands there is ours, so it is markup already."""
    return Markup((files("pipeline.audit") / "page" / name).read_text(encoding="utf-8"))


def cell(value: object) -> Cell:
    """A number to four digits, a text as it is, a dash for what is not known (None and NaN)."""
    if value is None or value != value:
        return Cell(True, "", "-")
    if isinstance(value, int):
        return Cell(True, str(value), f"{value:,}")
    if isinstance(value, float):
        return Cell(True, repr(value), f"{value:.4g}")
    return Cell(False, str(value), str(value))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.audit", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    # `tojson` writes <, >, & and ' as \u003c...: no text in a script element can end it or begin another.
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False}
    return environment
