"""What is not a body is refused by key, and nothing is ever unpickled."""

from __future__ import annotations

import io
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from pipeline.body import model as model_module
from pipeline.body.body_file import check_sha256
from pipeline.body.model import BodyModel
from pipeline.body.npz_archive import write_npz
from schemas.errors import AssetError
from tests.pipeline.body.toy_body import VERTICES, random_motion, toy_arrays, write_body

DATA = Path(model_module.__file__).parent / "data"


class Planted:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


def changed(key: str, at, value) -> dict[str, np.ndarray]:
    arrays = toy_arrays(posedirs=True)
    arrays[key] = arrays[key].copy()
    arrays[key][at] = value
    return arrays


def replaced(key: str, array: np.ndarray) -> dict[str, np.ndarray]:
    return toy_arrays(posedirs=True) | {key: array}


def without(key: str) -> dict[str, np.ndarray]:
    arrays = toy_arrays()
    del arrays[key]
    return arrays


WRONG_PARENTS = np.array([[-1, 0, *([1] * 22)], range(24)])
SHUFFLED = np.array([toy_arrays()["kintree_table"][0], [1, 0, *range(2, 24)]])
BAD = {
    **{
        f"no {key}": (key, without(key), "this key")
        for key in ("v_template", "shapedirs", "J_regressor", "weights", "kintree_table", "f")
    },
    "flat template": ("v_template", replaced("v_template", np.zeros(VERTICES * 3)), r"\(any, 3\)"),
    "no vertices": ("v_template", replaced("v_template", np.zeros((0, 3))), r"shape \(0, 3\)"),
    "integer template": (
        "v_template",
        replaced("v_template", np.zeros((VERTICES, 3), int)),
        "floating point",
    ),
    "template nan": ("v_template", changed("v_template", (3, 1), np.nan), "1 values that are not finite"),
    "few betas": ("shapedirs", replaced("shapedirs", np.zeros((VERTICES, 3, 9))), "at least 10"),
    "shapedirs of another mesh": (
        "shapedirs",
        replaced("shapedirs", np.zeros((7, 3, 10))),
        r"\(40, 3, any\)",
    ),
    "shapedirs inf": ("shapedirs", changed("shapedirs", (0, 0, 0), np.inf), "finite"),
    "mano weights": ("weights", replaced("weights", np.full((VERTICES, 16), 1 / 16)), r"\(40, 24\)"),
    "smpl-h weights": ("weights", replaced("weights", np.full((VERTICES, 52), 1 / 52)), "an SMPL-H file"),
    "smpl-x weights": ("weights", replaced("weights", np.full((VERTICES, 55), 1 / 55)), "body import"),
    "unknown kind": ("kind", replaced("kind", np.array("mano")), "one of smpl, smplh, smplx, open"),
    "kind of numbers": ("kind", replaced("kind", np.array([1.0])), "one of smpl"),
    "weights off": ("weights", changed("weights", 5, 0.5), "row 5 summing to 12"),
    "weights negative": ("weights", changed("weights", 5, [1.5, -0.5, *[0] * 22]), "no negative weight"),
    "weights nan": ("weights", changed("weights", (0, 0), np.nan), "finite"),
    "regressor off": ("J_regressor", changed("J_regressor", 7, 0.0), "row 7 summing to 0"),
    "regressor turned": ("J_regressor", replaced("J_regressor", np.ones((VERTICES, 24)) / 24), r"\(24, 40\)"),
    "regressor nan": ("J_regressor", changed("J_regressor", (0, 0), np.nan), "finite"),
    "other tree": ("kintree_table", replaced("kintree_table", WRONG_PARENTS), "SMPL's"),
    "joints out of order": ("kintree_table", replaced("kintree_table", SHUFFLED), "in order"),
    "one-row tree": ("kintree_table", replaced("kintree_table", np.zeros((1, 24), int)), r"\(2, 24\)"),
    "face too high": ("f", changed("f", (0, 0), VERTICES), r"integers in \[0, 40\)"),
    "face negative": ("f", changed("f", (0, 0), -1), r"integers in \[0, 40\)"),
    "float faces": ("f", replaced("f", np.zeros((4, 3))), "integers"),
    "quads": ("f", replaced("f", np.zeros((4, 4), int)), r"\(any, 3\)"),
    "short posedirs": ("posedirs", replaced("posedirs", np.zeros((VERTICES, 3, 200))), "207"),
    "posedirs nan": ("posedirs", changed("posedirs", (0, 0, 0), np.nan), "finite"),
    "few landmarks": ("landmark_regressor", replaced("landmark_regressor", np.ones((17, 40)) / 40), "33"),
    "landmarks off": ("landmark_regressor", changed("landmark_regressor", 2, 1.0), "row 2 summing to 40"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_by_key(tmp_path, case):
    key, arrays, message = BAD[case]
    path = write_body(tmp_path / "bad.npz", arrays)
    with pytest.raises(AssetError, match=message) as refusal:
        BodyModel.load(path)
    assert f"bad.npz: {key}: found" in str(refusal.value)
    assert "expected" in refusal.value.message
    assert refusal.value.remedy


def test_the_unchanged_file_is_not_refused(tmp_path):
    body = BodyModel.load(write_body(tmp_path / "good.npz", toy_arrays(posedirs=True)))
    for array in (
        body.template,
        body.shapedirs,
        body.weights,
        body.joint_regressor,
        body.landmark_joint_template,
    ):
        assert array.dtype == np.float64
    assert body.faces.dtype == np.int32


def test_what_smpl_files_do_differently_is_read(tmp_path):
    """Unsigned tables with 2^32 - 1 for the root, unsigned faces, 300 shape directions, further keys."""
    arrays = toy_arrays()
    reference = BodyModel.load(write_body(tmp_path / "reference.npz", arrays))
    further = np.random.default_rng(0).normal(size=(VERTICES, 3, 290))
    arrays["shapedirs"] = np.concatenate([arrays["shapedirs"], further], axis=-1)
    arrays["kintree_table"] = arrays["kintree_table"].astype(np.uint32)
    assert arrays["kintree_table"][0, 0] == 2**32 - 1
    arrays["f"] = arrays["f"].astype(np.uint32)
    arrays["J"] = np.zeros((24, 3))
    body = BodyModel.load(write_body(tmp_path / "smpl.npz", arrays))
    motion = random_motion(np.random.default_rng(1))
    np.testing.assert_array_equal(body.vertices(*motion), reference.vertices(*motion))
    np.testing.assert_array_equal(body.parents, reference.parents)


def sparse_arrays() -> dict[str, np.ndarray]:
    arrays = toy_arrays()
    arrays["J_regressor"] = np.where(arrays["J_regressor"] > 0.02, arrays["J_regressor"], 0.0)
    arrays["J_regressor"] /= arrays["J_regressor"].sum(axis=1, keepdims=True)
    columns = sparse.csc_matrix(arrays.pop("J_regressor"))
    parts = {
        "data": columns.data,
        "indices": columns.indices,
        "indptr": columns.indptr,
        "shape": columns.shape,
    }
    return arrays | {f"J_regressor_{part}": np.asarray(value) for part, value in parts.items()}


def test_a_sparse_joint_regressor_is_read(tmp_path):
    arrays = sparse_arrays()
    expected = sparse.csc_matrix(
        tuple(arrays[f"J_regressor_{part}"] for part in ("data", "indices", "indptr")), shape=(24, VERTICES)
    ).toarray()
    body = BodyModel.load(write_body(tmp_path / "sparse.npz", arrays))
    np.testing.assert_array_equal(body.joint_regressor, expected)


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("data", None),
        ("indices", lambda indices: indices + 24),
        ("indices", lambda indices: indices[:-1]),
        ("indptr", lambda indptr: indptr[::-1].copy()),
        ("indptr", lambda indptr: indptr[:-1]),
        ("shape", lambda shape: shape[::-1].copy()),
    ],
)
def test_a_bad_sparse_joint_regressor_is_refused_by_key(tmp_path, part, change):
    arrays = sparse_arrays()
    key = f"J_regressor_{part}"
    if change is None:
        del arrays[key]
    else:
        arrays[key] = change(arrays[key])
    with pytest.raises(AssetError, match=rf"bad\.npz: {key}: found"):
        BodyModel.load(write_body(tmp_path / "bad.npz", arrays))


@pytest.mark.parametrize("key", ["v_template", "weights", "landmark_regressor"])
def test_a_pickle_inside_the_archive_does_not_run(tmp_path, key):
    mark = tmp_path / "it-ran"
    arrays = toy_arrays() | {key: np.array([Planted(mark)], dtype=object)}
    path = write_body(tmp_path / "planted.npz", arrays)
    with pytest.raises(
        AssetError, match=rf"planted\.npz: {key}: found ValueError .*Object arrays.*Convert it"
    ):
        BodyModel.load(path)
    assert not mark.exists()
    np.load(path, allow_pickle=True)[key]
    assert mark.exists(), "the planted pickle must be able to run, or this test shows nothing"


@pytest.mark.parametrize(
    ("name", "message"),
    [("body.pkl", "runs code"), ("body.PICKLE", "runs code"), ("body.npz", "a pickle under another name")],
)
def test_a_pickle_file_does_not_run_under_any_name(tmp_path, name, message):
    mark = tmp_path / "it-ran"
    path = tmp_path / name
    path.write_bytes(pickle.dumps(Planted(mark)))
    with pytest.raises(AssetError, match=rf"{message}.*Convert it once") as refusal:
        BodyModel.load(path)
    assert name in str(refusal.value)
    assert not mark.exists()
    pickle.loads(path.read_bytes())
    assert mark.exists(), "the planted pickle must be able to run, or this test shows nothing"


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "body.npz"
    write_npz(path, toy_arrays())
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK\x03\x04" + bytes(100)):
        path.write_bytes(damaged)
        with pytest.raises(AssetError, match=r"body\.npz"):
            BodyModel.load(path)
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    path.write_bytes(bytes(flipped))
    with pytest.raises(AssetError, match=r"body\.npz: \w+: found"):
        BodyModel.load(path)


def test_an_array_that_claims_to_be_huge_is_refused(tmp_path):
    path = write_body(tmp_path / "huge.npz", without("f"))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i4", "fortran_order": False, "shape": (1 << 50, 3)}
    )
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("f.npy", header.getvalue())
    with pytest.raises(AssetError, match=r"huge\.npz: f: found"):
        BodyModel.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AssetError, match=r"nowhere\.npz: no such file"):
        BodyModel.load(tmp_path / "nowhere.npz")


def test_the_shipped_file_is_the_one_its_facts_name():
    check_sha256(DATA / "open_body.npz", DATA / "open_body.json")
    assert BodyModel.open_body() is BodyModel.open_body()


def shipped_copy(folder: Path) -> Path:
    for name in ("open_body.npz", "open_body.json"):
        shutil.copy(DATA / name, folder / name)
    return folder / "open_body.npz"


def open_copy(monkeypatch, folder: Path) -> BodyModel:
    monkeypatch.setattr(model_module, "_DATA", folder)
    return BodyModel.open_body()


def test_a_flipped_byte_in_the_shipped_body_is_refused(tmp_path, monkeypatch):
    path = shipped_copy(tmp_path)
    assert open_copy(monkeypatch, tmp_path).vertex_count > 0
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))
    model_module._shipped_body.cache_clear()
    with pytest.raises(AssetError, match=r"open_body\.npz: SHA-256 is [0-9a-f]{64}, expected [0-9a-f]{64}"):
        open_copy(monkeypatch, tmp_path)


@pytest.mark.parametrize("lost", ["open_body.npz", "open_body.json"])
def test_a_lost_part_of_the_shipped_body_is_refused(tmp_path, monkeypatch, lost):
    shipped_copy(tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(AssetError, match=r"Install humandepth again"):
        open_copy(monkeypatch, tmp_path)


def test_archives_depend_on_their_arrays_alone(tmp_path):
    arrays = toy_arrays()
    write_npz(tmp_path / "one.npz", arrays)
    write_npz(tmp_path / "two.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz") as archive:
        assert set(archive.files) == set(arrays)
        for key, array in arrays.items():
            np.testing.assert_array_equal(archive[key], array)
    with pytest.raises(ValueError, match="pickle"):
        write_npz(tmp_path / "object.npz", {"a": np.array([None])})
