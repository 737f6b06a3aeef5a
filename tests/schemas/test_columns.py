"""Cells: what goes in comes out, to the stated precision; damage and wrong shapes are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from schemas.column import Column
from schemas.errors import DatasetError
from schemas.map_cells import _HEADER, _ZSTD, PackedMap
from schemas.tables import REFERENCE, SAMPLES


def person(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A random blob-shaped mask."""
    v, u = np.mgrid[0 : shape[0], 0 : shape[1]]
    return ((u - shape[1] / 2) / (shape[1] / 5)) ** 2 + (
        (v - shape[0] / 2) / (shape[0] / 2.2)
    ) ** 2 + 0.1 * rng.standard_normal(shape) < 1


@pytest.mark.parametrize("distance_m", [0.3, 4.5, 25.0])
def test_depth_keeps_a_twentieth_of_a_millimetre_at_any_distance(distance_m: float) -> None:
    rng = np.random.default_rng(1)
    column = SAMPLES.column("base_depth")
    depth = np.where(person(rng, (256, 256)), distance_m + rng.uniform(0, 2, (256, 256)), 0.0)
    decoded = column.decode(column.encode(depth))
    assert decoded.dtype == np.float32
    assert np.array_equal(decoded > 0, depth > 0)
    float32_m = np.spacing(np.float32(distance_m + 2))
    assert np.abs(decoded - depth).max() <= 0.5e-4 + float32_m


def test_motion_and_validity_come_back_bit_for_bit() -> None:
    rng = np.random.default_rng(2)
    mask = person(rng, (256, 256))
    fields = {field.name: field for field in REFERENCE}
    motion = np.where(mask[..., None], rng.standard_normal((256, 256, 6)), 0).astype(np.float16)
    validity = np.where(mask, rng.integers(1, 32, (256, 256)), 0).astype(np.uint8)
    assert np.array_equal(fields["motion"].decode(fields["motion"].encode(motion)), motion)
    assert np.array_equal(fields["validity"].decode(fields["validity"].encode(validity)), validity)


@pytest.mark.parametrize("name", ["motion", "validity"])
def test_a_packed_map_is_the_cell_of_the_map(name: str) -> None:
    """Byte for byte; pixels that hold nothing but zeros are left out of both."""
    rng, column = np.random.default_rng(6), {field.name: field for field in REFERENCE}[name]
    pixel = np.flatnonzero(person(rng, (256, 256))).astype(np.int32)
    values = rng.integers(0, 256, (6 if name == "motion" else 1, len(pixel))).astype(column.dtype)
    for zeros in ([], [0, 7, len(pixel) - 1]):
        values[:, zeros] = 0
        packed = PackedMap(pixel=pixel, values=values, shape=column.shape)
        dense = packed.dense()
        assert dense.shape == column.shape
        assert np.array_equal(dense.reshape(256 * 256, -1)[pixel], values.T)
        assert column.encode(packed) == column.encode(dense)
    if name == "motion":
        values[2, 5] = np.nan
        with pytest.raises(ValueError, match="holds NaN"):
            column.encode(packed)
    with pytest.raises(ValueError, match="takes shape"):
        column.encode(replace(packed, shape=(128, 512)))


@pytest.mark.parametrize("field", ["motion", "validity", "base_depth"])
def test_maps_of_a_sample_are_those_read_one_by_one(field: str) -> None:
    """Whether their masks are one or several, of long stretches or of single pixels, or empty."""
    rng = np.random.default_rng(9)
    columns = {each.name: each for each in (*REFERENCE, *SAMPLES.columns)}
    column, body = columns[field], person(rng, (256, 256))
    speckled = rng.uniform(size=(256, 256)) < 0.3
    masks = [body, body, speckled, speckled, np.zeros_like(body), body.T, np.ones_like(body)]
    many = replace(columns["references"], fields=(column,))
    maps = []
    for mask in masks:
        values = rng.uniform(1, 7, column.shape)
        maps.append(np.where(mask.reshape(256, 256, *[1] * (values.ndim - 2)), values, 0).astype("float32"))
    maps = [each.astype(np.float32 if column.scale else column.dtype) for each in maps]
    together = many.decode(many.encode([{field: each} for each in maps]))
    for each, found in zip(maps, together, strict=True):
        alone = column.decode(column.encode(each))
        assert alone.dtype == found[field].dtype
        assert np.array_equal(alone, found[field])
        assert np.abs(alone.astype(float) - each).max() <= (0.5e-4 + 2e-6 if column.scale else 0)


def test_a_packed_depth_is_the_cell_of_the_depth() -> None:
    rng, column = np.random.default_rng(7), SAMPLES.column("base_depth")
    pixel = np.flatnonzero(person(rng, (256, 256))).astype(np.int32)
    packed = PackedMap(pixel=pixel, values=rng.uniform(3, 4, (1, len(pixel))), shape=(256, 256))
    assert column.encode(packed) == column.encode(packed.dense())


def test_a_cell_costs_what_its_pixels_cost() -> None:
    column = SAMPLES.column("base_depth")
    depth = np.zeros((256, 256))
    assert len(column.encode(depth)) < 64
    depth[100:110, 100:110] = 4.0 + np.random.default_rng(0).uniform(0, 1, (10, 10))
    assert len(column.encode(depth)) < 64 + 2 * 100 + 100
    motion = next(field for field in REFERENCE if field.name == "motion")
    assert len(motion.encode(np.full((256, 256, 6), -0.0, np.float16))) < 64


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (3, 8, 2)])
def test_odd_sizes_round_trip(shape: tuple[int, ...]) -> None:
    column = Column(name="m", dtype="float16", shape=shape, codec="map")
    values = np.random.default_rng(3).integers(-3, 3, shape).astype(np.float16)
    assert np.array_equal(column.decode(column.encode(values)), values)


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (3, 8, 2), (16, 9, 2, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float16", "float32"])
@pytest.mark.parametrize("differences", [0, 1, 2, 3])
def test_differences_lose_no_bit(shape: tuple[int, ...], dtype: str, differences: int) -> None:
    column = Column(name="m", dtype=dtype, shape=shape, codec="map", differences=differences)
    rng = np.random.default_rng(4)
    if np.dtype(dtype).kind == "f":
        extremes = np.array([np.finfo(dtype).max, np.finfo(dtype).min, np.finfo(dtype).smallest_subnormal])
        values = rng.standard_normal(shape).astype(dtype)
    else:
        extremes = np.array([np.iinfo(dtype).max, np.iinfo(dtype).min])
        values = rng.integers(0, extremes[0], shape).astype(dtype)
    count = min(len(extremes), values.size)
    values.flat[:count] = extremes[:count]
    values[rng.random(shape[:2]) < 0.3] = 0
    decoded = column.decode(column.encode(values))
    assert decoded.dtype == values.dtype
    assert np.array_equal(decoded, values)


def test_a_smooth_surface_costs_half() -> None:
    v, u = np.mgrid[0:256, 0:256] - 127.5
    depth = np.where(np.hypot(u, v) < 80, 4.5 - 0.005 * np.sqrt(np.maximum(80**2 - u**2 - v**2, 0)), 0.0)
    column = SAMPLES.column("base_depth")
    assert 2 * len(column.encode(depth)) < len(replace(column, differences=0).encode(depth))


def test_maps_decoded_together_are_those_decoded_alone() -> None:
    rng = np.random.default_rng(5)
    motion = next(field for field in REFERENCE if field.name == "motion")
    column = Column(name="l", dtype="struct", codec="list", fields=(motion,))
    maps = [
        np.where(person(rng, (256, 256))[..., None], rng.standard_normal((256, 256, 6)), 0) for _ in "abc"
    ]
    cells = column.encode([{"motion": values.astype(np.float16)} for values in maps])
    for item, cell in zip(column.decode(cells), cells, strict=True):
        assert np.array_equal(item["motion"], motion.decode(cell["motion"]))
        assert item["motion"].transpose(2, 0, 1).flags.c_contiguous  # what a trainer turns into tensors
    assert column.decode([]) == []


def test_what_does_not_fit_is_refused() -> None:
    column = SAMPLES.column("base_depth")
    with pytest.raises(ValueError, match="takes shape"):
        column.encode(np.zeros((255, 256)))
    with pytest.raises(ValueError, match="NaN"):
        column.encode(np.full((256, 256), np.nan))
    deep = np.zeros((256, 256))
    deep[0, 0], deep[0, 1] = 1.0, 9.0
    with pytest.raises(ValueError, match="spans"):
        column.encode(deep)
    motion = {field.name: field for field in REFERENCE}["motion"]
    with pytest.raises(ValueError, match="overflows"):
        motion.encode(np.full((256, 256, 6), 1e6))
    with pytest.raises(ValueError, match="must not be empty"):
        SAMPLES.column("clip_id").encode(None)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("planted", [np.nan, np.inf, -np.inf])
def test_what_no_writer_may_store_is_found_when_read(dtype: str, planted: float) -> None:
    """A cell written without `encode`'s check. The largest number there is remains a number."""
    column = Column(name="m", dtype=dtype, shape=(4, 4, 2), codec="map")
    values = np.zeros((4, 4, 2), dtype)
    values[1, 2], values[3, 3] = np.finfo(dtype).max, -np.finfo(dtype).max
    cell = column.encode(values)
    assert np.array_equal(column.decode(cell), values)
    raw = bytearray(_ZSTD.decompress(cell[_HEADER.size :], _HEADER.unpack_from(cell)[0], asbytes=True))
    size = np.dtype(dtype).itemsize
    for plane, byte in enumerate(np.array(planted, dtype).tobytes()):
        raw[2 + 2 * plane] = byte  # two bytes of mask, then planes of two pixels
    assert len(raw) == 2 + 2 * size * 2
    with pytest.raises(DatasetError, match="NaN or infinity"):
        column.decode(cell[: _HEADER.size] + _ZSTD.compress(bytes(raw), asbytes=True))


def test_a_damaged_cell_is_a_dataset_error() -> None:
    column = SAMPLES.column("base_depth")
    cell = column.encode(np.pad(np.full((10, 10), 3.0), 123))
    for damaged in (cell[:5], cell[:-4], cell[:12] + b"\x00" * (len(cell) - 12)):
        with pytest.raises(DatasetError, match="base_depth"):
            column.decode(damaged)
