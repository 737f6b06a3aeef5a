"""Reading samples back, at random and in order, and how many bytes they take."""

from __future__ import annotations

import io
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.assets import asset_path
from pipeline.method.segment import process_segment
from pipeline.records import ClipRef, Segment, VideoFacts
from pipeline.video.crops import crop_image, encode_jpeg
from pipeline.video.decode import decode
from schemas.conventions import IMAGE_PX
from schemas.shard import read_rows
from schemas.tables import SAMPLES
from tests.benchmarks.measuring import Benchmark, Call, UnavailableError
from tests.support.fast_units import fast_resources, fast_settings, write_clips

ON = "48 samples of one reference, body 12 % of the map, JPEG crops of a real clip"
MAPS = ("input_depth", "base_depth", "motion", "validity")


def benchmarks() -> list[Benchmark]:
    """Entries of build/benchmarks.json."""
    return [
        Benchmark(
            name="random_row_vs_fixed_shape_tensor",
            detail=f"all maps of one random row, file opened anew; {ON}; peer: fixed_shape_tensor columns, zstd",
            prepare=_random_row,
            max_rounds=61,
        ),
        Benchmark(
            name="sequential_vs_webdataset_npz",
            detail=f"every map of every row in order; {ON}; peer: webdataset tar of one compressed npz a sample",
            prepare=lambda: _sequential("npz"),
        ),
        Benchmark(
            name="sequential_vs_webdataset_npy",
            detail=f"every map of every row in order; {ON}; peer: webdataset tar of one npy a map",
            prepare=lambda: _sequential("npy"),
        ),
        Benchmark(
            name="sequential_vs_mmap",
            detail=f"every map of every row in order; {ON}; peer (the floor): a copy out of memory-mapped npy files",
            prepare=_mmap,
        ),
        Benchmark(
            name="sample_bytes_vs_dense",
            detail=f"bytes (not ms) a sample on disk, images included; {ON}; peer: dense maps as they are decoded",
            measure=_bytes,
        ),
    ]


@cache
def _kept_folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="humandepth-benchmark-")


def _folder() -> Path:
    return Path(_kept_folder().name)


@cache
def _rows() -> list[dict[str, Any]]:
    """Samples of a real body; their pictures are crops of the demo clip."""
    settings = fast_settings("pairs.max_references=1")
    resources, rows = fast_resources(settings), []
    write_clips(_folder() / "clips", ["clip"])
    path = _folder() / "clips" / "clip.mp4"
    video = VideoFacts(width_px=96, height_px=96, mean_fps=15.0, duration_s=0.8, sha256="")
    for number in range(24):
        clip = ClipRef(clip_id=f"clip-{number:02d}", uri=str(path), source_id="s")
        unit = f"{clip.clip_id}-s000-w000"
        segment = Segment(clip=clip, unit_id=unit, shot_index=0, start_s=0.0, end_s=0.8, video=video)
        found: dict[str, list] = {}
        process_segment(
            segment,
            resources,
            lambda table, row, found=found: found.setdefault(table, []).append(row),
        )
        rows += found["samples"]
    pictures = [_jpeg(frame.image) for frame, _ in zip(decode(asset_path("demo.mp4")), range(2 * len(rows)))]
    for at, row in enumerate(rows):
        row["image"] = pictures[2 * at % len(pictures)]
        row["references"][0]["image"] = pictures[(2 * at + 1) % len(pictures)]
    return rows


def _jpeg(image: np.ndarray) -> bytes:
    height, width = image.shape[:2]
    side = min(height, width)
    return encode_jpeg(crop_image(image, np.array([width / 2, height / 2, side]), IMAGE_PX), 92)


def _maps(row: dict[str, Any]) -> dict[str, np.ndarray]:
    """The dense maps of a decoded row with one reference."""
    return {name: np.asarray(row[name] if name in row else row["references"][0][name]) for name in MAPS}


@cache
def _shard() -> Path:
    path = _folder() / "samples.parquet"
    SAMPLES.write(_rows(), path)
    return path


@cache
def _dense() -> list[dict[str, np.ndarray]]:
    return [_maps(row) for row in read_rows(SAMPLES, _shard())]


def _our_row(at: int) -> dict[str, np.ndarray]:
    columns = ["input_depth", "base_depth", *(f"references.list.element.{name}" for name in MAPS[2:])]
    with pq.ParquetFile(_shard(), memory_map=True) as file:
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if at < rows:
                cells = file.read_row_group(group, columns=columns).slice(at, 1).to_pylist()[0]
                return _decoded(cells)
            at -= rows
    raise IndexError(at)


def _decoded(cells: dict[str, Any]) -> dict[str, np.ndarray]:
    fields = {field.name: field for field in SAMPLES.column("references").fields}
    reference = cells["references"][0]
    maps = {name: SAMPLES.column(name).decode(cells[name]) for name in MAPS[:2]}
    return maps | {name: fields[name].decode(reference[name]) for name in MAPS[2:]}


def _our_pass() -> float:
    columns = ["input_depth", "base_depth", *(f"references.list.element.{name}" for name in MAPS[2:])]
    total = 0.0
    with pq.ParquetFile(_shard(), memory_map=True) as file:
        for group in range(file.num_row_groups):
            for cells in file.read_row_group(group, columns=columns).to_pylist():
                total += float(_decoded(cells)["base_depth"][128, 128])
    return total


def _random_row() -> tuple[Call, Call]:
    dense = _dense()
    tensors = {}
    for name in MAPS:
        stack = np.stack([maps[name] for maps in dense])
        tensors[name] = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(stack))
    path = _folder() / "tensors.parquet"
    with pq.ParquetFile(_shard()) as file:
        rows = file.metadata.row_group(0).num_rows
    pq.write_table(pa.table(tensors), path, compression="zstd", row_group_size=rows)
    order = np.random.default_rng(0).integers(0, len(dense), 10_000).tolist()
    positions = {"ours": iter(order), "peer": iter(order)}

    def ours() -> dict[str, np.ndarray]:
        return _our_row(next(positions["ours"]))

    def peer() -> dict[str, np.ndarray]:
        at = next(positions["peer"])
        with pq.ParquetFile(path, memory_map=True) as file:
            table = file.read_row_group(at // rows).slice(at % rows, 1).combine_chunks()
        return {name: table[name].chunk(0).to_numpy_ndarray()[0] for name in MAPS}

    one, other = ours(), peer()
    assert all(np.array_equal(one[name], other[name]) for name in MAPS)
    return ours, peer


def _sequential(kind: str) -> tuple[Call, Call]:
    try:
        import webdataset
    except ModuleNotFoundError as error:
        raise UnavailableError("webdataset is not installed: `make bench` installs it") from error
    path = str(_folder() / f"{kind}.tar")
    with webdataset.TarWriter(path) as tar:
        for at, maps in enumerate(_dense()):
            if kind == "npz":
                buffer = io.BytesIO()
                np.savez_compressed(buffer, **maps)
                tar.write({"__key__": f"{at:06d}", "npz": buffer.getvalue()})
            else:
                tar.write({"__key__": f"{at:06d}"} | {f"{name}.npy": value for name, value in maps.items()})

    def peer() -> float:
        total = 0.0
        for sample in webdataset.WebDataset(path, shardshuffle=False).decode():
            if kind == "npz":
                maps = {name: sample["npz"][name] for name in MAPS}
                total += float(maps["base_depth"][128, 128])
            else:
                total += float(sample["base_depth.npy"][128, 128])
        return total

    assert abs(_our_pass() - peer()) < 1e-3
    return _our_pass, peer


def _mmap() -> tuple[Call, Call]:
    dense = _dense()
    for name in MAPS:
        np.save(_folder() / f"{name}.npy", np.stack([maps[name] for maps in dense]))

    def peer() -> float:
        stacks = {name: np.load(_folder() / f"{name}.npy", mmap_mode="r") for name in MAPS}
        total = 0.0
        for at in range(len(dense)):
            maps = {name: np.array(stack[at]) for name, stack in stacks.items()}
            total += float(maps["base_depth"][128, 128])
        return total

    assert abs(_our_pass() - peer()) < 1e-3
    return _our_pass, peer


def _bytes() -> tuple[float, float]:
    rows = _rows()
    images = sum(len(row["image"]) + len(row["references"][0]["image"]) for row in rows)
    dense = sum(value.nbytes for maps in _dense() for value in maps.values())
    return _shard().stat().st_size / len(rows), (images + dense) / len(rows)
