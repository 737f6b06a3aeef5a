"""Datasets whose tables are made up: rows without pictures, with faults planted on request."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.dataset.storage import publish_text
from schemas.dataset import INFO_PATH, dataset_info, record_path, shard_path
from schemas.tables import TABLES
from schemas.work_record import Pack, ShardFacts, WorkRecord


def write_tables(root: Path, tables: dict[str, dict[str, Any]], unit: str = "unit") -> Path:
    """A dataset of one unit with these columns; columns that are not given hold zeros and empty texts."""
    publish_text(json.dumps(dataset_info()) + "\n", str(root), INFO_PATH)
    shards = []
    for name, columns in tables.items():
        path = root / shard_path(name, unit)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = _filled(name, columns)
        pq.write_table(table, path)
        shards.append(ShardFacts.of(name, table.num_rows, Pack.of(path, shard_path(name, unit))))
    record = WorkRecord(unit_id=unit, fingerprint="f", outcome="kept", shards=tuple(shards))
    publish_text(record.to_json(), str(root), record_path(unit))
    return root


def made_up(clips: list[str], frames: int = 40, *, seed: int = 0) -> dict[str, dict[str, Any]]:
    """A sound dataset: one person and one source a clip, pairs 2, 4 and 8 frames apart, 2 degrees a frame."""
    rng = np.random.default_rng(seed)
    targets = np.tile(np.repeat(np.arange(frames), 3), len(clips))
    gaps = np.tile([2, 4, 8], frames * len(clips))
    owner = np.repeat(np.arange(len(clips)), 3 * frames)
    turn = 2.0 * gaps + rng.uniform(0, 1, len(gaps))
    baseline = 4.0 * np.radians(turn)
    names = np.array(clips, object)
    pairs: dict[str, Any] = {
        "source_id": [f"source-{name}" for name in names[owner]],
        "clip_id": list(names[owner]),
        "track_id": [f"{name}/p00" for name in names[owner]],
        "target_frame": targets, "reference_frame": targets + gaps, "gap_frames": gaps, "gap_s": gaps / 30,
        "mean_baseline_m": baseline, "rotation_deg": turn, "parallax_px": turn, "baseline_over_depth": baseline / 4,
        "visible_fraction": np.full(len(gaps), 0.9), "valid_fraction": rng.uniform(0.4, 0.9, len(gaps)),
        "target_depth_m": np.full(len(gaps), 4.0), "focal_px": np.full(len(gaps), 571.0),
        "textured_fraction": np.full(len(gaps), 0.8), "matched_fraction": np.full(len(gaps), 0.9),
        "kept": baseline >= 0.5, "reason": np.where(baseline >= 0.5, "", "below-baseline"),
    }  # fmt: skip
    index = np.tile(np.arange(frames + 8), len(clips))
    of = np.repeat(np.arange(len(clips)), frames + 8)
    tracks = {
        "source_id": [f"source-{name}" for name in names[of]],
        "clip_id": list(names[of]),
        "track_id": [f"{name}/p00" for name in names[of]],
    }
    frame_rows: dict[str, Any] = tracks | {
        "frame_index": index, "crop_px": np.tile([500.0, 500.0, 500.0], (len(index), 1)),
        "silhouette_iou": rng.uniform(0.7, 0.9, len(index)), "reprojection_error": rng.uniform(0, 0.03, len(index)),
        "acceleration_mm": rng.uniform(2, 8, len(index)), "kept": np.ones(len(index), bool),
    }  # fmt: skip
    clip_rows: dict[str, Any] = {
        "source_id": [f"source-{name}" for name in clips], "clip_id": clips, "unit_id": clips,
        "input_sha256": [hashlib.sha256(name.encode()).hexdigest() for name in clips],
        "end_s": np.full(len(clips), 2.0), "width_px": np.full(len(clips), 1920), "licence": ["CC0"] * len(clips),
        "outcome": ["kept"] * len(clips), "frames_read": np.full(len(clips), frames),
        "focal_source": ["given"] * len(clips),
        "focal_uncertainty": [None] * len(clips),
    }  # fmt: skip
    return {"pairs": pairs, "frames": frame_rows, "clips": clip_rows}


def _filled(name: str, columns: dict[str, Any]) -> pa.Table:
    schema = TABLES[name].arrow_schema()
    count = len(next(iter(columns.values())))
    arrays = []
    for field in schema:
        if field.name in columns:
            values = columns[field.name]
            values = [list(item) for item in values] if pa.types.is_fixed_size_list(field.type) else values
            arrays.append(pa.array(values, field.type))
        elif pa.types.is_fixed_size_list(field.type):
            flat = pa.array(np.zeros(count * field.type.list_size)).cast(field.type.value_type)
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, field.type.list_size))
        elif pa.types.is_string(field.type):
            arrays.append(pa.array(np.full(count, "", object), field.type))
        else:
            arrays.append(pa.array(np.zeros(count)).cast(field.type))
    return pa.table(arrays, schema=schema)
