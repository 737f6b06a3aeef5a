"""Pickles are read as data: what numeric files hold comes back exactly, and everything else is refused unexecuted."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import sys
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from pipeline.body import pickle_machine
from pipeline.body.inert_pickle import dense_array, read_pickle
from pipeline.body.inert_values import Inert
from schemas.errors import AssetError
from tests.fuzz.mutants import mutant
from tests.pipeline.body.smpl_files import chumpy_array, pretended_chumpy

MUTANTS = int(os.environ.get("FUZZ_PICKLES", "300"))


def written(folder: Path, data: bytes) -> Path:
    path = folder / "file.pkl"
    path.write_bytes(data)
    return path


CONTENTS = {
    "scalars": [1, -7, 2**70, 1.5, True, None, "text", b"bytes", (1, (2, 3))],
    "float64": np.arange(12.0).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "big-endian": np.arange(5, dtype=">i4"),
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.float32(0.25),
    "bools": np.array([True, False]),
    "ordered": OrderedDict(a=1, b=np.ones(2)),
}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_contents_come_back(tmp_path: Path, protocol: int) -> None:
    found = read_pickle(written(tmp_path, pickle.dumps(CONTENTS, protocol=protocol)))
    assert found.keys() == CONTENTS.keys()
    assert found["scalars"] == CONTENTS["scalars"]
    for key in ("float64", "fortran", "big-endian", "empty", "bools", "scalar"):
        np.testing.assert_array_equal(found[key], CONTENTS[key])
        assert np.asarray(found[key]).shape == np.asarray(CONTENTS[key]).shape
    assert found["ordered"].keys() == {"a", "b"}
    np.testing.assert_array_equal(found["ordered"]["b"], [1, 1])


def test_shared_and_nested_objects_keep_their_arrays(tmp_path: Path) -> None:
    shared = np.arange(3.0)
    found = read_pickle(written(tmp_path, pickle.dumps([{"a": shared}, (shared, [shared])])))
    for array in (found[0]["a"], found[1][0], found[1][1][0]):
        np.testing.assert_array_equal(array, shared)


def test_arrays_of_objects_in_npy_files_are_lists(tmp_path: Path) -> None:
    path = tmp_path / "track.npy"
    np.save(path, {"pose": np.ones((2, 3))}, allow_pickle=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(read_pickle(path)["pose"], np.ones((2, 3)))


@pytest.mark.parametrize("kind", ["csc_matrix", "csr_matrix", "coo_matrix"])
def test_sparse_matrices_are_those_of_scipy(tmp_path: Path, kind: str) -> None:
    dense = np.random.default_rng(0).normal(size=(6, 9)) * (np.random.default_rng(1).random((6, 9)) < 0.3)
    found = read_pickle(written(tmp_path, pickle.dumps(getattr(sparse, kind)(dense))))
    np.testing.assert_array_equal(dense_array(found), dense)


@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_arrays_are_read_without_chumpy(tmp_path: Path, protocol: int) -> None:
    with pretended_chumpy():
        data = pickle.dumps(chumpy_array(np.arange(6.0).reshape(2, 3)), protocol=protocol)
    found = read_pickle(written(tmp_path, data))
    assert isinstance(found, Inert)
    np.testing.assert_array_equal(dense_array(found), np.arange(6.0).reshape(2, 3))


def joblib_file(arrays: list[np.ndarray], *, padded: bool) -> bytes:
    """A list of arrays as joblib writes it: each array's bytes in the stream behind its description."""
    stream = io.BytesIO()
    stream.write(b"\x80\x04]")
    for array in arrays:
        state = {
            "subclass": None, "shape": array.shape, "order": "C", "dtype": array.dtype, "allow_mmap": True,
            "numpy_array_alignment_bytes": 16 if padded else None,
        }  # fmt: skip
        stream.write(b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81")
        stream.write(pickle.dumps(state, protocol=2)[2:-1])  # without PROTO and STOP
        stream.write(b"b")
        if padded:
            length = 16 - (stream.tell() + 1) % 16
            stream.write(bytes([length]) + b"\xff" * length)
        stream.write(array.tobytes())
        stream.write(b"a")
    return stream.getvalue() + b"."


@pytest.mark.parametrize("padded", [False, True])
def test_joblib_files_are_read(tmp_path: Path, padded: bool) -> None:
    arrays = [np.arange(6.0).reshape(2, 3), np.arange(4, dtype=np.int32)]
    found = read_pickle(written(tmp_path, joblib_file(arrays, padded=padded)))
    assert len(found) == 2
    for one, other in zip(found, arrays):
        np.testing.assert_array_equal(one, other)


class Calls:
    """Unpickles to a call."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def pickle_of(mark: Path, kind: str) -> bytes:
    touch = f"touch {mark}"
    import subprocess

    programs = {
        "os.system": pickle.dumps(Calls(os.system, touch)),
        "inside an array's place": pickle.dumps({"v_template": [np.ones(3), Calls(os.system, touch)]}),
        "eval": pickle.dumps(Calls(eval, f"open({str(mark)!r}, 'w')")),
        "subprocess": pickle.dumps(Calls(subprocess.call, ["touch", str(mark)])),
        "method of a path": pickle.dumps(Calls(Path.touch, mark)),
        "nested names": b"\x80\x04\x8c\x08builtins\x8c\x0bgetattr\x93\x8c\x02os\x8c\x06system\x93\x85R.",
        "dotted attribute": b"\x80\x04\x8c\x05numpy\x8c\x0ecore.os.system\x93"
        + b"\x8c" + bytes([len(touch)]) + touch.encode() + b"\x85R.",
        "protocol 0": b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.",
        "INST": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "NEWOBJ of another class": b"\x80\x02csubprocess\nPopen\nU" + bytes([len(touch)])
        + touch.encode() + b"\x85\x81.",
        "reconstructor": b"ccopy_reg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
        "persistent id": b"Pos.system\n.",
        "extension": b"\x80\x02\x82\x01.",
        "call of a call": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
        b"K\x00\x85U\x01btRU\x01x\x85R.",
        "array of another class": b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\nK\x00\x85U\x01btR.",
        "state for a list": b"\x80\x02]}U\x01aU\x01bsb.",
    }  # fmt: skip
    return programs[kind]


KINDS = [
    "os.system", "inside an array's place", "eval", "subprocess", "method of a path", "nested names",
    "dotted attribute", "protocol 0", "INST", "OBJ", "NEWOBJ of another class", "reconstructor", "persistent id",
    "extension", "call of a call", "array of another class", "state for a list",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_a_file_is_ever_run(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "mark"
    with pytest.raises(AssetError, match="is not read"):
        read_pickle(written(tmp_path, pickle_of(mark, kind)))
    assert not mark.exists()


@pytest.mark.parametrize("kind", ["os.system", "eval", "subprocess", "method of a path", "protocol 0"])
def test_the_malicious_files_are_what_they_claim(tmp_path: Path, kind: str) -> None:
    mark = tmp_path / "mark"
    pickle.loads(pickle_of(mark, kind))
    assert mark.exists()


def array_claiming(shape: tuple[int, ...], raw: bytes) -> bytes:
    """A pickled array whose shape says more than its bytes."""
    whole = np.frombuffer(raw, np.float64)
    data = pickle.dumps(whole, protocol=2)
    honest = pickle.dumps((len(whole),), protocol=2)[2:-1].split(b"q")[0]
    claimed = pickle.dumps(shape, protocol=2)[2:-1].split(b"q")[0]
    at = data.rindex(honest)
    return data[:at] + claimed + data[at + len(honest) :]


def laughs(depth: int) -> bytes:
    """Lists of ten times the list before: 10^depth numbers for whoever lays them out."""
    value: list = [1.0] * 10
    for _ in range(depth):
        value = [value] * 10
    return pickle.dumps(value)


HUGE = {
    "shape of a terabyte": array_claiming((1 << 20, 1 << 20), np.ones(4).tobytes()),
    "negative shape": array_claiming((-1, 4), np.ones(4).tobytes()),
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"few.",
    "byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"few.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"few.",
    "number": b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"\x01.",
    "digits": b"L" + b"9" * 100_000 + b"L\n.",
    "no end": b"\x80\x02" + b"]" * 1000,
    "instructions": b"\x80\x02" + b"N0" * 3_000 + b"N.",
    "itself": b"\x80\x02" + b"\x85".join([b"]q\x00"] + [b"h\x00"] * 3) + b"a" * 5 + b".",
    "sparse of a terabyte": pickle.dumps(sparse.csc_matrix((2, 3))).replace(b"K\x02K\x03", b"J\x00\x00\x00\x10K\x03"),
    "not a pickle": b"hello",
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", HUGE)
def test_files_that_claim_too_much_are_refused_in_bounded_memory(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickle_machine, "MAX_INSTRUCTIONS", 5_000)
    path = written(tmp_path, HUGE[kind])
    tracemalloc.start()
    try:
        with pytest.raises((AssetError, ValueError)):
            dense_array(read_pickle(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000 + 8 * len(HUGE[kind])


def test_a_list_that_repeats_itself_is_never_laid_out(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        found = read_pickle(written(tmp_path, laughs(9)))
        with pytest.raises(ValueError, match="no numbers"):
            dense_array(found)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="cannot be read"):
        read_pickle(tmp_path / "none.pkl")


def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    """Mutants: never another error, never more memory than the file deserves, never an import."""
    with pretended_chumpy():
        whole = {"a": chumpy_array(np.ones((4, 5))), "s": sparse.csc_matrix(np.eye(6)), **CONTENTS}
        files = [pickle.dumps(whole, protocol=protocol) for protocol in (0, 2, 4, 5)]
    files.append(joblib_file([np.arange(6.0), np.eye(3)], padded=True))
    before, outcomes = set(sys.modules), {"read": 0, "refused": 0}
    tracemalloc.start()
    for number in range(MUTANTS):
        did, data = mutant(files, number)
        try:
            found = read_pickle(written(tmp_path, data))
            outcomes["read"] += 1
            for value in found.values() if isinstance(found, dict) else [found]:
                with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError):
                    assert dense_array(value).nbytes < 1 << 24, did
        except AssetError:
            outcomes["refused"] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(outcomes.values()), outcomes
    assert peak < 1 << 25
    assert set(sys.modules) == before
