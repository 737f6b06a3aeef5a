"""What `probe` leaves in its folder: chosen samples of a dataset, optimised, and how near they come to the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from schemas.dataset import Dataset
from schemas.prediction import prediction_path
from schemas.truth import Truth
from trainer.checkpoint import Checkpoint
from trainer.config import DataSettings, LossSettings
from trainer.data import Samples, read_index
from trainer.devices import device_of
from trainer.probe import ProbeSettings, probe
from trainer.recovery import Recovery, mean_recovery, recovery
from trainer.subject import chosen_positions


def probe_into(
    out: Path,
    root: str,
    losses: LossSettings,
    settings: ProbeSettings,
    *,
    truths: Path | None = None,
    sample_ids: Sequence[str] = (),
    per_track: int | None = None,
    references: int = 6,
    batch_size: int = 4,
    device: str | None = None,
    checkpoint: Checkpoint | None = None,
) -> str:
    """Writes one prediction per sample into `out` and returns what is to be said about them.

    Samples begin at the prediction of `checkpoint`, or without one at their base depth.
    """
    index = read_index(Dataset.open(root))
    positions = chosen_positions(index, sample_ids, per_track)
    data = DataSettings() if checkpoint is None else checkpoint.settings.data
    data = replace(data, max_references=references, colour_jitter=False)
    samples = Samples(index, data, seed=0, training=False, photo_px=losses.photo_px)
    where = device_of(device)
    model = None if checkpoint is None else checkpoint.model().to(where)
    recoveries: list[Recovery] = []
    count = 0
    for found in probe(
        samples, positions, losses, settings, batch_size=batch_size, device=where, model=model
    ):
        count += 1
        path = prediction_path(out, found.sample_id)
        found.prediction.save(path)
        if truths is not None:
            truth = Truth.load(truths / path.name)
            depths = found.prediction
            recoveries.append(
                recovery(
                    depths.depth_m, depths.base_depth_m, truth.depth_m, found.seen, settings.max_offset_m
                )
            )
    said = f"wrote {count} optimised depth(s) into {out}"
    if recoveries:
        mean = mean_recovery(recoveries)
        said += (
            f"\nerror after one offset, on pixels that a reference sees: {mean.base_mm:.2f} mm with the base depth, "
            f"{mean.found_mm:.2f} mm optimised: {100 * mean.share:+.0f} % recovered"
        )
    return said
