"""SMPL's pickle becomes an .npz that gives the same body; files that are not SMPL's are refused by key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from pipeline.body import smpl_import
from pipeline.body.body_file import check_body
from pipeline.body.landmark_transfer import transferred_landmarks
from pipeline.body.model import BodyModel
from pipeline.body.smpl_import import import_smpl
from pipeline.commands.main import main
from pipeline.config import BodySettings, Settings
from pipeline.method.resources import Resources
from schemas.errors import AssetError
from tests.pipeline.body.python2_pickles import ChumpyArray, Python2Pickle
from tests.pipeline.body.smpl_files import smpl_arrays, write_smpl


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return smpl_arrays()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]) -> Path:
    folder = tmp_path_factory.mktemp("smpl")
    source = write_smpl(folder / "basicModel_f_lbs_10_207_0_v1.0.0.pkl", arrays)
    assert main(["body", "import", str(source)]) == 0
    return source.with_suffix(".npz")


def python_2_pickle(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    """The arrays as the official file of 2015 has them, in protocol 0: chumpy arrays and a sparse regressor."""
    contents = {
        name: ChumpyArray(array) if name in ("v_template", "shapedirs", "posedirs", "weights") else array
        for name, array in arrays.items()
    }
    contents |= {
        "J_regressor": sparse.csc_matrix(arrays["J_regressor"]),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
    }
    path.write_bytes(Python2Pickle().bytes_of(contents))
    return path


def test_text_pickles_of_python_2_give_the_same_body(tmp_path: Path) -> None:
    """Strings hold bytes: every value, both quotes, line feeds and backslashes occur."""
    arrays = smpl_arrays(betas=12)
    source = python_2_pickle(tmp_path / "SMPL_MALE.pkl", arrays)
    data = source.read_bytes()
    assert b"\\x" in data
    assert b'S"' in data or b"\\'" in data
    facts = import_smpl(source, tmp_path / "body.npz")
    assert (facts.kind, facts.gender, facts.betas) == ("smpl", "male", 12)
    body, expected = BodyModel.load(tmp_path / "body.npz"), BodyModel(check_body(Path("arrays"), arrays))
    for name in ("template", "shapedirs", "posedirs", "weights", "joint_regressor", "faces"):
        np.testing.assert_array_equal(getattr(body, name), getattr(expected, name))


def test_the_npz_gives_the_body_of_the_pickle(imported: Path, arrays: dict[str, np.ndarray]) -> None:
    body, rng = BodyModel.load(imported), np.random.default_rng(0)
    expected = BodyModel(check_body(Path("arrays"), arrays))
    pose, betas, place = rng.normal(0, 0.5, (2, 24, 3)), rng.normal(size=(2, 10)), rng.normal(size=(2, 3))
    np.testing.assert_allclose(
        body.vertices(pose, betas, place), expected.vertices(pose, betas, place), atol=1e-12
    )
    assert body.posedirs is not None


def test_what_it_was_made_from_is_noted(imported: Path) -> None:
    with np.load(imported, allow_pickle=False) as archive:
        assert str(archive["gender"]) == "female"
        assert str(archive["source_betas"]) == "10"
        assert str(archive["kind"]) == "smpl"
        assert len(str(archive["source_sha256"])) == 64


def test_the_pipeline_takes_the_imported_body(imported: Path) -> None:
    resources = Resources(Settings(body=BodySettings(file=str(imported))))
    assert resources.body.vertex_count == 6890
    assert resources.body.landmark_joint_weights.shape == (33, 24)


def test_landmarks_taken_over_from_a_body_to_itself_stay(imported: Path) -> None:
    body = BodyModel.open_body()
    regressor = transferred_landmarks(body, body)
    np.testing.assert_allclose(regressor.sum(axis=1), 1, atol=1e-9)
    assert body.landmark_regressor is not None
    error = np.linalg.norm((regressor - body.landmark_regressor) @ body.template, axis=1)
    assert error.max() < 1e-3


def test_landmarks_follow_a_body_of_another_shape_and_size() -> None:
    body, betas = BodyModel.open_body(), np.array([1.5, -1, 0.5, 0, 0, 0, 0, 0, 0, 0])
    arrays = {
        "v_template": 1.07 * (body.template + body.shapedirs @ betas), "shapedirs": body.shapedirs,
        "J_regressor": body.joint_regressor, "weights": body.weights, "f": body.faces,
        "kintree_table": np.array([body.parents, range(24)]),
    }  # fmt: skip
    other = BodyModel(check_body(Path("other"), arrays))
    regressor = transferred_landmarks(other, body)
    assert body.landmark_regressor is not None
    error = np.linalg.norm((regressor - body.landmark_regressor) @ other.template, axis=1)
    assert error.max() < 0.015, error
    assert error.mean() < 0.006


def denser_head(body: BodyModel) -> dict[str, np.ndarray]:
    """The body with a vertex more on every edge of the head's faces, as SMPL-X has a finer head than SMPL."""
    assert body.landmark_regressor is not None
    faces = body.faces[(body.template[body.faces, 1] > body.joint_template[15, 1]).all(axis=1)]
    edges = np.unique(
        np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1), axis=0
    )

    def more(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array, array[edges].mean(axis=1)])

    none = ((0, 0), (0, len(edges)))
    return {
        "v_template": more(body.template), "shapedirs": more(body.shapedirs), "weights": more(body.weights),
        "f": body.faces, "J_regressor": np.pad(body.joint_regressor, none),
        "landmark_regressor": np.pad(body.landmark_regressor, none),
        "kintree_table": np.array([body.parents, range(24)]),
    }  # fmt: skip


def test_landmarks_do_not_depend_on_how_densely_a_surface_is_sampled() -> None:
    body, rng = BodyModel.open_body(), np.random.default_rng(0)
    denser = BodyModel(check_body(Path("denser"), denser_head(body)))
    assert denser.vertex_count > body.vertex_count + 3000
    pose, betas = rng.normal(0, 0.4, (10, 24, 3)), rng.normal(0, 1, (10, 10))
    errors = []
    for other in (body, denser):
        assert other.landmark_regressor is not None
        moved = transferred_landmarks(other, body) - other.landmark_regressor
        errors.append(np.linalg.norm(moved @ other.vertices(pose, betas, np.zeros(3)), axis=-1).mean())
    assert errors[0] < 0.004
    assert errors[1] == pytest.approx(errors[0], abs=2e-4)


def test_a_pickle_is_still_no_body_and_the_error_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="pipeline body import"):
        BodyModel.load(tmp_path / "SMPL_NEUTRAL.pkl")


def test_files_that_are_not_smpl_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], monkeypatch
) -> None:
    def refused(name: str, message: str, **changes: np.ndarray) -> None:
        path = write_smpl(tmp_path / name, arrays | small | changes)
        with pytest.raises(AssetError, match=message):
            import_smpl(path, tmp_path / "out.npz")
        assert not (tmp_path / "out.npz").exists()

    small = {"posedirs": arrays["posedirs"] * 0}
    refused("SMPL_MALE.pkl", "posedirs: found", posedirs=np.zeros((6890, 3, 9)))
    refused("SMPL_MALE.pkl", "not closed", f=np.concatenate([arrays["f"][:-1], arrays["f"][:1]]))
    refused("SMPL_MALE.pkl", "13775 faces, 24 joints, expected", f=arrays["f"][:-1])
    refused("SMPL_MALE.pkl", "shapedirs: found 9 columns", shapedirs=arrays["shapedirs"][..., :9])
    refused("SMPL.pkl", "does not state a gender")


def test_the_name_says_the_gender() -> None:
    for name, gender in (
        ("SMPL_NEUTRAL.pkl", "neutral"),
        ("basicmodel_m_lbs_10_207_0_v1.1.0.pkl", "male"),
        ("SMPL_FEMALE.pkl", "female"),
    ):
        assert smpl_import._gender(Path(name), None) == gender
