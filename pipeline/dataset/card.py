"""The dataset card: what lies in the folder, in words and numbers, with front matter that dataset hubs read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from pipeline.dataset.croissant import croissant_metadata
from pipeline.dataset.storage import publish_text
from schemas.column import Column
from schemas.dataset import CROISSANT_PATH, MANIFEST_PATH, Dataset
from schemas.files import Files
from schemas.pair_facts import read_columns
from schemas.record_files import new_index
from schemas.record_index import INDEX_PATH
from schemas.tables import TABLES


def publish_documents(root: str) -> None:
    """Writes the index, the card, the manifest and the Croissant metadata of a dataset as it is now."""
    publish_text(new_index(Files(root)), root, INDEX_PATH)
    dataset = Dataset.open(root)
    licences = licences_of(dataset)
    publish_text(json.dumps(dataset.manifest(), indent=1) + "\n", root, MANIFEST_PATH)
    publish_text(dataset_card(dataset, licences), root, "README.md")
    publish_text(json.dumps(croissant_metadata(dataset, licences), indent=1) + "\n", root, CROISSANT_PATH)


def licences_of(dataset: Dataset) -> list[str]:
    """Licences of the sources, sorted."""
    stated = read_columns(dataset, "clips", ["licence"])["licence"].unique().to_pylist()
    return sorted({licence or "not stated" for licence in stated})


def dataset_card(dataset: Dataset, licences: Sequence[str]) -> str:
    """Markdown for the dataset's README.md; the same dataset gives the same text."""
    counts = "\n".join(
        f"| `{name}` | {dataset.row_count(name)} | {table.doc} |" for name, table in TABLES.items()
    )
    filled = [name for name in TABLES if dataset.row_count(name)]
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/*.parquet\n"
        + ("  default: true\n" if name == filled[0] else "")
        for name in filled
    )
    return f"""---
pretty_name: humandepth dataset
license: other
license_name: see-the-sources
task_categories:
- depth-estimation
tags:
- human
- video
- self-supervised
- parquet
size_categories:
- {_size_category(dataset.row_count("samples"))}
{"configs:" if filled else "configs: []"}
{configs}---

# Depth of people from video

Made by humandepth: per frame a body in SMPL layout, per pair of frames a motion field, base depth and validity maps.
Conventions, versions and every column are in `meta/info.json`; all settings in `meta/settings.json`.

| table | rows | what a row is |
|---|---|---|
{counts}

Licences of the sources: {", ".join(licences) or "none"}.
Splits are by `source_id`, never by row. Depth is metric only as far as the assumed focal length is right.

Read it with `schemas.dataset.Dataset` (decodes the maps), `datasets.load_dataset("parquet", data_files=...)`, DuckDB,
or anything that reads Parquet: images are JPEG bytes; maps are bytes that `schemas.tables` decodes.

Content hash: `{dataset.content_hash()}`
"""


def _size_category(rows: int) -> str:
    names = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M")
    return next((name for power, name in enumerate(names) if rows < 10 ** (3 + power)), "100M<n<1B")


def column_tables() -> str:
    """Markdown tables of every column of every table, for docs/dataset.md."""
    parts = []
    for table in TABLES.values():
        rows = "\n".join(_column_lines(table.columns))
        parts.append(
            f"### `{table.name}`\n\n{table.doc}\n\n| column | type | unit | meaning |\n|---|---|---|---|\n{rows}\n"
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
