"""The audit as one HTML page that needs no network: figures, sliders over the pairs, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.audit import page_tables
from pipeline.audit.figures import AuditFigures, plain
from pipeline.audit.page_tables import Table
from pipeline.audit.pictures import VALIDITY_COLOURS
from pipeline.audit.sample_cells import SampleCells
from pipeline.audit.scalars import AuditTables
from pipeline.audit.showcase import CARD_COLUMNS, Card, Overlay, overlays, pair_cards
from pipeline.audit.sweep import MAX_EMBEDDED_PAIRS, sweep_data
from pipeline.audit.templates import own_file, rendered

LIBRARIES = ("d3.min.js", "plot.umd.min.js")
"""D3 7.9.2 and Observable Plot 0.6.17 as their npm packages have them (ISC licence, see NOTICE)."""
SCRIPTS = ("charts.js", "page.js")
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
    return rendered(
        "page.html",
        figures=figures,
        tables=_tables(figures),
        seen=seen,
        drawn={card.reason: card.row for card in reversed(cards)},
        cards=cards,
        card_columns=CARD_COLUMNS,
        validity_colours=VALIDITY_COLOURS,
        overlays=_by_kind(drawn),
        style=own_file("page.css"),
        libraries=[own_file(name) for name in LIBRARIES],
        scripts=[own_file(name) for name in SCRIPTS],
        data=plain(data),
    )


def _tables(figures: AuditFigures) -> dict[str, Table]:
    """The page's tables by the names its template knows them by."""
    return {
        "sides": page_tables.sides_table(figures),
        "gaps": page_tables.gaps_table(figures),
        "focal": page_tables.focal_table(figures),
        "noise": page_tables.noise_table(figures),
        "sources": page_tables.sources_table(figures),
        "people": page_tables.people_table(figures),
        "licences": page_tables.licences_table(figures),
        "duplicates": page_tables.duplicates_table(figures),
        "splits": page_tables.splits_table(figures),
        "failures": page_tables.failures_table(figures),
        "training": page_tables.training_table(figures),
    }


def _by_kind(drawn: Sequence[Overlay]) -> dict[str, list[Overlay]]:
    found: dict[str, list[Overlay]] = {}
    for item in drawn:
        found.setdefault(item.kind, []).append(item)
    return found
