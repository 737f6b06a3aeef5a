"""People to predict the depth of: what the network needs of each, and those that a dataset holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from schemas.conventions import IMAGE_PX
from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.prediction import Placement
from schemas.shard import Shard
from schemas.tables import FRAMES
from trainer.batch import decode_image
from trainer.config import DataSettings
from trainer.data import SampleRef, Samples, naming, read_index


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """One person to predict the depth of."""

    name: str
    image: NDArray[np.float32]
    """(512, 512, 3) float32 RGB in [0, 1]."""
    K: NDArray[np.float64]
    """(3, 3) at 512."""
    input_depth: NDArray[np.float32]
    """(512, 512) float32 metres."""
    base_depth: NDArray[np.float32]
    """(256, 256) float32 metres."""
    placement: Placement | None = None
    """Where the crop lies in its picture, where that is known."""
    picture_name: str = ""
    """What the whole picture's files are called."""
    picture: NDArray[np.uint8] | None = None
    """(H, W, 3) uint8 RGB, the whole picture upright, where it is at hand."""


def subjects_of_dataset(
    root: str, sample_ids: Sequence[str] = (), per_track: int | None = None
) -> Iterator[Subject]:
    """Samples by id, or `per_track` evenly spread over every track, or all of them; people of one frame together."""
    dataset = Dataset.open(root)
    index = read_index(dataset)
    chosen = chosen_positions(index, sample_ids, per_track)
    refs = sorted((index[at] for at in chosen), key=_by_frame)
    placements = _placements(dataset, {ref.track_id for ref in refs})
    samples = Samples(refs, DataSettings(), seed=0, training=False)
    for position in range(len(samples)):
        row = samples.row(position)
        unit, frame_index = row["track_id"].rpartition("/")[0], row["frame_index"]
        with naming(samples.refs[position]):
            image = decode_image(row["image"], IMAGE_PX)
        yield Subject(
            name=row["sample_id"],
            image=image,
            K=row["K"],
            input_depth=row["input_depth"],
            base_depth=row["base_depth"],
            placement=placements.get((row["track_id"], frame_index)),
            picture_name=f"{unit}/{frame_index:06d}",
        )


def _by_frame(ref: SampleRef) -> tuple[str, str]:
    """Unit and frame: a sample's id is its track's, then its frame, and a track's is its unit's, then its person."""
    return ref.track_id.rpartition("/")[0], ref.sample_id.rpartition("/")[2]


def chosen_positions(
    index: Sequence[SampleRef], sample_ids: Sequence[str], per_track: int | None
) -> list[int]:
    """Places in the index of samples by id, or of `per_track` evenly spread over every track, or all."""
    if sample_ids:
        places = {ref.sample_id: at for at, ref in enumerate(index)}
        unknown = [sample_id for sample_id in sample_ids if sample_id not in places]
        if unknown:
            raise DatasetError(
                f"the dataset holds no sample {unknown[0]!r}.",
                remedy="See the column sample_id of `samples`.",
            )
        return [places[sample_id] for sample_id in sample_ids]
    if per_track is None:
        return list(range(len(index)))
    tracks: dict[str, list[int]] = {}
    for at, ref in enumerate(index):
        tracks.setdefault(ref.track_id, []).append(at)
    chosen: list[int] = []
    for places_of_track in tracks.values():
        spread = np.linspace(0, len(places_of_track) - 1, per_track + 2)[1:-1].round().astype(int)
        chosen += [places_of_track[at] for at in sorted(set(spread.tolist()))]
    return sorted(chosen)


def _placements(dataset: Dataset, tracks: set[str]) -> dict[tuple[str, int], Placement]:
    """By track and frame, from `frames` and `clips`."""
    sizes = {
        row["clip_id"]: (row["height_px"], row["width_px"])
        for row in dataset.rows("clips", ["clip_id", "height_px", "width_px"])
    }
    columns = ["track_id", "clip_id", "frame_index", "pts_s", "crop_px", "box_px"]
    found = {}
    for path in dataset.shards("frames"):
        with Shard(FRAMES, path) as shard:
            table = shard.filtered(columns, pc.field("track_id").isin(sorted(tracks)))
        for row in table.to_pylist():
            hw = sizes.get(row["clip_id"], (0, 0))
            if min(hw) > 0:
                found[row["track_id"], row["frame_index"]] = Placement(
                    picture=row["clip_id"],
                    picture_hw=hw,
                    crop_px=np.array(row["crop_px"]),
                    box_px=np.array(row["box_px"]),
                    frame_index=row["frame_index"],
                    pts_s=row["pts_s"],
                )
    return found
