"""SMPL-H and SMPL-X become bodies of 24 joints with the smplx package's vertices, hands and face at rest."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import smplx
import torch
from scipy import sparse
from smplx.utils import Struct
from smplx.vertex_ids import vertex_ids

from pipeline.body import smpl_import
from pipeline.body.model import BodyModel, open_body_path
from pipeline.body.smpl_import import import_smpl
from pipeline.body.smpl_layout import JOINT_PARENTS
from pipeline.commands.main import main
from pipeline.config import BodySettings, Settings
from pipeline.method.resources import Resources
from schemas.errors import AssetError
from tests.pipeline.body.smplx_files import body_arrays, hands_and_face, tree, write_model

KINDS = {"smplh": ("SMPLH_FEMALE", 16, 6890), "smplx": ("SMPLX_NEUTRAL", 20, 10475)}
POSES = 3


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def arrays(kind: str) -> dict[str, np.ndarray]:
    return body_arrays(kind, betas=KINDS[kind][1])


@pytest.fixture(scope="module")
def source(kind: str, arrays: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp(kind) / f"{KINDS[kind][0]}.npz", kind, arrays)


@pytest.fixture(scope="module")
def body(source: Path) -> BodyModel:
    assert main(["body", "import", str(source), "--out", str(source.parent / "body.npz")]) == 0
    return BodyModel.load(source.parent / "body.npz")


def theirs(kind: str, source: Path, arrays: dict[str, np.ndarray]) -> torch.nn.Module:
    """smplx's own model of the file, in its own way; SMPL-X's is opened by the package itself."""
    options = dict(batch_size=POSES, dtype=torch.float64, use_pca=False, flat_hand_mean=True, num_betas=10)
    if kind == "smplx":
        return smplx.create(str(source), "smplx", **options)
    struct = Struct(**arrays, **hands_and_face(kind))
    return smplx.SMPLH("", data_struct=struct, vertex_ids=vertex_ids["smplh"], **options)


def test_posed_vertices_are_those_of_smplx(
    kind: str, source: Path, arrays: dict[str, np.ndarray], body: BodyModel
) -> None:
    rng = np.random.default_rng(3)
    pose = rng.normal(0, 0.6, (POSES, 24, 3))
    pose[:, 22:] = 0  # hands at rest
    betas, place = rng.normal(0, 2, (POSES, 10)), rng.normal(0, 3, (POSES, 3))
    with torch.no_grad():
        output = theirs(kind, source, arrays)(
            betas=torch.from_numpy(betas), transl=torch.from_numpy(place),
            global_orient=torch.from_numpy(pose[:, 0]), body_pose=torch.from_numpy(pose[:, 1:22].reshape(POSES, -1)),
        )  # fmt: skip
    found = body.vertices(pose, betas, place)
    assert found.shape == (POSES, KINDS[kind][2], 3)
    assert np.abs(found - output.vertices.numpy()).max() < 1e-5
    joints = body.joints(pose, betas, place)
    np.testing.assert_allclose(joints[:, :22], output.joints.numpy()[:, :22], atol=1e-5)


def test_the_import_compares_itself_and_notes_what_it_was(
    kind: str, source: Path, body: BodyModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["body", "import", str(source), "--out", str(source.parent / "again.npz")]) == 0
    printed = capsys.readouterr().out
    assert {"smplh": "SMPL-H, female, 16 shape", "smplx": "SMPL-X, neutral, 10 shape"}[kind] in printed
    assert "posed vertices differ from those of the smplx package by at most" in printed
    assert (source.parent / "again.npz").read_bytes() == (source.parent / "body.npz").read_bytes()
    with np.load(source.parent / "body.npz", allow_pickle=False) as archive:
        noted = {name: str(archive[name]) for name in ("kind", "gender", "source_betas")}
    assert noted == {"kind": kind, "gender": printed.split(", ")[1], "source_betas": printed.split()[2]}
    assert body.shape_space == {"smplh": "smpl", "smplx": "smplx"}[kind]


def test_without_smplx_it_says_what_was_not_done(
    source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "smplx", None)
    assert main(["body", "import", str(source), "--out", str(source.parent / "alone.npz")]) == 0
    assert "pip install 'humandepth[smplx]' (licence: non-commercial research)" in capsys.readouterr().out


def test_a_body_that_smplx_poses_otherwise_is_refused(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smpl_import, "difference_from_smplx", lambda *_: 2e-5)
    with pytest.raises(AssetError, match="posed vertices differ"):
        import_smpl(source, source.parent / "other.npz")
    assert not (source.parent / "other.npz").exists()


def test_weights_are_summed_and_fingers_turn_about_the_knuckles(
    arrays: dict[str, np.ndarray], kind: str, body: BodyModel
) -> None:
    extra = 52 if kind == "smplh" else 55
    left, right = slice(extra - 30, extra - 15), slice(extra - 15, extra)
    weights = arrays["weights"]
    np.testing.assert_allclose(body.weights[:, 22], weights[:, left].sum(1), atol=1e-12)
    np.testing.assert_allclose(body.weights[:, 23], weights[:, right].sum(1), atol=1e-12)
    head = weights[:, 15] + weights[:, 22 : extra - 30].sum(1)
    np.testing.assert_allclose(body.weights[:, 15], head, atol=1e-12)
    np.testing.assert_array_equal(body.weights[:, :15], weights[:, :15])
    knuckles = arrays["J_regressor"][[extra - 15 + 3 * finger for finger in range(4)]] @ arrays["v_template"]
    np.testing.assert_allclose(body.joint_template[23], knuckles.mean(0), atol=1e-12)


def test_the_pipeline_takes_it(source: Path, body: BodyModel) -> None:
    resources = Resources(Settings(body=BodySettings(file=str(source.parent / "body.npz"))))
    assert resources.body.vertex_count == body.vertex_count
    assert resources.mesh is not None  # its faces and rims are a mesh that depth can be rendered of
    assert resources.body.landmark_joint_weights.shape == (33, 24)


def test_a_pickle_gives_the_same_body(
    kind: str, arrays: dict[str, np.ndarray], source: Path, body: BodyModel
) -> None:
    pickled = write_model(source.parent / f"{KINDS[kind][0]}.pkl", kind, arrays)
    facts = import_smpl(pickled, source.parent / "from_pickle.npz")
    assert facts.kind == kind
    other = BodyModel.load(source.parent / "from_pickle.npz")
    for name in ("template", "shapedirs", "weights", "joint_regressor", "posedirs", "landmark_regressor"):
        np.testing.assert_array_equal(getattr(other, name), getattr(body, name))


def test_an_array_of_objects_in_an_npz_is_read_as_data(kind: str, source: Path, body: BodyModel) -> None:
    """Some files hold the sparse regressor itself, which numpy would unpickle."""
    with np.load(source, allow_pickle=True) as archive:
        contents = {name: archive[name] for name in archive.files}
    regressor = np.empty((), object)
    regressor[()] = sparse.csc_matrix(contents["J_regressor"])
    path = source.parent / f"{KINDS[kind][0]}_sparse.npz"
    np.savez(path, **(contents | {"J_regressor": regressor}))
    import_smpl(path, source.parent / "from_objects.npz")
    np.testing.assert_array_equal(
        BodyModel.load(source.parent / "from_objects.npz").joint_regressor, body.joint_regressor
    )


def test_unconverted_they_are_refused_by_name(kind: str, source: Path) -> None:
    name = {"smplh": "52 joints, an SMPL-H file", "smplx": "55 joints, an SMPL-X file"}[kind]
    with pytest.raises(AssetError, match=name) as refusal:
        BodyModel.load(source)
    assert f"pipeline body import {source}" in refusal.value.remedy
    with pytest.raises(AssetError, match="imported already"):
        import_smpl(source.parent / "body.npz", source.parent / "twice.npz")


def test_what_is_neither_is_refused(tmp_path: Path) -> None:
    arrays = body_arrays("smplh")
    small = {"posedirs": 0 * arrays["posedirs"], "shapedirs": 0 * arrays["shapedirs"]}

    def refused(message: str, **changes: np.ndarray) -> None:
        path = write_model(tmp_path / "SMPLH_MALE.npz", "smplh", arrays | small | changes)
        with pytest.raises(AssetError, match=message):
            import_smpl(path, tmp_path / "out.npz")
        assert not (tmp_path / "out.npz").exists()

    other = tree(52)
    other[0, 5] = 1
    refused("expected SMPL's", kintree_table=other)
    other = tree(52)
    other[0, 30] = 4
    refused("joint 30 hangs on joint 4", kintree_table=other)
    refused("6890 vertices, 13776 faces, 16 joints", weights=np.zeros((6890, 16)))
    refused("0 vertices", v_template=np.array(1.0))
    refused("shapedirs: found 9 columns", shapedirs=small["shapedirs"][..., :9])
    refused(r"posedirs: found float64 of shape \(3, 459\)", posedirs=np.zeros((3, 459)))
    refused(r"J_regressor: .* expected numbers of shape \(52, 6890\)", J_regressor=np.zeros((24, 6890)))
    refused("kintree_table: found <U1", kintree_table=np.full((2, 52), "a"))
    write_model(tmp_path / "model.npz", "smplh", arrays)
    with pytest.raises(AssetError, match="does not state a gender"):
        import_smpl(tmp_path / "model.npz", tmp_path / "out.npz")
    (tmp_path / "neutral").mkdir()
    (tmp_path / "model.npz").rename(tmp_path / "neutral" / "model.npz")
    assert main(["body", "import", str(tmp_path / "neutral" / "model.npz")]) == 0
    with np.load(tmp_path / "neutral" / "model_body.npz") as archive:  # beside it, under a name of its own
        assert str(archive["gender"]) == "neutral"


def test_the_open_body_says_what_it_is(tmp_path: Path) -> None:
    assert BodyModel.open_body().shape_space == "open"
    assert main(["body", "export", "--out", str(tmp_path / "body.npz")]) == 0
    exported = BodyModel.load(tmp_path / "body.npz")
    assert exported.shape_space == "open"
    np.testing.assert_array_equal(exported.template, BodyModel.open_body().template)
    assert BodyModel.load(open_body_path()).shape_space == "smpl"  # a file that does not say is SMPL's
    assert tree(55)[0, 1:22].tolist() == list(JOINT_PARENTS[1:22])
