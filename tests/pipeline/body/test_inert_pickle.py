"""Pickles are read as data: what numeric files hold comes back exactly, and everything else is refused unexecuted."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import struct
import sys
import tracemalloc
import types
from collections import OrderedDict, defaultdict, namedtuple
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pytest
from scipy import sparse

from pipeline.body import pickle_machine, pickle_source
from pipeline.body.inert_pickle import dense_array, read_pickle
from pipeline.body.inert_values import Inert
from schemas.errors import AssetError
from tests.fuzz.mutants import mutant
from tests.pipeline.body.containers import containers
from tests.pipeline.body.smpl_files import chumpy_array, pretended_chumpy

MUTANTS = int(os.environ.get("FUZZ_PICKLES", "300"))


class EasyDict(dict):
    """Items that are attributes too, as configurations have them."""

    def __init__(self, **items) -> None:
        super().__init__(items)
        self.__dict__.update(items)


class Tracked:
    """What a program that pickles its own objects leaves."""

    def __init__(self, pose: np.ndarray) -> None:
        self.pose = pose


class Slotted:
    """Attributes in slots."""

    __slots__ = ("count",)

    def __init__(self, count: int) -> None:
        self.count = count


Pair = namedtuple("Pair", "one other")


@contextlib.contextmanager
def pretended_packages() -> Iterator[None]:
    """While a file is written, the classes above belong to a package that nobody has."""
    module = types.ModuleType("somebodys.results")
    kinds, before = (EasyDict, Tracked, Slotted, Pair), {}
    for kind in kinds:
        before[kind] = kind.__module__
        kind.__module__ = "somebodys.results"
        setattr(module, kind.__name__, kind)
    sys.modules |= {"somebodys": types.ModuleType("somebodys"), "somebodys.results": module}
    try:
        yield
    finally:
        del sys.modules["somebodys.results"], sys.modules["somebodys"]
        for kind in kinds:
            kind.__module__ = before[kind]


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


def test_objects_of_other_packages_are_their_attributes(tmp_path: Path) -> None:
    with pretended_packages():
        contents = {
            "dictionary": EasyDict(focal=900.0, size=[720, 1280]), "data": Tracked(np.arange(3.0)),
            "slots": Slotted(4), "pair": Pair(1, 2.5), "items": defaultdict(list, a=[1]), "path": Path("a/b.jpg"),
        }  # fmt: skip
        files = [pickle.dumps(contents, protocol=protocol) for protocol in (2, 4, 5)]
    for data in files:
        found = read_pickle(written(tmp_path, data))
        assert found["dictionary"]["size"] == [720, 1280]
        np.testing.assert_array_equal(found["data"]["pose"], [0, 1, 2])
        assert found["slots"]["count"] == 4
        assert dict(found["pair"]) == {0: 1, 1: 2.5}
        assert found["items"] == {"a": [1]}
        assert found["path"] == "a/b.jpg"
        assert str(found["data"].name) == "somebodys.results.Tracked"


def test_ordered_dictionaries_of_old_protocols_keep_their_items(tmp_path: Path) -> None:
    for protocol in (0, 1, 2):
        found = read_pickle(written(tmp_path, pickle.dumps(OrderedDict(a=1, b=2), protocol=protocol)))
        assert found == {"a": 1, "b": 2}


def test_arrays_of_objects_keep_their_shape(tmp_path: Path) -> None:
    boxes = np.array([[[0.5, 1]], [[2, 3.5]]], dtype=object)
    words = np.array([["a", "b"], ["c", 4]], dtype=object)
    found = read_pickle(written(tmp_path, pickle.dumps([boxes, words, np.empty((0, 3), dtype=object)])))
    np.testing.assert_array_equal(found[0], boxes.astype(float))
    assert found[1] == [["a", "b"], ["c", 4]]
    assert found[2].shape == (0, 3)
    assert read_pickle(written(tmp_path, object_array(0, 10**9))).shape == (
        10**9,
        0,
    )  # and not a billion lists


class Calls:
    """Unpickles to a call."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def nested_bytes(data: bytes) -> bytes:
    """Length and bytes of what `_load_from_bytes` is given: the legacy container's magic number and then the data."""
    inside = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + data
    return bytes([len(inside)]) + inside


def joblib_objects(touch: str) -> bytes:
    """An array of objects as joblib writes it: a pickle of its own behind the description."""
    stream = io.BytesIO()
    joblib.dump([np.array([Calls(os.system, touch)], dtype=object)], stream)
    return stream.getvalue()


def pickle_of(mark: Path, kind: str) -> bytes:
    touch = f"touch {mark}"
    import subprocess

    programs = {
        "os.system": pickle.dumps(Calls(os.system, touch)),
        "inside an array's place": pickle.dumps({"v_template": [np.ones(3), Calls(os.system, touch)]}),
        "eval": pickle.dumps(Calls(eval, f"open({str(mark)!r}, 'w').close()")),
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
        "a persistent id that is a name": b"\x80\x02cos\nsystem\nQ.",
        "EasyDict with a call inside": b"\x80\x02ceasydict\nEasyDict\n)\x81}(U\x01acos\nsystem\nU"
        + bytes([len(touch)]) + touch.encode() + b"\x85Rsb.",
        "an object of the standard library": pickle.dumps(contextlib.ExitStack()),
        "torch's loader of another file": b"\x80\x02ctorch\nload\nU" + bytes([len(touch)]) + touch.encode() + b"\x85R.",
        "torch's storage with a call inside": b"\x80\x02ctorch.storage\n_load_from_bytes\nC"
        + nested_bytes(b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.") + b"\x85R.",
        "joblib's array of objects with a call inside": joblib_objects(touch),
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
    "a persistent id that is a name", "EasyDict with a call inside", "an object of the standard library",
    "torch's loader of another file", "torch's storage with a call inside",
    "joblib's array of objects with a call inside", "extension", "call of a call",
    "array of another class", "state for a list",
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


def copies(function: bytes, value: bytes, *more: bytes) -> bytes:
    """A value remembered as 1, and a call that copies it, 2,000 times in a list."""
    call = function + b"h\x01" + b"".join(more) + (b"\x86" if more else b"\x85") + b"R"
    return value + b"0](" + call * 2_000 + b"e."


def object_array(*shape: int) -> bytes:
    """A pickled array of no objects."""
    data = pickle.dumps(np.empty((0, 3), dtype=object), protocol=2)
    return data.replace(
        b"K\x00K\x03\x86", b"".join(b"J" + struct.pack("<i", side) for side in shape[::-1]) + b"\x86"
    )


HUGE = {
    "shape of a terabyte": array_claiming((1 << 20, 1 << 20), np.ones(4).tobytes()),
    "negative shape": array_claiming((-1, 4), np.ones(4).tobytes()),
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"few.",
    "byte array": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"few.",
    "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"few.",
    "number": b"\x80\x02\x8b" + struct.pack("<i", (1 << 31) - 1) + b"\x01.",
    "digits": b"L" + b"9" * 100_000 + b"L\n.",
    "no end": b"\x80\x02" + b"]" * 1000,
    "stack": b"\x80\x02(" * 3_000 + b".",
    "key nested deeply": b"\x80\x02})" + b"\x85" * 200_000 + b"Ns.",
    "a list copied by every call": b"\x80\x02" + copies(b"c__builtin__\nset\n", b"]q\x01(" + b"N" * 5_000 + b"e"),
    "bytes made by every call": b"\x80\x02" + copies(
        b"c_codecs\nencode\n", b"X" + struct.pack("<I", 5_000) + b"a" * 5_000 + b"q\x01", b"X\x06\x00\x00\x00latin1"
    ),
    "itself": b"\x80\x02" + b"\x85".join([b"]q\x00"] + [b"h\x00"] * 3) + b"a" * 5 + b".",
    "sparse of a terabyte": pickle.dumps(sparse.csc_matrix((2, 3))).replace(b"K\x02K\x03", b"J\x00\x00\x00\x10K\x03"),
    "not a pickle": b"hello",
    "empty": b"",
}  # fmt: skip


@pytest.mark.parametrize("kind", HUGE)
def test_files_that_claim_too_much_are_refused_in_bounded_memory(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pickle_source, "MAX_BYTES", 1_000_000)
    path = written(tmp_path, HUGE[kind])
    tracemalloc.start()
    try:
        with pytest.raises((AssetError, ValueError)):
            dense_array(read_pickle(path))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_200_000 + 64 * len(HUGE[kind])  # a chunk, and an object for each byte


def test_files_of_too_many_objects_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickle_machine, "MAX_OBJECTS", 100_000)
    monkeypatch.setattr(pickle_source, "CHUNK_BYTES", 10_000)
    for data in (b"\x80\x02(" + b"]" * 10**6 + b"l.", b"\x80\x02(" + b"N" * 10**6 + b"l."):
        with pytest.raises(AssetError, match="more than 100000 objects \\(MAX_OBJECTS\\)"):
            read_pickle(written(tmp_path, data))
    honest = b"\x80\x02]" + b"Na" * 10**6 + b"."  # one list, however many instructions
    assert len(read_pickle(written(tmp_path, honest))) == 10**6


def test_a_list_that_repeats_itself_is_never_laid_out(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        found = read_pickle(written(tmp_path, laughs(9)))
        with pytest.raises(ValueError, match="no numbers"):
            dense_array(found)
        assert tracemalloc.get_traced_memory()[1] < 2_200_000
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
    files += containers(tmp_path)
    read_pickle(written(tmp_path, files[0]))
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
    new = {
        name for name in set(sys.modules) - before if not name.startswith("encodings.")
    }  # Python's own codecs
    assert not new
