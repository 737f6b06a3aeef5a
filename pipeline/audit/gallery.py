"""One self-contained HTML page of pictures: for some frames of every person, everything the dataset says about them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pipeline.audit import pictures
from pipeline.audit.sample_cells import SampleCells
from pipeline.audit.templates import own_file, rendered
from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.escaping import shown
from schemas.prediction import Prediction, prediction_path

Panel = tuple[str, np.ndarray]
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
SUFFIXES = (".html", ".htm", *PICTURE_SUFFIXES)
"""Caption and (MAP_PX, MAP_PX, 3) uint8 picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFrame:
    """A frame as the page shows it."""

    index: int
    pts_s: float
    panels: list[tuple[str, str]]
    """Caption, and the picture as a data URI."""


def write_gallery(dataset: Dataset, out: str, predictions: str | None, *, per_track: int) -> int:
    """Writes the page (or, for .jpg and .png, one picture) and returns how many frames it shows.

    With `predictions` (the folder of `python -m trainer predict`), frames that were predicted are shown; without,
    `per_track` frames evenly spread over every track. Raises DatasetError when there is no sample.
    """
    folder = Path(predictions) if predictions else None
    chosen = choose_samples(dataset, folder, per_track)
    if not chosen and folder is not None:
        raise DatasetError(
            f"{folder} holds no prediction of a sample of {dataset.name}.",
            remedy="Give the folder of `python -m trainer predict --dataset`.",
        )
    if not chosen:
        raise DatasetError(
            f"{dataset.name} holds no sample to show.", remedy="Run the pipeline on clips with people first."
        )
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    cells = SampleCells(dataset)
    frames = [_frame(cells, row, folder) for row in chosen]
    if Path(out).suffix.lower() in PICTURE_SUFFIXES:
        Path(out).write_bytes(_sheet([panels for _, panels in frames], Path(out).suffix.lower()))
    else:
        Path(out).write_text(_page(shown(Path(dataset.name).name), frames), encoding="utf-8")
    return len(chosen)


def _page(name: str, frames: list[tuple[dict[str, Any], list[Panel]]]) -> str:
    tracks: dict[str, list[PageFrame]] = {}
    for row, panels in frames:
        shown_panels = [(caption, _data_uri(picture)) for caption, picture in panels]
        frame = PageFrame(index=row["frame_index"], pts_s=row["pts_s"], panels=shown_panels)
        tracks.setdefault(row["track_id"], []).append(frame)
    return rendered(
        "gallery.html",
        name=name,
        tracks=tracks,
        style=own_file("gallery.css"),
        validity_colours=pictures.VALIDITY_COLOURS,
    )


def _sheet(rows: list[list[Panel]], suffix: str) -> bytes:
    """The panels of all frames as one picture, a frame a row."""
    picture = np.vstack([np.hstack([panel for _, panel in row]) for row in rows])
    _, data = cv2.imencode(suffix, np.ascontiguousarray(picture[..., ::-1]))
    return data.tobytes()


def choose_samples(dataset: Dataset, predictions: Path | None, per_track: int) -> list[int]:
    """Rows of `samples` to show, in order: those predicted, or `per_track` evenly spread over every track."""
    by_track: dict[str, list[int]] = {}
    for at, row in enumerate(dataset.rows("samples", ["sample_id", "track_id"])):
        if predictions is None or prediction_path(predictions, row["sample_id"]).is_file():
            by_track.setdefault(row["track_id"], []).append(at)
    chosen: list[int] = []
    for rows in by_track.values():
        places = np.linspace(0, len(rows) - 1, per_track + 2)[1:-1].round().astype(int)
        chosen += [rows[place] for place in sorted(set(places.tolist()))] if len(rows) > per_track else rows
    return sorted(chosen)


def _frame(cells: SampleCells, place: int, predictions: Path | None) -> tuple[dict[str, Any], list[Panel]]:
    row = cells.row(place)
    found = Prediction.load(prediction_path(predictions, row["sample_id"])) if predictions else None
    with cells.drawn(place):
        return row, _panels(row, found)


def _panels(row: dict[str, Any], prediction: Prediction | None) -> list[Panel]:
    """Caption and picture of everything shown about a frame, with the reference that shares most surface."""
    reference = max(row["references"], key=lambda item: item["valid_fraction"])
    camera = pictures.map_camera(row)
    carried, error = pictures.warped_reference(row, reference)
    panels = [
        ("photo", pictures.photo(row)),
        ("body on the photo", pictures.overlay(row)),
        ("base depth", pictures.depth_picture(row["base_depth"], camera)),
        (f"baseline to frame {reference['frame_index']}, 0-2 m", pictures.baseline_picture(row, reference)),
        (f"frame {reference['frame_index']}, the reference", pictures.photo(reference)),
        (f"carried to the target, error {error:.3f}", carried),
        (
            f"validity, {100 * reference['valid_fraction']:.0f} % of the body",
            pictures.validity_picture(reference),
        ),
    ]
    if prediction is not None:
        panels.append(
            ("refined depth", pictures.depth_picture(prediction.depth_m, camera, row["base_depth"]))
        )
        panels.append(("offset, -5 to +5 cm", offset_picture(prediction.depth_m, row["base_depth"])))
    return panels


def offset_picture(refined_m: np.ndarray, base_m: np.ndarray) -> np.ndarray:
    """Refined minus base depth, -5 to +5 cm: blue nearer, red farther, white unchanged."""
    import matplotlib

    mask = (base_m > 0) & (refined_m > 0)
    offset_m = np.where(mask, refined_m - base_m, 0.0)
    picture = np.full((*mask.shape, 3), 255, np.uint8)
    coloured = 255 * matplotlib.colormaps["RdBu_r"](np.clip(offset_m / 0.1 + 0.5, 0, 1))[..., :3]
    picture[mask] = coloured[mask].astype(np.uint8)
    return picture


def _data_uri(picture: np.ndarray) -> str:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
