"""A mapping names the arrays of any other file; axes and orders that do not fit are refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipeline.body.model import BodyModel
from pipeline.commands.main import main
from pipeline.foreign.film import Film
from pipeline.foreign.mapping import from_mapping
from pipeline.foreign.rotations import FORMS, LAYOUTS, rotvecs_from
from pipeline.tracking.imported_bodies import source_camera
from schemas.errors import SourceError
from tests.pipeline.foreign.performance import (
    BETAS,
    FRAMES,
    HANDLESS,
    HW,
    MATRICES,
    PLACE,
    POSE,
    assert_mesh,
    converted,
    whole_smplx,
)

WRITERS: dict[str, Any] = {
    "axis-angle": lambda turned: turned.as_rotvec(),
    "matrix": lambda turned: turned.as_matrix(),
    "rot6d-columns": lambda turned: turned.as_matrix()[:, :, :2].reshape(-1, 6),
    "rot6d-rows": lambda turned: turned.as_matrix()[:, :2].reshape(-1, 6),
    "rot6d-stacked": lambda turned: turned.as_matrix()[:, :, :2].swapaxes(1, 2).reshape(-1, 6),
    "quaternion-wxyz": lambda turned: turned.as_quat()[:, [3, 0, 1, 2]] * 1.7,
    "quaternion-xyzw": lambda turned: -turned.as_quat(),
}


def as_form(rotvecs: np.ndarray, form: str) -> np.ndarray:
    """(N, J, ...) of (N, J, 3) axis-angles."""
    found = WRITERS[form](Rotation.from_rotvec(rotvecs.reshape(-1, 3)))
    return found.reshape(*rotvecs.shape[:2], *found.shape[1:])


def mapped(
    folder: Path, body: BodyModel, contents: Any, names: dict[str, Any], pose: np.ndarray = POSE
) -> None:
    (folder / "out.pkl").write_bytes(pickle.dumps(contents))
    (folder / "names.json").write_text(json.dumps(names))
    arguments = ("--format", "mapping", "--mapping", str(folder / "names.json"), "--focal-px", "1000")
    assert_mesh(body, converted(folder, folder / "out.pkl", *arguments), pose)


def test_integer_keys_columns_and_constants(tmp_path: Path, body: BodyModel) -> None:
    table = np.column_stack([np.arange(FRAMES) + 7, PLACE, BETAS, np.full(FRAMES, 4)])
    contents = {3: {"pose": POSE.reshape(FRAMES, 72)}, "rows": [None, table]}
    names = {
        "person": 0, "frame_index": "rows/1[0]", "pose": "3/pose", "betas": "rows/1[4:14]",
        "translation_m": "rows/1[1:4]", "shape_space": "smpl",
    }  # fmt: skip
    mapped(tmp_path, body, contents, names)
    names["person"] = "rows/1[14]"
    found = from_mapping(contents, names, Film(focal_px=900.0)).bodies
    assert found.person.tolist() == [4] * FRAMES
    assert found.frame_index is not None
    assert found.frame_index.tolist() == [7, 8, 9, 10, 11]


def test_a_lens_for_each_frame(body: BodyModel) -> None:
    K = np.tile(np.array([[700.0, 0, 321], [0, 700, 242], [0, 0, 1]]), (FRAMES, 1, 1))
    K[:, 0, 0] += np.arange(FRAMES)
    contents = {"K": K, "pose": POSE, "betas": BETAS[0], "t": PLACE[:, None]}
    names = {"person": 1, "frame_index": 0, "pose": "pose", "betas": "betas", "translation_m": "t", "K": "K"}
    with pytest.raises(SourceError, match="a person twice in one frame"):
        from_mapping(contents, names, Film())
    contents["n"] = np.arange(FRAMES)[:, None]
    found = from_mapping(contents, names | {"frame_index": "n"}, Film()).bodies
    assert found.focal_px is not None
    assert found.focal_px.tolist() == [700, 701, 702, 703, 704]
    assert source_camera(found.rows(np.array([2])), HW).lens.tolist() == [702, 702, 321, 242]
    one = from_mapping(contents | {"K": K[0]}, names | {"frame_index": "n"}, Film()).bodies
    assert one.focal_px is not None
    assert one.focal_px.tolist() == [700] * FRAMES


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("flat", [False, True])
def test_every_form_of_rotation_whole_or_root_and_body_apart(
    tmp_path: Path, body: BodyModel, form: str, flat: bool
) -> None:
    names: dict[str, Any] = {"person": 0, "frame_index": "n", "betas": "b", "translation_m": "t"}
    contents: dict[str, Any] = {"n": np.arange(FRAMES), "b": BETAS, "t": PLACE}
    for layout, count in LAYOUTS.items():
        joints = POSE if count == 24 else whole_smplx(POSE)[:, :count]
        expected = POSE if count == 24 else HANDLESS
        rotations = as_form(joints, form)
        given = rotations.reshape(FRAMES, -1) if flat else rotations
        whole = names | {"pose": {"at": "pose", "rotations": form, "joints": layout}}
        mapped(tmp_path, body, contents | {"pose": given}, whole, expected)
        root, others = rotations[:, :1], rotations[:, 1:]
        if flat:
            root, others = root.reshape(FRAMES, -1), others.reshape(FRAMES, -1)
        apart = names | {
            "global_orient": {"at": "r", "rotations": form},
            "body_pose": {"at": "o", "rotations": form},
        }
        found = from_mapping(contents | {"r": root, "o": others}, apart, Film(focal_px=9.0)).bodies
        assert_mesh(body, found, expected)


def test_orders_of_six_numbers_differ_and_must_be_named() -> None:
    six = {
        form: rotvecs_from(as_form(POSE, "rot6d-columns"), 24, form)
        for form in FORMS
        if form.startswith("rot6d")
    }
    np.testing.assert_allclose(
        Rotation.from_rotvec(six["rot6d-columns"].reshape(-1, 3)).as_matrix(),
        MATRICES.reshape(-1, 3, 3),
        atol=1e-9,
    )
    for other in ("rot6d-rows", "rot6d-stacked"):
        away = Rotation.from_rotvec(six[other].reshape(-1, 3)).inv() * Rotation.from_rotvec(
            POSE.reshape(-1, 3)
        )
        assert np.degrees(away.magnitude().max()) > 90
    with pytest.raises(SourceError, match=r"shape \(5, 24, 6\)"):
        rotvecs_from(as_form(POSE, "rot6d-columns"), 24)


UNFIT = {
    "frames last": ("pose", POSE.transpose(1, 2, 0), r"\(24, 3, 5\)"),
    "joints and frames swapped": ("pose", POSE.swapaxes(0, 1), r"\(24, 5, 3\)"),
    "one frame without its axis": ("pose", POSE[0], r"\(24, 3\)"),
    "numbers in one row": ("pose", POSE.reshape(-1), r"\(360,\)"),
    "axis-angles as matrices": ("pose", MATRICES.reshape(FRAMES, 12, 2, 3, 3), r"\(5, 12, 2, 3, 3\)"),
    "places turned": ("translation_m", PLACE.T, r"\(3, 5\)"),
    "places of another count": ("translation_m", PLACE[:4], r"\(4, 3\)"),
    "two numbers a place": ("translation_m", PLACE[:, :2], r"\(5, 2\)"),
    "shapes turned": ("betas", BETAS.T, r"\(10, 5\)"),
    "few coefficients": ("betas", BETAS[:, :8], r"\(5, 8\)"),
    "two people": ("person", np.zeros((FRAMES, 2)), r"\(5, 2\)"),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_arrays_whose_axes_do_not_fit_are_refused_not_reshaped(kind: str) -> None:
    key, wrong, shape = UNFIT[kind]
    contents = {
        "person": np.zeros(FRAMES),
        "pose": POSE,
        "betas": BETAS,
        "translation_m": PLACE,
        "n": np.arange(FRAMES),
    }
    names = {key: key for key in ("person", "pose", "betas", "translation_m")} | {"frame_index": "n"}
    from_mapping(contents, names, Film(focal_px=900.0))
    with pytest.raises(SourceError, match=shape):
        from_mapping(contents | {key: wrong}, names, Film(focal_px=900.0))


WRONG = {
    "no such key": ({"pose": "a/poses"}, "'a/poses' is not in the file. At 'poses' there is 'pose'"),
    "a key inside an array": ({"pose": "a/pose/x"}, "At 'x' there is an array"),
    "columns beyond": ({"person": "a/pose[9]"}, "asks for columns of an array of shape"),
    "an unknown name": ({"poses": "a/pose"}, "the mapping has unknown keys: 'poses'"),
    "an unknown form": ({"pose": {"at": "a/pose", "rotations": "rot6d"}}, "has rotations 'rot6d'"),
    "a text": ({"pose": "a/text"}, "is no array"),
    "root without body": ({"global_orient": "a/root", "pose": None}, "Give either pose"),
    "an unknown body": ({"shape_space": "flame"}, "shape_space cannot be 'flame'"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_mappings_that_are_wrong_say_what_is_there(kind: str) -> None:
    change, message = WRONG[kind]
    contents = {
        "a": {"pose": POSE, "text": "words", "root": POSE[:, 0]},
        "n": np.arange(FRAMES),
        "b": BETAS,
        "t": PLACE,
    }
    names = {"person": 0, "frame_index": "n", "pose": "a/pose", "betas": "b", "translation_m": "t"} | change
    names = {key: value for key, value in names.items() if value is not None}
    with pytest.raises(SourceError) as caught:
        from_mapping(contents, names, Film(focal_px=900.0))
    assert message in str(caught.value)


def test_a_mapping_that_is_no_json_or_missing_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out.pkl").write_bytes(pickle.dumps({"pose": POSE}))
    (tmp_path / "names.json").write_text("{pose: 1}")
    arguments = [
        "body",
        "convert",
        str(tmp_path / "out.pkl"),
        "--format",
        "mapping",
        "--out",
        str(tmp_path / "o.npz"),
    ]
    for name in ("names.json", "missing.json"):
        assert main([*arguments, "--mapping", str(tmp_path / name)]) in (1, 2)
        assert "error" in capsys.readouterr().err
