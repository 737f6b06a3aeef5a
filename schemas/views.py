"""Views: named filters of a dataset that change no row and can be taken away again.

    meta/views/<name>.json    {"format": "humandepth-view", "version": 1, "name", "pairs", "samples"}

`pairs` is an expression over `PAIR_FACTS`, `samples` one over the table `samples`; either may be null. A sample
stays when its own expression holds and at least one of its references passes the one for pairs:

    selected = selected_references(dataset, View.load(dataset.root, "wide"))   # {sample_id: (reference frames, ...)}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.column import Column
from schemas.dataset import Dataset
from schemas.documents import abbreviated, damaged, read_document, text_of
from schemas.errors import DatasetError, SettingsError
from schemas.shard import Shard
from schemas.table import TableSpec
from schemas.tables import PAIRS, SAMPLES, TABLES
from schemas.where import stored_part, where_expression

VIEWS_PATH = "meta/views"
_FORMAT = "humandepth-view"
_REMEDY = "Save the view again, or delete the file."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_DERIVED = (
    Column(
        name="angle_deg",
        unit="deg",
        doc="2 asin(|t| / 2Z): the turn that reads this baseline at this depth, whatever the focal length",
    ),
    Column(name="abs_gap_s", unit="s", doc="|gap_s|"),
    Column(name="min_silhouette_iou", unit="1", doc="smaller silhouette_iou of the two frames"),
    Column(name="max_reprojection_error", unit="1", doc="larger reprojection_error of the two frames"),
    Column(name="max_acceleration_mm", unit="mm", doc="larger acceleration_mm of the two frames"),
)
_FROM_FRAMES = {
    "min_silhouette_iou": ("silhouette_iou", np.minimum),
    "max_reprojection_error": ("reprojection_error", np.maximum),
    "max_acceleration_mm": ("acceleration_mm", np.maximum),
}

_STORED = {column.name for column in PAIRS.columns}

PAIR_FACTS = TableSpec(
    name="pairs",
    version=PAIRS.version,
    doc="What a view may ask about a pair: the columns of `pairs` and what follows from them and from `frames`.",
    columns=PAIRS.columns + _DERIVED,
)


@dataclass(frozen=True, kw_only=True)
class View:
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
                f"view name {self.name!r} cannot become a file name.",
                remedy="Use up to 64 letters, digits, '_' and '-', beginning with a letter or digit.",
            )
        if not self.pairs and not self.samples:
            raise SettingsError(f"view {self.name!r} filters nothing.", remedy="Give an expression.")
        for text, table in ((self.pairs, PAIR_FACTS), (self.samples, SAMPLES)):
            if text:
                where_expression(text, table)

    def save(self, root: str | Path) -> Path:
        """Writes the view beside the dataset, replacing one of the same name; no row is touched."""
        path = Path(root) / view_path(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        spool = path.with_suffix(".tmp")
        spool.write_text(json.dumps({"format": _FORMAT, "version": 1, **asdict(self)}, indent=1) + "\n")
        spool.replace(path)
        return path

    @classmethod
    def load(cls, root: str | Path, name: str) -> View:
        """The view of that name. Raises DatasetError when there is none or it is damaged."""
        if not _NAME.fullmatch(name) or not (Path(root) / view_path(name)).is_file():
            known = ", ".join(view_names(root)) or "none"
            raise DatasetError(
                f"{root} has no view {name!r}; it has: {known}.",
                remedy="Make one: python -m pipeline audit DATASET --where EXPR --save-view NAME.",
            )
        path = Path(root) / view_path(name)
        values = read_document(path, remedy=_REMEDY)
        try:
            if (values.pop("format", None), values.pop("version", None)) != (_FORMAT, 1):
                raise ValueError("it is not a view of version 1")
            unknown = values.keys() - {"name", "pairs", "samples"}
            if unknown:
                raise ValueError(f"it has unknown names: {abbreviated(', '.join(sorted(unknown)))}")
            return cls(
                name=text_of(values.get("name"), "name"),
                pairs=_text_or_none(values.get("pairs"), "pairs"),
                samples=_text_or_none(values.get("samples"), "samples"),
            )
        except (ValueError, SettingsError) as error:
            raise damaged(path, error, remedy=_REMEDY) from error


def _text_or_none(value: Any, key: str) -> str | None:
    return None if value is None else text_of(value, key)


def view_path(name: str) -> str:
    """Where a view lies, relative to the dataset's root."""
    return f"{VIEWS_PATH}/{name}.json"


def view_names(root: str | Path) -> list[str]:
    """Names of the dataset's views, sorted."""
    return sorted(
        path.stem for path in (Path(root) / VIEWS_PATH).glob("*.json") if _NAME.fullmatch(path.stem)
    )


def read_columns(
    dataset: Dataset, table: str, columns: list[str], condition: pc.Expression | None = None
) -> pa.Table:
    """Some columns of the rows of a table, texts as dictionaries, in one chunk a column; files are checked.

    With a `condition` only rows for which it holds; row groups that their statistics rule out are not opened.
    """
    spec = TABLES[table]
    texts = [name for name in columns if spec.column(name).dtype == "string"]
    parts = []
    for path in dataset.shards(table):
        with Shard(spec, path) as shard:
            if condition is None:
                parts.append(shard.table(columns, dictionaries=texts))
            else:  # texts stay texts: Arrow does not compare dictionaries with them
                parts.append(shard.filtered(columns, condition))
    if not parts:
        parts = [spec.arrow_schema().empty_table().select(columns)]
    read = pa.concat_tables(parts).replace_schema_metadata(None)
    for name in texts:
        at = read.schema.get_field_index(name)
        if not pa.types.is_dictionary(read.schema.field(at).type):
            read = read.set_column(at, name, read[name].dictionary_encode())
    return read.unify_dictionaries().combine_chunks()


def pair_facts(dataset: Dataset, columns: list[str], condition: pc.Expression | None = None) -> pa.Table:
    """The asked columns of `PAIR_FACTS` for every candidate pair; frames that are missing give NaN.

    With a `condition` over the columns of `pairs`, only for pairs for which it holds.
    """
    derived = [column.name for column in _DERIVED if column.name in columns]
    stored = [name for name in columns if name not in derived]
    needed = list(dict.fromkeys([*stored, *_sources_of(derived)]))
    pairs = read_columns(dataset, "pairs", needed, condition)
    wanted = [name for name in derived if name in _FROM_FRAMES]
    values = _frame_values(dataset, pairs, wanted) if wanted else {}
    if "abs_gap_s" in derived:
        values["abs_gap_s"] = np.abs(pairs["gap_s"].to_numpy())
    if "angle_deg" in derived:
        values["angle_deg"] = angle_deg(
            pairs["mean_baseline_m"].to_numpy(), pairs["target_depth_m"].to_numpy()
        )
    for name in derived:
        pairs = pairs.append_column(name, pa.array(values[name]))
    return pairs.select(columns)


def angle_deg(baseline_m: NDArray[np.floating], depth_m: NDArray[np.floating]) -> NDArray[np.float64]:
    """2 asin(|t| / 2Z) in degrees, elementwise; 180 from |t| = 2Z on, NaN where there is no depth."""
    half = np.full(np.shape(baseline_m), np.nan)
    np.divide(baseline_m, 2 * depth_m, out=half, where=depth_m > 0)
    return np.asarray(np.degrees(2 * np.arcsin(np.clip(half, 0, 1))))


def holds(table: pa.Table, text: str, spec: TableSpec) -> NDArray[np.bool_]:
    """(rows,) bool: where an expression holds; unknown values (null, NaN) never pass a comparison."""
    condition, used = where_expression(text, spec)
    rows = _plain(table.select(used)).append_column("__row", pa.array(np.arange(table.num_rows)))
    with _applying(text):
        passing = rows.filter(condition)["__row"].to_numpy()
    mask = np.zeros(table.num_rows, bool)
    mask[passing] = True
    return mask


def selected_references(dataset: Dataset, view: View) -> dict[str, tuple[int, ...]]:
    """For every sample that a view keeps, the frames of the references that stay, in the dataset's order.

    What the files can answer is asked of them; only what follows from several columns or tables is asked of rows in
    memory.
    """
    with _applying(view.samples or ""):
        condition = where_expression(view.samples, SAMPLES)[0] if view.samples else None
        samples = read_columns(dataset, "samples", ["sample_id", "track_id", "frame_index"], condition)
    names = ["track_id", "target_frame", "reference_frame"]
    used = where_expression(view.pairs, PAIR_FACTS)[1] if view.pairs else []
    kept = pc.field("kept") == True  # noqa: E712 - builds an expression
    part = stored_part(view.pairs, PAIR_FACTS, _STORED) if view.pairs else None
    with _applying(view.pairs or ""):
        condition = kept if part is None else kept & part
        pairs = pair_facts(dataset, list(dict.fromkeys([*names, *used])), condition)
    if view.pairs:
        pairs = pairs.filter(pa.array(holds(pairs, view.pairs, PAIR_FACTS)))
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


@contextmanager
def _applying(text: str) -> Iterator[None]:
    """Errors of Arrow about a filter name it."""
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise SettingsError(
            f"filter {text!r} cannot be applied: {error}.",
            remedy="Compare numbers with numbers and texts with texts.",
        ) from None


def _plain(table: pa.Table) -> pa.Table:
    """Dictionary columns as texts, so that expressions compare them with texts."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(at, field.name, pc.cast(table[field.name], field.type.value_type))
    return table


def _sources_of(derived: list[str]) -> list[str]:
    sources: list[str] = []
    if "abs_gap_s" in derived:
        sources += ["gap_s"]
    if "angle_deg" in derived:
        sources += ["mean_baseline_m", "target_depth_m"]
    if any(name in _FROM_FRAMES for name in derived):
        sources += ["track_id", "target_frame", "reference_frame"]
    return sources


def _frame_values(dataset: Dataset, pairs: pa.Table, derived: list[str]) -> dict[str, Any]:
    """What the two frames of every pair say, joined by track and frame index."""
    names = [_FROM_FRAMES[name][0] for name in derived]
    frames = read_columns(dataset, "frames", ["track_id", "frame_index", *names])
    tracks = _dictionary(frames)
    codes = _codes(frames)
    place = pc.index_in(_dictionary(pairs), value_set=tracks).fill_null(-1).to_numpy(zero_copy_only=False)
    pair_codes = place[_codes(pairs)] if len(place) else np.empty(0, np.int64)
    key = codes.astype(np.int64) << 32 | frames["frame_index"].to_numpy()
    order = np.argsort(key, kind="stable")
    found = []
    for side in ("target_frame", "reference_frame"):
        wanted = pair_codes.astype(np.int64) << 32 | pairs[side].to_numpy()
        rows = np.append(order, len(key))[np.searchsorted(key, wanted, sorter=order)]
        found.append(np.where(np.append(key, -1)[rows] == wanted, rows, len(key)))
    values = {}
    for name in derived:
        column, join = _FROM_FRAMES[name]
        quality = np.append(frames[column].to_numpy(), np.nan)  # the last one: a frame that is missing
        values[name] = join(*(quality[rows] for rows in found))
    return values


def _dictionary(table: pa.Table) -> pa.Array:
    column = table["track_id"]
    return column.chunk(0).dictionary if column.num_chunks else pa.array([], pa.string())


def _codes(table: pa.Table) -> NDArray[np.integer]:
    column = table["track_id"]
    return column.chunk(0).indices.to_numpy() if column.num_chunks else np.empty(0, np.int64)
