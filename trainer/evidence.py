"""Why nothing was learned: what the data of a run says about the usual causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.shard import Shard
from schemas.tables import PAIRS
from trainer.data import SampleRef
from trainer.learned import Learned
from trainer.run_data import RunData

MISALIGNED_PX = 0.75
"""Above this pairs teach the bodies' errors; exact bodies of the studio read as .3 (docs/experiments.md)."""
FEW_TURNS_DEG = 8.0
"""Below this turn between target and reference there is little parallax to read depth from."""
FEW_PEOPLE = 10
"""Fewer sources than this were never enough: one clip teaches a constant, forty people 17 % of the error."""
LITTLE_TEXTURE = 0.25
"""Share of the common surface that has to be found again in the reference."""
_COLUMNS = ["track_id", "rotation_deg", "misalignment_px", "textured_fraction", "matched_fraction", "kept"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Medians over the kept pairs of the tracks that are trained on; None where the dataset does not say."""

    people: int
    """Sources that are trained on."""
    misalignment_px: float | None = None
    rotation_deg: float | None = None
    found_fraction: float | None = None
    """Share of the common surface whose texture tells and is found again."""

    def reasons(self) -> list[str]:
        """The causes that apply, the likeliest first: that which is furthest beyond its limit."""
        causes = [
            (FEW_PEOPLE / max(self.people, 1), f"few people: {self.people} source(s) to train on, {FEW_PEOPLE} or more "
             "are needed (add films)"),
        ]  # fmt: skip
        if self.misalignment_px is not None:
            causes.append(
                (self.misalignment_px / MISALIGNED_PX, f"misalignment: bodies and pictures disagree by a median of "
                 f"{self.misalignment_px:.2f} px, above {MISALIGNED_PX} (refine bodies; select misalignment_px <= "
                 f"{MISALIGNED_PX})")
            )  # fmt: skip
        if self.rotation_deg is not None:
            causes.append(
                (FEW_TURNS_DEG / max(self.rotation_deg, 0.1), f"few turns: pairs turn by a median of "
                 f"{self.rotation_deg:.1f} degrees, below {FEW_TURNS_DEG:g} (films of people who turn)")
            )  # fmt: skip
        if self.found_fraction is not None:
            causes.append(
                (LITTLE_TEXTURE / max(self.found_fraction, 0.01), f"texture: {100 * self.found_fraction:.0f} % of the "
                 f"common surface is found again, below {100 * LITTLE_TEXTURE:.0f} (patterned clothes, even light)")
            )  # fmt: skip
        causes.sort(key=lambda cause: -cause[0])
        return [text for excess, text in causes if excess > 1]


def evidence_of(datasets: Sequence[Dataset], training: Sequence[SampleRef]) -> Evidence:
    """What the tables `pairs` say about the tracks of training samples. Raises DatasetError where one is damaged."""
    values: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS[1:-1]}
    for number, dataset in enumerate(datasets):
        tracks = pa.array(sorted({ref.track_id for ref in training if ref.dataset == number}), pa.string())
        for path in dataset.shards("pairs"):
            with Shard(PAIRS, path) as shard:
                table = shard.table(_COLUMNS)
            table = table.filter(pc.and_(table["kept"], pc.is_in(table["track_id"], value_set=tracks)))
            for name, found in values.items():
                found.append(table[name].to_numpy().astype(np.float64))
    columns = {name: np.concatenate([*found, np.empty(0)]) for name, found in values.items()}
    found_again = columns["textured_fraction"] * np.nan_to_num(columns["matched_fraction"])
    return Evidence(
        people=len({(ref.dataset, ref.source_id) for ref in training}),
        misalignment_px=_median(columns["misalignment_px"]),
        rotation_deg=_median(columns["rotation_deg"]),
        found_fraction=_median(found_again),
    )


def _median(values: np.ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def conclusion(learned: Learned, data: RunData) -> tuple[dict[str, Any], list[str]]:
    """What `checkpoint.json` keeps at the end of a run, and the lines that are said about it."""
    facts, lines = learned.as_dict(), [learned.sentence()]
    if not learned.is_shown:
        try:
            reasons = evidence_of(data.datasets, data.training).reasons()
        except DatasetError as error:  # the run is done: what cannot be read explains nothing
            reasons = [f"unknown: {error}"]
        facts["reasons"] = reasons
        likeliest = "; ".join(reasons) or (
            "none of the usual ones: hold out more people, train longer, or lower losses.gamma_smooth"
        )
        lines.append(
            f"warning: nothing beyond a constant was learned that shows. The likeliest cause first: {likeliest}."
        )
    return facts, lines
