"""Draws which folder of `pipeline` imports which, as an SVG: docs/imports.svg.

    python -m tools.draw_imports --out docs/imports.svg                # or: make imports
    python -m tools.draw_imports --root OTHER_CHECKOUT --out before.svg

A room is a folder of `pipeline`, or a module that lies in none. Rooms stand above those they import; an arrow that
belongs to a circle is red. What every room imports (`schemas`) is left out.
"""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.test_architecture import circles

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "pipeline"
ENTRIES = {"__init__", "__main__"}
WIDTH, ROW_PX, BOX_PX, TOP_PX = 1180, 78, 26, 64
LETTER_PX = 7.3


@dataclass(frozen=True, kw_only=True)
class Rooms:
    """Who imports whom."""

    imports: Mapping[str, frozenset[str]]
    """The rooms that each imports, itself left out."""
    folders: frozenset[str]
    """Those that are folders."""

    @property
    def arrows(self) -> int:
        """How many pairs of rooms import one another, each way counted."""
        return sum(map(len, self.imports.values()))

    @property
    def circles(self) -> list[list[str]]:
        """Groups of rooms that reach each other."""
        return circles({room: set(others) for room, others in self.imports.items()})

    def rows(self) -> list[list[str]]:
        """Rooms from the ground up: each above all it imports, but for those of its own circle."""
        circle = {room: at for at, group in enumerate(self.circles) for room in group}

        def is_below(other: str, room: str) -> bool:
            return room not in circle or circle.get(other) != circle[room]

        height = dict.fromkeys(self.imports, 0)
        for _ in self.imports:  # as often as a chain can be long
            for room, others in self.imports.items():
                under = [height[other] + 1 for other in others if is_below(other, room)]
                height[room] = max([height[room], *under])
            for group in self.circles:
                height |= dict.fromkeys(group, max(height[room] for room in group))
        return [
            sorted(room for room in height if height[room] == at) for at in range(max(height.values()) + 1)
        ]


def read_rooms(root: Path) -> Rooms:
    """The rooms of the checkout at `root`, with lazy imports and those for type checkers."""
    found: dict[str, set[str]] = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        room = path.relative_to(root / PACKAGE).parts[0].removesuffix(".py")
        if room not in ENTRIES:
            found.setdefault(room, set()).update(_imported(path))
    imports = {room: frozenset(others & found.keys() - {room}) for room, others in found.items()}
    folders = frozenset(room for room in imports if (root / PACKAGE / room).is_dir())
    return Rooms(imports=imports, folders=folders)


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name.split(".")[1] for name in names if name.startswith(f"{PACKAGE}."))


def drawing(rooms: Rooms) -> str:
    """The SVG of the rooms; the same rooms give the same bytes."""
    rows = rooms.rows()[::-1]
    height = TOP_PX + ROW_PX * len(rows)
    place = {}
    for at, row in enumerate(rows):
        lengths = [_box_width(room) for room in row]
        gap = (WIDTH - sum(lengths)) / (len(row) + 1)
        left = gap
        for room, length in zip(row, lengths):
            place[room] = (left + length / 2, TOP_PX + at * ROW_PX)
            left += length + gap
    circle = {room: at for at, group in enumerate(rooms.circles) for room in group}
    arrows = [
        _arrow(place[room], place[other], room in circle and circle.get(other) == circle[room])
        for room in sorted(rooms.imports)
        for other in sorted(rooms.imports[room])
    ]
    boxes = [_box(room, *place[room], room in rooms.folders) for room in sorted(place)]
    many = f"{len(place)} rooms ({len(rooms.folders)} folders), {rooms.arrows} arrows, {len(rooms.circles)} circles"
    return "\n".join([_HEAD.format(width=WIDTH, height=height, title=many), *arrows, *boxes, "</svg>"]) + "\n"


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>svg{{font:13px sans-serif}}path{{fill:none;stroke:#4a7;stroke-opacity:.45}}
.c{{stroke:#c22;stroke-opacity:.8}}rect{{fill:#e8f3ef;stroke:#365}}
.m{{fill:#fff;stroke-dasharray:3}}text{{text-anchor:middle;fill:#222}}</style>
<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0 0L8 4L0 8z" style="fill:#4a7;stroke:none"/></marker></defs>
<rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>
<text x="590" y="24" font-size="15">pipeline: {title}</text>"""


def _box_width(room: str) -> float:
    return len(room) * LETTER_PX + 14


def _box(room: str, x: float, y: float, is_folder: bool) -> str:
    width = _box_width(room)
    kind = "" if is_folder else ' class="m"'
    return (
        f'<rect{kind} x="{x - width / 2:.0f}" y="{y - BOX_PX / 2:.0f}" width="{width:.0f}" height="{BOX_PX}" rx="4"/>'
        f'<text x="{x:.0f}" y="{y + 4:.0f}">{room}</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float], is_circle: bool) -> str:
    """A curve from below one box to above another; beside them where both stand in one row."""
    (x0, y0), (x1, y1) = start, end
    if y0 == y1:
        bend = y0 - ROW_PX / 2
        path = (
            f"M{x0:.0f} {y0 - BOX_PX / 2:.0f}Q{(x0 + x1) / 2:.0f} {bend:.0f} {x1:.0f} {y1 - BOX_PX / 2:.0f}"
        )
    else:
        top, bottom = y0 + BOX_PX / 2, y1 - BOX_PX / 2
        middle = (top + bottom) / 2
        path = f"M{x0:.0f} {top:.0f}C{x0:.0f} {middle:.0f} {x1:.0f} {middle:.0f} {x1:.0f} {bottom:.0f}"
    kind = ' class="c"' if is_circle else ""
    return f'<path{kind} d="{path}" marker-end="url(#a)"/>'


def main() -> None:
    """Writes the drawing and prints its figures."""
    parser = argparse.ArgumentParser(prog="python -m tools.draw_imports")
    parser.add_argument("--root", type=Path, default=ROOT, help="another checkout")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rooms = read_rooms(options.root)
    options.out.write_text(drawing(rooms))
    for name, folders in (
        ("rooms", len(rooms.imports)),
        ("folders", len(rooms.folders)),
        ("arrows", rooms.arrows),
    ):
        print(f"{name}: {folders}")
    print(f"circles: {len(rooms.circles)} {rooms.circles or ''}")


if __name__ == "__main__":
    main()
