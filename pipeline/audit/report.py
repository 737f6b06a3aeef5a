"""The audit as one HTML page that needs no network: figures, sliders over the pairs, pictures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from pipeline.audit import sections
from pipeline.audit.figures import AuditFigures, plain
from pipeline.audit.sample_cells import SampleCells
from pipeline.audit.scalars import AuditTables
from pipeline.audit.showcase import Card, Overlay, overlays, pair_cards
from pipeline.audit.sweep import MAX_EMBEDDED_PAIRS, sweep_data

LIBRARIES = ("d3.min.js", "plot.umd.min.js")
"""D3 7.9.2 and Observable Plot 0.6.17 as their npm packages have them (ISC licence, see NOTICE)."""
_SHOWN_SOURCES = 40


def write_report(
    figures: AuditFigures,
    tables: AuditTables,
    out: str,
    *,
    pairs_shown: int = 24,
    limit: int = MAX_EMBEDDED_PAIRS,
) -> None:
    """Draws the pictures and writes the page."""
    cards: Sequence[Card] = ()
    drawn: Sequence[Overlay] = ()
    if pairs_shown and tables.samples.num_rows:
        cells = SampleCells(tables.dataset)
        cards, drawn = pair_cards(tables, cells, pairs_shown), overlays(tables, cells)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(page(figures, sweep_data(tables, limit=limit), cards, drawn), encoding="utf-8")


def page(
    figures: AuditFigures, sweep: dict[str, Any], cards: Sequence[Card], drawn: Sequence[Overlay]
) -> str:
    """The whole page as text."""
    folder = files("pipeline.audit") / "page"
    selection = figures.selection
    seen = (
        f"through the selection “{selection['name']}” ("
        + " and ".join(
            filter(None, (selection["pairs"], selection["samples"] and f"samples: {selection['samples']}"))
        )
        + ")"
        if selection
        else "as it was made"
    )
    data = {
        "sweep": sweep,
        "dataset": figures.dataset,
        "selection": figures.selection,
        "distributions": figures.distributions,
        "by_gap": figures.by_gap,
        "by_source": sorted(figures.by_source, key=lambda item: -item.pairs)[:_SHOWN_SOURCES],
        "sides": figures.sides,
    }
    return Template((folder / "page.html").read_text(encoding="utf-8")).substitute(
        title=sections.escaped(figures.dataset),
        seen=sections.escaped(seen),
        style=(folder / "page.css").read_text(encoding="utf-8"),
        libraries="".join(
            f"<script>{(folder / name).read_text(encoding='utf-8')}</script>" for name in LIBRARIES
        ),
        script="".join((folder / name).read_text(encoding="utf-8") for name in ("charts.js", "page.js")),
        data=script_json(data),
        sides=_sides(figures),
        warnings=sections.warnings_section(figures),
        funnel=sections.funnel_section(figures, cards),
        spread=sections.spread_section(figures),
        focal=sections.focal_section(figures),
        noise=sections.noise_section(figures),
        gallery=sections.gallery_section(cards),
        overlays=sections.overlays_section(drawn),
        sources=sections.groups_section(figures),
        people=sections.people_section(figures),
        origin=sections.origin_section(figures),
    )


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element: no text in it can end the element or begin another."""
    text = json.dumps(plain(value), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sides(figures: AuditFigures) -> str:
    if not figures.sides:
        return ""
    table = sections.sides_section(figures)
    return f'<section id="sides"><h2>Side by side</h2>{table}<div id="sides-chart"></div></section>'
