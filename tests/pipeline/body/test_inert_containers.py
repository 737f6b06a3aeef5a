"""Files of joblib and torch come back as joblib and torch read them, in every container, without either."""

from __future__ import annotations

import bz2
import gzip
import lzma
import pickle
import sys
import zlib
from pathlib import Path
from typing import Any

import joblib
import lz4.frame
import numpy as np
import pytest
import torch

from pipeline.body import inert_torch, joblib_arrays, pickle_source
from pipeline.body.inert_pickle import read_pickle
from pipeline.body.inert_values import UNNEEDED
from pipeline.foreign.result_files import read_result
from schemas.errors import AssetError, SourceError
from tests.pipeline.body.containers import COMPRESSIONS, arrays, joblib_bytes, tensors, torch_bytes


def assert_same(found: Any, expected: Any) -> None:
    """The same numbers, types and nesting; tensors are arrays, tuples of lists may be lists."""
    if isinstance(expected, torch.Tensor):
        expected = expected.detach()
        expected = expected.float().numpy() if expected.dtype == torch.bfloat16 else expected.numpy()
    if isinstance(expected, np.ndarray) and expected.dtype == object:
        expected = expected.tolist()
    if isinstance(expected, np.ndarray):
        assert found.shape == expected.shape
        assert found.dtype == expected.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found == expected


def written(folder: Path, data: bytes, name: str = "file.pkl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# Python 3.13: lz4's writer, which joblib closes from below, complains as it is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_joblib(tmp_path: Path, compression: str, protocol: int) -> None:
    path = written(tmp_path, joblib_bytes(arrays(), COMPRESSIONS[compression], protocol))
    assert_same(read_pickle(path), joblib.load(path))


def test_joblib_without_alignment_and_in_small_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """joblib before 1.2 wrote no padding, and no chunk's end may fall in an array or a description unnoticed."""
    monkeypatch.setattr(
        "joblib.numpy_pickle.NumpyArrayWrapper.safe_get_numpy_array_alignment_bytes", lambda _: None
    )
    create = joblib.numpy_pickle.NumpyPickler._create_array_wrapper

    def unaligned(self, array):
        wrapper = create(self, array)
        wrapper.numpy_array_alignment_bytes = None
        return wrapper

    monkeypatch.setattr("joblib.numpy_pickle.NumpyPickler._create_array_wrapper", unaligned)
    old = joblib_bytes(arrays())
    monkeypatch.undo()
    for data in (old, joblib_bytes(arrays(), 3)):
        for chunk in (7, 64, 1_000):
            monkeypatch.setattr(pickle_source, "CHUNK_BYTES", chunk)
            assert_same(read_pickle(written(tmp_path, data)), arrays())


def test_descriptions_are_understood_once_and_never_confused(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    kinds = [
        np.zeros((2, 3), "f4"),
        np.zeros((3, 2), "f4"),
        np.zeros(6, "f8"),
        np.zeros((1, 1, 2, 1, 2), ">i2"),
    ]
    many = [rng.integers(0, 99, kind.shape).astype(kind.dtype) for _ in range(300) for kind in kinds]
    with written(tmp_path, joblib_bytes(many)).open("rb") as stream:
        machine = inert_torch.machine(pickle_source.PickleSource(stream))
        assert_same(machine.run(), many)
    assert 0 < len(machine.descriptions) <= 2 * len(kinds) + 1
    assert joblib_arrays.REPEATED.match(next(iter(machine.descriptions)))


def test_large_arrays_that_nobody_needs_are_not_even_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every container: a film's meshes take a hundred times what its poses take."""
    contents = {
        f"{number}.jpg": {"verts": np.ones((9, 1_000)), "pose": np.arange(3.0)} for number in range(30)
    }
    np.savez_compressed(tmp_path / "film.npz", results=contents)  # type: ignore[arg-type]
    np.save(tmp_path / "film.npy", contents, allow_pickle=True)  # type: ignore[arg-type]
    for name, data in (
        ("a.pkl", joblib_bytes(contents)), ("b.pkl", joblib_bytes(contents, 3)), ("c.pkl", pickle.dumps(contents, 3)),
        ("d.pkl", pickle.dumps(contents, 5)), ("film.npy", (tmp_path / "film.npy").read_bytes()),
        ("film.npz", (tmp_path / "film.npz").read_bytes()),
    ):  # fmt: skip
        path = written(tmp_path, data, name)
        monkeypatch.setattr(pickle_source, "MAX_BYTES", 500_000)
        monkeypatch.setattr(pickle_source, "CHUNK_BYTES", 10_000)
        with pytest.raises(SourceError, match="MAX_BYTES"):
            read_result(path)
        found = read_result(path, frozenset({"verts"}))
        found = found.get("results", found)
        assert len(found) == 30
        assert_same([frame["pose"] for frame in found.values()], [np.arange(3.0)] * 30)
        monkeypatch.undo()


@pytest.mark.parametrize("where", ["list", "single", "value", "nested"])
def test_arrays_that_nobody_needs_are_passed_over(tmp_path: Path, where: str) -> None:
    values = {"list": [np.ones(3), np.ones(4)], "single": [np.ones(3)], "value": np.ones(3)}
    contents = {
        "a": {"kept": np.arange(3.0), "verts": values.get(where, np.ones(5)), "also": [np.arange(2.0)]}
    }
    names = ["verts", np.arange(5.0)]  # a text before an array in a list is no key
    for data in (
        joblib_bytes([contents, names]),
        joblib_bytes([contents, names], 3),
        pickle.dumps([contents, names]),
    ):
        found, beside = read_pickle(written(tmp_path, data), frozenset({"verts"}))
        assert_same(found["a"]["kept"], np.arange(3.0))
        assert_same(found["a"]["also"], [np.arange(2.0)])
        assert_same(beside, names)
        passed = found["a"]["verts"]
        assert all(item is UNNEEDED for item in (passed if isinstance(passed, list) else [passed]))


@pytest.mark.parametrize("legacy", [False, True])
def test_torch(tmp_path: Path, legacy: bool) -> None:
    path = written(tmp_path, torch_bytes(tensors(), legacy=legacy), "file.pt")
    assert_same(read_pickle(path), tensors())


def test_tensors_inside_other_files(tmp_path: Path) -> None:
    for protocol in (2, 4, 5):
        assert_same(read_pickle(written(tmp_path, pickle.dumps(tensors(), protocol=protocol))), tensors())
    assert_same(read_pickle(written(tmp_path, joblib_bytes(tensors(), 3))), tensors())
    np.save(tmp_path / "track.npy", tensors(), allow_pickle=True)  # type: ignore[arg-type]
    assert_same(read_pickle(tmp_path / "track.npy"), tensors())


def test_a_torch_file_without_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read by this package alone: nothing of torch or joblib is asked."""
    path = written(tmp_path, torch_bytes(tensors()), "file.pt")
    monkeypatch.setattr(torch, "load", None)
    monkeypatch.setattr(joblib, "load", None)
    before = set(sys.modules)
    assert_same(read_pickle(path), tensors())
    assert set(sys.modules) == before


BOMB = b"\x80\x02(" + b"K\x00" * 5_000_000 + b"l."
PACKED = {
    "zlib": zlib.compress, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "lz4": lz4.frame.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}  # fmt: skip


@pytest.mark.parametrize("compression", PACKED)
def test_what_unpacks_to_too_much_is_refused_by_the_limits_name(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, PACKED[compression](BOMB))
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(pickle_source, "MAX_UNPACKED_BYTES", 2 << 20)
    with pytest.raises(AssetError, match=r"unpacks to more than 2097152 bytes \(MAX_UNPACKED_BYTES\)"):
        read_pickle(path)


@pytest.mark.parametrize("compression", PACKED)
def test_streams_in_pieces_and_damaged_ones(tmp_path: Path, compression: str) -> None:
    data = pickle.dumps(np.arange(1000.0))
    pack = PACKED[compression]
    if compression not in ("lzma", "zlib"):
        in_two = pack(data[:500]) + pack(data[500:])
        assert_same(read_pickle(written(tmp_path, in_two)), np.arange(1000.0))
    whole = pack(data)
    for cut in (whole[: len(whole) // 2], whole[:20] + b"\xaa" * 60 + whole[80:]):
        with pytest.raises(AssetError, match="is not read"):
            read_pickle(written(tmp_path, cut))


def test_zip_members_that_claim_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inert_torch, "MAX_BYTES", 1_000_000)
    with pytest.raises(AssetError, match=r"members claim 40\d+ bytes, more than 1000000 \(MAX_BYTES\)"):
        read_pickle(written(tmp_path, torch_bytes(torch.zeros(1_000_000)), "file.pt"))


def test_tensors_that_leave_their_storage_are_refused(tmp_path: Path) -> None:
    data = pickle.dumps(torch.zeros(2, 3), protocol=2)
    size, stride = b"K\x02K\x03\x86", b"K\x03K\x01\x86"
    assert size in data
    assert stride in data
    for wrong in (b"K\x03K\x03\x86", b"J\xff\xff\xff\x7fK\x03\x86", b"J\xff\xff\xff\xffK\x03\x86"):
        with pytest.raises(AssetError, match=r"a tensor of shape|an array of shape"):
            read_pickle(written(tmp_path, data.replace(size, wrong)))
    stretched = data.replace(stride, b"K\x00K\x00\x86").replace(
        size, b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86"
    )
    with pytest.raises(AssetError, match="repeats"):
        read_pickle(written(tmp_path, stretched))


def test_a_program_of_torch_is_no_file_of_numbers(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="jit"):  # torch's word on what such files are made with
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "model.pt")
    with pytest.raises(AssetError, match="TorchScript"):
        read_pickle(tmp_path / "model.pt")
