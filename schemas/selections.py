"""Selections: named filters of a dataset that change no row and can be taken away again.

    meta/selections/<name>.json    {"format": "humandepth-selection", "version": 1, "name", "pairs", "samples"}

`pairs` is an expression over `PAIR_FACTS`, `samples` one over the table `samples`; either may be null. A sample
stays when its own expression holds and at least one of its references passes the one for pairs:

    selected = selected_references(dataset, Selection.load(dataset.root, "wide"))   # {sample_id: (frames, ...)}

Selections were once called views: those in `meta/views` are still read.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.dataset import Dataset
from schemas.documents import abbreviated, damaged, json_object, text_of
from schemas.errors import DatasetError, SettingsError
from schemas.files import Files
from schemas.pair_facts import PAIR_FACTS, pair_facts, read_columns
from schemas.tables import PAIRS, SAMPLES
from schemas.where import applying, holds, stored_part, where_expression

SELECTIONS_PATH = "meta/selections"
VIEWS_PATH = "meta/views"
"""Where version 0.1 kept them; nothing is written there any more."""
_FORMATS = {SELECTIONS_PATH: "humandepth-selection", VIEWS_PATH: "humandepth-view"}
_REMEDY = "Save the selection again, or delete the file."
_STORED = {column.name for column in PAIRS.columns}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A named filter."""

    name: str
    """Letters, digits, '_' and '-': it becomes a file name."""
    pairs: str | None = None
    """Over `PAIR_FACTS`, for example `mean_baseline_m >= 0.8 and min_silhouette_iou >= 0.75`."""
    samples: str | None = None
    """Over the scalar columns of `samples`."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SettingsError(
                f"selection name {self.name!r} cannot become a file name.",
                remedy="Use up to 64 letters, digits, '_' and '-', beginning with a letter or digit.",
            )
        if not self.pairs and not self.samples:
            raise SettingsError(f"selection {self.name!r} filters nothing.", remedy="Give an expression.")
        for text, table in ((self.pairs, PAIR_FACTS), (self.samples, SAMPLES)):
            if text:
                where_expression(text, table)

    def save(self, root: str | Path) -> Path:
        """Writes the selection beside the dataset, replacing one of the same name; no row is touched."""
        path = Path(root) / selection_path(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        spool = path.with_suffix(".tmp")
        facts = {"format": _FORMATS[SELECTIONS_PATH], "version": 1, **asdict(self)}
        spool.write_text(json.dumps(facts, indent=1) + "\n")
        spool.replace(path)
        (Path(root) / VIEWS_PATH / path.name).unlink(missing_ok=True)
        return path

    @classmethod
    def load(cls, root: str | Path, name: str) -> Selection:
        """The selection of that name. Raises DatasetError when there is none or it is damaged."""
        files = Files(root)
        folder = _folder_of(files, name)
        if folder is None:
            known = ", ".join(selection_names(root)) or "none"
            raise DatasetError(
                f"{root} has no selection {name!r}; it has: {known}.",
                remedy="Make one: python -m pipeline audit DATASET --where EXPR --save-selection NAME.",
            )
        path = files.place(f"{folder}/{name}.json")
        try:
            values = json_object(files.read(f"{folder}/{name}.json"))
            if (values.pop("format", None), values.pop("version", None)) != (_FORMATS[folder], 1):
                raise ValueError("it is not a selection of version 1")
            unknown = values.keys() - {"name", "pairs", "samples"}
            if unknown:
                raise ValueError(f"it has unknown names: {abbreviated(', '.join(sorted(unknown)))}")
            return cls(
                name=text_of(values.get("name"), "name"),
                pairs=_text_or_none(values.get("pairs"), "pairs"),
                samples=_text_or_none(values.get("samples"), "samples"),
            )
        except (OSError, ValueError, SettingsError) as error:
            raise damaged(path, error, remedy=_REMEDY) from error


def _text_or_none(value: Any, key: str) -> str | None:
    return None if value is None else text_of(value, key)


def selection_path(name: str) -> str:
    """Where a selection is saved, relative to the dataset's root."""
    return f"{SELECTIONS_PATH}/{name}.json"


def selection_names(root: str | Path) -> list[str]:
    """Names of the dataset's selections, sorted."""
    files = Files(root)
    names = {Path(file.name).stem for folder in _FORMATS for file in files.listed(folder, ".json")}
    return sorted(name for name in names if _NAME.fullmatch(name))


def _folder_of(files: Files, name: str) -> str | None:
    """The folder that holds the selection of that name; None where there is none, or where it names no file."""
    if not _NAME.fullmatch(name):
        return None
    return next((folder for folder in _FORMATS if files.exists(f"{folder}/{name}.json")), None)


def selected_references(dataset: Dataset, selection: Selection) -> dict[str, tuple[int, ...]]:
    """For every sample that a selection keeps, the frames of the references that stay, in the dataset's order.

    What the files can answer is asked of them; only what follows from several columns or tables is asked of rows in
    memory.
    """
    with applying(selection.samples or ""):
        condition = where_expression(selection.samples, SAMPLES)[0] if selection.samples else None
        samples = read_columns(dataset, "samples", ["sample_id", "track_id", "frame_index"], condition)
    names = ["track_id", "target_frame", "reference_frame"]
    used = where_expression(selection.pairs, PAIR_FACTS)[1] if selection.pairs else []
    kept = pc.field("kept") == True  # noqa: E712 - builds an expression
    part = stored_part(selection.pairs, PAIR_FACTS, _STORED) if selection.pairs else None
    with applying(selection.pairs or ""):
        condition = kept if part is None else kept & part
        pairs = pair_facts(dataset, list(dict.fromkeys([*names, *used])), condition)
    if selection.pairs:
        pairs = pairs.filter(pa.array(holds(pairs, selection.pairs, PAIR_FACTS)))
    references: dict[tuple[str, int], list[int]] = {}
    for track, target, reference in zip(*(pairs[name].to_pylist() for name in names[:3])):
        references.setdefault((track, target), []).append(reference)
    selected = {}
    for sample_id, track, frame in zip(
        *(samples[name].to_pylist() for name in ("sample_id", "track_id", "frame_index"))
    ):
        if (track, frame) in references:
            selected[sample_id] = tuple(references[track, frame])
    return selected
