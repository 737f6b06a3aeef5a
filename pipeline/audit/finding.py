"""One warning of an audit, and how its words are put together."""

from __future__ import annotations

from dataclasses import dataclass

LEVELS = ("fault", "warning", "note")
SHOWN = 4
"""Names listed in a sentence; the rest is counted."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One warning."""

    slug: str
    level: str
    weight: float
    text: str
    remedy: str


def percent(share: float) -> str:
    """A share in words."""
    return f"{100 * share:.0f} %" if share >= 0.1 else f"{100 * share:.1f} %"


def names_of(names: list[str]) -> str:
    """The first few names."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
