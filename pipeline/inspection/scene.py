"""One frame or pair out of a dataset: bodies posed again from `frames`, pictures and maps as `samples` holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline.audit.pictures import stored_crop
from pipeline.audit.sample_cells import SampleCells
from pipeline.dataset.track_surfaces import surfaces_of
from pipeline.geometry.camera import Camera
from pipeline.geometry.motion import MotionField, motion_field
from pipeline.geometry.posed_surface import PosedSurface
from pipeline.method.rendered_frames import base_vertices, body_from_vector
from pipeline.method.resources import Resources
from schemas.conventions import IMAGE_PX
from schemas.dataset import Dataset
from schemas.errors import DatasetError
from schemas.pair_facts import PAIR_FACTS, pair_facts, read_columns
from schemas.shard import Shard
from schemas.tables import SAMPLES, TABLES

_FRAME_FACTS = ("pts_s", "kept", "reason", "reprojection_error", "silhouette_iou", "acceleration_mm")
_OWNED = ["track_id", "references.list.element.frame_index"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FrameScene:
    """A person in one frame."""

    track_id: str
    frame_index: int
    facts: dict[str, Any]
    """What `frames` says about it."""
    surface: PosedSurface
    """The base mesh before the crop's camera at IMAGE_PX (coordinates shared by all crops of a clip whose camera stands
    still)."""
    row: dict[str, Any] | None
    """What `samples` holds: a whole row where the frame is a target, `image` and `K` where it is only a reference."""

    @property
    def name(self) -> str:
        """As the command line takes it."""
        return f"{self.track_id}/{self.frame_index:06d}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """A target, alone or with a reference."""

    target: FrameScene
    reference: FrameScene | None
    field: MotionField | None
    """Of every vertex of the target, `reference_from_target`."""
    stored: dict[str, Any] | None
    """The reference as the target's sample holds it, maps and all; None for a pair that was dropped."""
    facts: dict[str, Any]
    """What is known about the pair (`PAIR_FACTS`)."""


class SceneReader:
    """Finds frames and pairs of one dataset."""

    def __init__(self, dataset: Dataset, resources: Resources) -> None:
        self._dataset, self._resources = dataset, resources
        self._cells = SampleCells(dataset)
        self._targets: dict[tuple[str, int], int] = {}
        self._shown: dict[tuple[str, int], int] = {}
        names = read_columns(dataset, "samples", ["track_id", "frame_index"]).to_pylist()
        for row, name in enumerate(names):
            self._targets[name["track_id"], name["frame_index"]] = row

    def usual_target(self) -> str:
        """The sample in the middle of the dataset. Raises DatasetError where there is none."""
        if not self._targets:
            raise DatasetError(
                f"{self._dataset.name} holds no sample to show.",
                remedy="Name a frame, TRACK/FRAME: tracks are in the audit's table `People`.",
            )
        track_id, frame = list(self._targets)[len(self._targets) // 2]
        return f"{track_id}/{frame:06d}"

    def usual_reference(self, target: str) -> int | None:
        """The kept reference that shares most surface with a target; None where it has none."""
        track_id, frame = _frame_of(target)
        pairs = self._pairs(track_id, frame)
        kept = [pair for pair in pairs if pair["kept"]]
        best = max(kept, key=lambda pair: pair["valid_fraction"], default=None)
        return None if best is None else int(best["reference_frame"])

    def read(self, target: str, reference: int | None = None) -> Scene:
        """A frame `TRACK/FRAME`, with another frame of the track as its reference where one is given.

        The pair need not be kept, nor even have been tried. Raises DatasetError where a frame is not in `frames`.
        """
        track_id, frame = _frame_of(target)
        wanted = [frame] if reference is None else [frame, reference]
        scenes = [self._frame(track_id, number) for number in wanted]
        if reference is None:
            return Scene(target=scenes[0], reference=None, field=None, stored=None, facts={})
        row = self._targets.get((track_id, frame))
        cells = self._cells.row(row, references=[reference]) if row is not None else {"references": []}
        tried = [pair for pair in self._pairs(track_id, frame) if pair["reference_frame"] == reference]
        return Scene(
            target=scenes[0],
            reference=scenes[1],
            field=motion_field(
                target=scenes[0].surface, reference=scenes[1].surface, rings=self._resources.rings
            ),
            stored=next(iter(cells["references"]), None),
            facts=tried[0] if tried else {},
        )

    def _frame(self, track_id: str, frame: int) -> FrameScene:
        rows = self._rows_of(track_id)
        found = rows.get(frame)
        if found is None:
            frames = sorted(rows)
            has = f"it has frames {frames[0]} to {frames[-1]}" if frames else "there is no such track"
            raise DatasetError(
                f"{self._dataset.name} holds no frame {frame} of track {track_id!r}: {has}.",
                remedy="Write TRACK/FRAME as the table `frames` has them.",
            )
        camera = Camera(found["K"], (IMAGE_PX, IMAGE_PX))
        body = body_from_vector(found["body_vector"].astype(np.float64), camera, self._resources.body)
        surface = surfaces_of(self._dataset, {track_id}).get(track_id)
        return FrameScene(
            track_id=track_id,
            frame_index=frame,
            facts={name: found[name] for name in _FRAME_FACTS},
            surface=replace(body, vertices=base_vertices(body.vertices, surface, self._resources)),
            row=self._row(track_id, frame),
        )

    def _rows_of(self, track_id: str) -> dict[int, dict[str, Any]]:
        """A track's rows of `frames` by frame index; files whose statistics rule the track out are not read."""
        spec = TABLES["frames"]
        columns = ["frame_index", "body_vector", "K", *_FRAME_FACTS]
        found = {}
        for path in self._dataset.shards("frames"):
            with Shard(spec, path) as shard:
                rows = shard.filtered(columns, pc.field("track_id") == track_id).to_pylist()
            for cells in rows:
                row = spec.decode_row(cells)
                found[row["frame_index"]] = row
        return found

    def _row(self, track_id: str, frame: int) -> dict[str, Any] | None:
        """The frame as a target, or else as a reference of some other."""
        row = self._targets.get((track_id, frame))
        if row is not None:
            return self._drawable(
                row, self._cells.row(row, columns=("image", "K", "input_depth", "base_depth"))
            )
        if not self._shown:
            self._shown = self._owners()
        owner = self._shown.get((track_id, frame))
        if owner is None:
            return None
        (stored,) = self._cells.row(owner, references=[frame])["references"]
        return self._drawable(owner, {"image": stored["image"], "K": stored["K"]})

    def _drawable(self, row: int, cells: dict[str, Any]) -> dict[str, Any]:
        """The cells, once their picture is known to be one."""
        with self._cells.drawn(row):
            stored_crop(cells)
        return cells

    def _owners(self) -> dict[tuple[str, int], int]:
        """A sample that holds the picture of a frame as its reference, for every such frame."""
        owners: dict[tuple[str, int], int] = {}
        row = 0
        for path in self._dataset.shards("samples"):
            with Shard(SAMPLES, path) as shard:
                rows = shard.table(_OWNED).to_pylist()
            for cells in rows:
                for reference in cells["references"]:
                    owners.setdefault((cells["track_id"], reference["frame_index"]), row)
                row += 1
        return owners

    def _pairs(self, track_id: str, frame: int) -> list[dict[str, Any]]:
        columns = [column.name for column in PAIR_FACTS.columns]
        chosen = (pc.field("track_id") == track_id) & (pc.field("target_frame") == frame)
        return list(pair_facts(self._dataset, columns, chosen).to_pylist())


def _frame_of(name: str) -> tuple[str, int]:
    track_id, _, frame = name.rpartition("/")
    if not track_id or not frame.isdecimal():
        raise DatasetError(
            f"{name!r} is not the name of a frame.",
            remedy="Write TRACK/FRAME, or a `sample_id`: clip-s000-w000/p00/000123.",
        )
    return track_id, int(frame)
