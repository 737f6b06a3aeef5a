"""Is a dataset what it says? Hashes and schemas, references between tables, and some rows rendered again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from pipeline.dataset.references import listed
from pipeline.dataset.references import reference_problems as reference_problems
from pipeline.dataset.stored_settings import made_with, settings_of
from pipeline.dataset.track_surfaces import surfaces_of
from pipeline.geometry.camera import Camera
from pipeline.method.rendered_frames import base_vertices, body_from_vector
from pipeline.method.resources import Resources
from pipeline.rendering import render
from schemas.conventions import IMAGE_PX, MAP_PX
from schemas.dataset import (
    CUTS_PATH,
    SETTINGS_PATH,
    TOMBSTONES_PATH,
    Dataset,
    document_remedy,
    read_tombstone,
)
from schemas.documents import damaged, json_object
from schemas.errors import DatasetError
from schemas.selections import (
    Selection,
    selected_references,
    selection_names,
)
from schemas.shard import Shard, read_rows, row_count
from schemas.tables import TABLES

DEPTH_TOLERANCE_M = 0.001
"""Stored depths are rounded to a tenth of a millimetre, stored bodies to float32."""
MAX_DIFFERING_SHARE = 0.01
"""Pixels that may differ by more: another rasteriser decides otherwise on a silhouette."""


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was looked at, and what is wrong with it, one line each."""

    problems: list[str]
    units: int
    samples: int
    """In the dataset, or in the selection where one was given."""
    references: int
    """Of these samples; 0 without a selection."""
    rendered: int
    render_note: str
    content_hash: str


def verify(root: str, *, render: int = 8, selection: str | None = None) -> Verification:
    """Checks a dataset and its selections; `render` samples, evenly spread, are drawn again from rows of `frames`.

    With a selection only samples that it keeps are drawn, and it has to keep some, with references that they hold.
    """
    faults: list[DatasetError] = []
    dataset = Dataset.open(root, faults=faults, trust_index=False)
    faults += document_faults(dataset)
    problems = [*map(str, faults), *dataset.verify()]
    rendered, note = 0, "none asked for"
    seen: dict[str, tuple[int, ...]] | None = None
    if not problems:
        problems = list(reference_problems(dataset))
    if selection is not None and not problems:
        seen = selected_references(dataset, Selection.load(root, selection))
        problems = list(selection_problems(dataset, selection, seen))
    samples = dataset.row_count("samples") if seen is None else len(seen)
    if not problems and render and samples:
        worst = _render_again(dataset, render, seen)
        rendered, note = len(worst), f"at most {100 * max(worst.values()):.2f} % of body pixels differ"
        problems = [
            f"samples: {sample_id}: {100 * share:.1f} % of its base depth is not what its row of `frames` gives."
            for sample_id, share in worst.items()
            if share > MAX_DIFFERING_SHARE
        ]
    return Verification(
        problems=problems,
        units=len(dataset.records),
        samples=samples,
        references=sum(map(len, (seen or {}).values())),
        rendered=rendered,
        render_note=note,
        content_hash=dataset.content_hash(),
    )


def document_faults(dataset: Dataset) -> Iterator[DatasetError]:
    """Every JSON file of `meta/` that is damaged, save completion records: settings, selections, cuts, ..."""
    files = dataset.files
    plain = [
        f"{folder}/{file.name}" for folder in ("meta", CUTS_PATH) for file in files.listed(folder, ".json")
    ]
    reads: list[Callable[[], object]] = [
        partial(_check_document, files.place(path), content, document_remedy(path))
        for path, content in zip(plain, files.read_many(plain))
    ]
    reads += [partial(Selection.load, dataset.name, name) for name in selection_names(dataset.name)]
    reads += [partial(read_tombstone, files, file.name) for file in files.listed(TOMBSTONES_PATH, ".json")]
    if files.exists(SETTINGS_PATH):
        reads.append(partial(made_with, dataset))
    found: dict[str, DatasetError] = {}
    for read in reads:
        try:
            read()
        except DatasetError as error:
            found.setdefault(str(error), error)
    yield from found.values()


def _check_document(place: str, content: bytes | OSError, remedy: str) -> None:
    try:
        if isinstance(content, OSError):
            raise content
        json_object(content)
    except (OSError, ValueError) as error:
        raise damaged(place, error, remedy=remedy) from error


def selection_problems(dataset: Dataset, selection: str, seen: dict[str, tuple[int, ...]]) -> Iterator[str]:
    """What is wrong with what a selection keeps: nothing, or references that their sample does not hold."""
    if not seen:
        yield f"selection {selection!r} keeps no sample."
    stored = set(_stored_pairs(dataset))
    missing = [
        (track, frame, reference)
        for sample_id, track, frame in _keys(dataset, "samples", "sample_id", "track_id", "frame_index")
        for reference in seen.get(sample_id, ())
        if (track, frame, reference) not in stored
    ]
    yield from listed(f"selection {selection!r} keeps a reference that its sample does not hold", missing)


def _keys(dataset: Dataset, table: str, *columns: str) -> Iterator[tuple[Any, ...]]:
    for path in dataset.shards(table):
        with Shard(TABLES[table], path) as shard:
            read = shard.table(columns)
        yield from zip(*(read[name].to_pylist() for name in columns))


def _stored_pairs(dataset: Dataset) -> Iterator[tuple[str, int, int]]:
    columns = ["track_id", "frame_index", "references.list.element.frame_index"]
    for path in dataset.shards("samples"):
        with Shard(TABLES["samples"], path) as shard:
            rows = shard.table(columns).to_pylist()
        for row in rows:
            for reference in row["references"]:
                yield row["track_id"], row["frame_index"], reference["frame_index"]


def _render_again(dataset: Dataset, count: int, among: Collection[str] | None) -> dict[str, float]:
    """Share of body pixels whose base depth differs from the stored one, by sample."""
    resources = Resources(settings_of(dataset))
    wanted = _spread(dataset, count, among)
    tracks = {row["track_id"] for row in wanted.values()}
    bodies, surfaces = _bodies(dataset, tracks), surfaces_of(dataset, tracks)
    shares = {}
    for sample_id, row in wanted.items():
        body = bodies.get((row["track_id"], row["frame_index"]))
        if body is None:
            raise DatasetError(
                f"{dataset.name}: `frames` holds no row for {sample_id}.",
                remedy="Run the pipeline again on this folder.",
            )
        vector, K = body
        camera = Camera(K, (IMAGE_PX, IMAGE_PX))
        posed = body_from_vector(vector, camera, resources.body).vertices
        vertices = base_vertices(posed, surfaces.get(row["track_id"]), resources)
        raster = render(
            resources.rasterizer, vertices, resources.body.faces, camera.resized((MAP_PX, MAP_PX))
        )
        stored = row["base_depth"]
        differs = np.abs(stored - raster.depth) > DEPTH_TOLERANCE_M
        shares[sample_id] = float(differs.sum() / max(1, np.count_nonzero(stored)))
    return shares


def _spread(dataset: Dataset, count: int, among: Collection[str] | None) -> dict[str, dict[str, Any]]:
    """`count` rows of `samples`, spread evenly over the dataset, or over those `among` it."""
    ids = [sample_id for (sample_id,) in _keys(dataset, "samples", "sample_id")]
    places = [at for at, sample_id in enumerate(ids) if among is None or sample_id in among]
    spread = np.linspace(0, len(places) - 1, min(count, len(places))).round().astype(int)
    wanted = {places[place] for place in spread}
    found, at = {}, 0
    for path in dataset.shards("samples"):
        rows = row_count(TABLES["samples"], path)
        if wanted & set(range(at, at + rows)):
            columns = ["sample_id", "track_id", "frame_index", "base_depth"]
            for position, row in enumerate(read_rows(TABLES["samples"], path, columns)):
                if at + position in wanted:
                    found[row["sample_id"]] = row
        at += rows
    return found


def _bodies(dataset: Dataset, tracks: set[str]) -> dict[tuple[str, int], tuple[np.ndarray, np.ndarray]]:
    columns = ["track_id", "frame_index", "body_vector", "K"]
    return {
        (row["track_id"], row["frame_index"]): (row["body_vector"].astype(np.float64), row["K"])
        for row in dataset.rows("frames", columns)
        if row["track_id"] in tracks
    }
