"""The dataset card: what lies in the folder, in words and numbers, with front matter that dataset hubs read."""

from __future__ import annotations

from collections.abc import Iterable

from schemas.column import Column
from schemas.dataset import Dataset
from schemas.tables import TABLES


def dataset_card(dataset: Dataset) -> str:
    """Markdown for the dataset's README.md; the same dataset gives the same text."""
    licences = sorted({row["licence"] or "not stated" for row in dataset.rows("clips", ["licence"])})
    counts = "\n".join(
        f"| `{name}` | {dataset.row_count(name)} | {table.doc} |" for name, table in TABLES.items()
    )
    configs = "\n".join(
        f"- config_name: {name}\n  data_files: {name}/*.parquet" for name in TABLES if dataset.row_count(name)
    )
    return f"""---
pretty_name: humandepth dataset
task_categories: [depth-estimation]
configs:
{configs}
---

# Depth of people from video

Made by humandepth: per frame a body in SMPL layout, per pair of frames a motion field, base depth and validity maps.
Conventions, versions and every column are in `meta/info.json`; all settings in `meta/settings.json`.

| table | rows | what a row is |
|---|---|---|
{counts}

Licences of the sources: {", ".join(licences) or "none"}.
Splits are by `source_id`, never by row. Depth is metric only as far as the assumed focal length is right.

Content hash: `{dataset.content_hash()}`
"""


def column_tables() -> str:
    """Markdown tables of every column of every table, for the README."""
    parts = []
    for table in TABLES.values():
        rows = "\n".join(_column_lines(table.columns))
        parts.append(
            f"#### `{table.name}`\n\n{table.doc}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(parts)


def _column_lines(columns: Iterable[Column], prefix: str = "") -> list[str]:
    lines = []
    for column in columns:
        shape = "x".join(map(str, column.shape))
        kind = {"image": "JPEG ", "map": "map ", "list": "list of "}.get(column.codec, "") + column.dtype
        kind += f" [{shape}]" if shape else ""
        kind += f", x {column.scale:g}" if column.scale is not None else ""
        meaning = column.doc.replace("|", "\\|")
        lines.append(f"| `{prefix}{column.name}` | {kind} | {column.unit} | {meaning} |")
        lines += _column_lines(column.fields, f"{prefix}{column.name}[].")
    return lines
