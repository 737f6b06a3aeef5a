"""The pairs and frames whose pictures the page shows: chosen from the figures, drawn from stored rows alone."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from pipeline.audit import pictures
from pipeline.audit.sample_cells import SampleCells
from pipeline.audit.scalars import AuditTables, codes
from schemas.conventions import VALID_ALL

_SHOWN_PX = 176
_SEED = 6666

CARD_COLUMNS = {
    "mean_baseline_m": ("mean baseline", "m"),
    "angle_deg": ("equivalent angle", "deg"),
    "parallax_px": ("parallax", "px of 256"),
    "rotation_deg": ("rotation", "deg"),
    "baseline_over_depth": ("|t| / Z", ""),
    "valid_fraction": ("valid share", ""),
    "visible_fraction": ("visible share", ""),
    "min_silhouette_iou": ("silhouette IoU of the worse frame", ""),
    "max_reprojection_error": ("reprojection error of the worse frame", "of the height"),
    "max_acceleration_mm": ("acceleration of the worse frame", "mm"),
    "abs_gap_s": ("time gap", "s"),
    "photo_error": ("colour error", ""),
    "misalignment_px": ("misalignment", "px of 256"),
    "matched_fraction": ("share found again", ""),
}
"""What a card tells and can be sorted by: words and unit."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A pair with its pictures."""

    row: int
    kind: str
    """`kept`, `borderline` or `dropped`."""
    track_id: str
    target_frame: int
    reference_frame: int
    reason: str
    numbers: dict[str, float]
    panels: list[tuple[str, str]]
    """Caption, and the picture as a data URI."""
    has_maps: bool
    """A dropped pair has none stored."""

    @property
    def in_words(self) -> str:
        """The numbers that are known, with their words and units."""
        return ", ".join(
            f"{words} {value:.3g} {unit}".strip()
            for (words, unit), value in zip(CARD_COLUMNS.values(), self.numbers.values())
            if not math.isnan(value)
        )


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A frame with its body drawn over it."""

    kind: str
    track_id: str
    frame_index: int
    silhouette_iou: float
    reprojection_error: float
    picture: str


def pair_cards(tables: AuditTables, cells: SampleCells, count: int) -> list[Card]:
    """About `count` pairs: a third kept, a third near the baseline threshold, a third dropped for every reason."""
    chosen = choose_pairs(tables, count)
    cards = [
        _card(tables, cells, row, kind)
        for row, kind in sorted(chosen.items(), key=lambda item: tables.sample_of_pair[item[0]])
    ]
    kinds = ("borderline", "kept", "dropped")
    return sorted(cards, key=lambda card: (kinds.index(card.kind), card.row))


def choose_pairs(tables: AuditTables, count: int) -> dict[int, str]:
    """Rows of `pairs` and the kind each stands for; only pairs whose target is stored can be drawn."""
    rng = np.random.default_rng(_SEED)
    part = max(1, count // 3)
    drawable = tables.sample_of_pair >= 0
    distance = np.abs(tables.number("mean_baseline_m") - tables.thresholds["min_mean_baseline_m"])
    chosen: dict[int, str] = {}
    for side, share in ((tables.kept, part - part // 2), (~tables.kept, part // 2)):
        rows = np.flatnonzero(side & drawable & (distance < 0.2))
        for row in rows[np.argsort(distance[rows], kind="stable")][: share if count else 0]:
            chosen[int(row)] = "borderline"
    kept = np.flatnonzero(tables.kept & drawable)
    kept = kept[np.argsort(tables.number("mean_baseline_m")[kept], kind="stable")]
    for place in np.linspace(0, len(kept) - 1, min(part, len(kept))).astype(int) if count else ():
        chosen.setdefault(int(kept[place]), "kept")
    reasons = codes(tables.pairs, "reason")
    dropped = [np.flatnonzero(~tables.kept & drawable & (reasons == code)) for code in np.unique(reasons)]
    dropped = [rng.permutation(rows) for rows in dropped if rows.size]
    for place in range(count // 3):
        rows = dropped[place % len(dropped)] if dropped else np.empty(0, int)
        if place // max(1, len(dropped)) < len(rows):
            chosen.setdefault(int(rows[place // len(dropped)]), "dropped")
    return chosen


def overlays(tables: AuditTables, cells: SampleCells, count: int = 4) -> list[Overlay]:
    """Worst and median frames by silhouette IoU and by reprojection error, among those whose picture is stored."""
    stored = tables.sample_of(tables.frames, "frame_index")
    rows = np.flatnonzero(stored >= 0)
    iou = tables.frames["silhouette_iou"].to_numpy()
    error = tables.frames["reprojection_error"].to_numpy()
    by_iou, by_error = (rows[np.argsort(values[rows], kind="stable")] for values in (iou, -error))
    middle = max(0, len(rows) // 2 - 1)
    wanted = {
        "lowest silhouette IoU": by_iou[:count],
        "largest reprojection error": by_error[:count],
        "median silhouette IoU": by_iou[middle : middle + 2],
        "median reprojection error": by_error[middle : middle + 2],
    }
    found = []
    for kind, places in wanted.items():
        for place in places:
            row = int(stored[place])
            cell = cells.row(row, columns=("image", "K", "input_depth"))
            with cells.drawn(row):
                picture = data_uri(pictures.overlay(cell))
            found.append(
                Overlay(
                    kind=kind,
                    track_id=tables.frames["track_id"][int(place)].as_py(),
                    frame_index=tables.frames["frame_index"][int(place)].as_py(),
                    silhouette_iou=float(iou[place]),
                    reprojection_error=float(error[place]),
                    picture=picture,
                )
            )
    return found


def pair_panels(
    target: dict[str, Any], reference: dict[str, Any] | None, other: dict[str, Any] | None
) -> list[tuple[str, np.ndarray]]:
    """Caption and picture of everything stored about a pair.

    `reference` is the kept reference; for a dropped pair, which has no maps, `other` may hold the picture of its frame.
    """
    panels = [
        ("target", pictures.photo(target)),
        ("body on the target", pictures.overlay(target)),
        ("base depth", pictures.depth_picture(target["base_depth"], pictures.map_camera(target))),
    ]
    if reference is None:
        return panels + ([("reference", pictures.photo(other))] if other else [])
    carried, error = pictures.warped_reference(target, reference)
    return [
        *panels,
        ("reference", pictures.photo(reference)),
        ("baseline, 0 to 2 m (dark to bright)", pictures.baseline_picture(target, reference)),
        ("validity (green counts)", pictures.validity_picture(reference)),
        ("reference carried to the target", carried),
        (f"its difference, mean {error:.3f}", error_picture(target, carried, reference)),
    ]


def error_picture(target: dict[str, Any], carried: np.ndarray, reference: dict[str, Any]) -> np.ndarray:
    """|target - carried| where valid, 0 to 0.4 of full brightness (inferno: dark small, bright large)."""
    import matplotlib

    valid = reference["validity"] == VALID_ALL
    difference = np.abs(pictures.photo(target).astype(np.float64) - carried).mean(axis=-1) / 255
    picture = np.full((*valid.shape, 3), 255, np.uint8)
    coloured = 255 * matplotlib.colormaps["inferno"](np.clip(difference / 0.4, 0, 1))[..., :3]
    picture[valid] = coloured[valid].astype(np.uint8)
    return picture


def data_uri(picture: np.ndarray, side_px: int = _SHOWN_PX) -> str:
    """An RGB picture as a small JPEG in a data URI."""
    small = cv2.resize(picture, (side_px, side_px), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(small[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 82])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _card(tables: AuditTables, cells: SampleCells, row: int, kind: str) -> Card:
    names = ["track_id", "target_frame", "reference_frame", "reason"]
    pair = tables.pairs.slice(row, 1).select(names).to_pylist()[0]
    place = int(tables.sample_of_pair[row])
    target = cells.row(place, references=[pair["reference_frame"]])
    reference = target["references"][0] if target["references"] else None
    other = None if reference else _stored_frame(tables, cells, row)
    with cells.drawn(place):
        panels: Sequence[tuple[str, np.ndarray]] = pair_panels(target, reference, other)
    return Card(
        row=row,
        kind=kind,
        track_id=pair["track_id"],
        target_frame=pair["target_frame"],
        reference_frame=pair["reference_frame"],
        reason=pair["reason"] or ("" if tables.kept[row] else "outside-the-selection"),
        numbers={name: float(tables.number(name)[row]) for name in CARD_COLUMNS},
        panels=[(caption, data_uri(picture)) for caption, picture in panels],
        has_maps=reference is not None,
    )


def _stored_frame(tables: AuditTables, cells: SampleCells, row: int) -> dict[str, Any] | None:
    """The picture of a pair's reference frame, where that frame is itself a sample."""
    stored = int(tables.sample_of(tables.pairs.slice(row, 1).combine_chunks(), "reference_frame")[0])
    return cells.row(stored, columns=("image",)) if stored >= 0 else None
